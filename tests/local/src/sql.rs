//! `cargo local sql`, and queries for the other commands.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tapekeeper_test_ground::Authority;
use tapekeeper_test_ground::kubernetes::{Description, Instance, InstanceName};

use crate::layout::described;

const LONGEST: Duration = Duration::from_secs(600);

/// Runs `query` and prints what it gives, as a table when it says nothing else.
pub(crate) async fn run(name: &InstanceName, query: &str) -> anyhow::Result<ExitCode> {
    let (instance, description) = described(name)?;
    print!("{}", ask(&instance, &description, query, "PrettyCompactMonoBlock").await?);
    Ok(ExitCode::SUCCESS)
}

/// The answer to `query` in `format`.
///
/// # Errors
///
/// Fails when ClickHouse doesn't answer or refuses.
pub(crate) async fn ask(instance: &Instance, description: &Description, query: &str, format: &str) -> anyhow::Result<String> {
    let authority = Authority::load_or_create(&instance.path("authority"), crate::up::AUTHORITY)?;
    let response = authority
        .http_client()?
        .post(&description.clickhouse.uri)
        .header("X-ClickHouse-User", &description.clickhouse.username)
        .header("X-ClickHouse-Key", &description.clickhouse.password)
        .header("X-ClickHouse-Format", format)
        .timeout(LONGEST)
        .body(query.to_owned())
        .send()
        .await
        .context("ClickHouse doesn't answer: `cargo local status` shows what runs")?;
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("ClickHouse answered {status}: {}", text.trim());
    }
    Ok(text)
}
