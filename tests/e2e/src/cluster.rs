//! The instance, through its own kubectl and helm.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tapekeeper_test_ground::Authority;
use tapekeeper_test_ground::kubernetes::Description;

use crate::database::Database;
use crate::venue::{Tape, Venue};

/// A running instance of the local cluster with Tapekeeper installed and no feed yet.
#[derive(Debug)]
pub struct Cluster {
    /// Where everything is.
    pub description: Description,
}

/// What a command printed.
#[derive(Debug)]
pub struct Output {
    /// Whether it succeeded.
    pub success: bool,
    /// Standard output and standard error, in that order.
    pub text: String,
}

impl Cluster {
    /// The instance that `TAPEKEEPER_E2E` describes.
    ///
    /// # Errors
    /// Without that variable: these tests need a cluster, and say so rather than pass.
    pub fn from_environment() -> Result<Self> {
        let path =
            std::env::var_os("TAPEKEEPER_E2E").context("TAPEKEEPER_E2E names no instance: run these tests with `cargo local test --only e2e`")?;
        Ok(Self { description: Description::read(&PathBuf::from(path))? })
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_kubectl(arguments, None)?;
        if !output.success {
            bail!("kubectl {}: {}", arguments.join(" "), output.text);
        }
        Ok(output.text)
    }

    /// Runs kubectl, with something on its standard input, whether or not it succeeds.
    ///
    /// # Errors
    /// Only when it can't be run.
    pub fn try_kubectl(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        run(Command::new(&self.description.kubectl).arg("--kubeconfig").arg(&self.description.kubeconfig).args(arguments), input)
    }

    /// Runs helm.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let output = run(Command::new(&self.description.helm).arg("--kubeconfig").arg(&self.description.kubeconfig).args(arguments), None)?;
        if !output.success {
            bail!("helm {}: {}", arguments.join(" "), output.text);
        }
        Ok(output.text)
    }

    /// `kubectl get … -o json`; `None` when there is no such object.
    ///
    /// # Errors
    /// When kubectl fails for another reason.
    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        let text = self.kubectl(&["-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "json"])?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// The status and message of a condition.
    ///
    /// # Errors
    /// When the object can't be read.
    pub fn condition(&self, namespace: &str, kind: &str, name: &str, condition: &str) -> Result<Option<(String, String)>> {
        let object = self.get(namespace, kind, name)?.unwrap_or_default();
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(conditions.iter().find(|each| text(each, "type") == condition).map(|each| (text(each, "status"), text(each, "message"))))
    }

    /// The instance's ClickHouse, asked past the product.
    ///
    /// # Errors
    /// When its certificate authority can't be read.
    pub fn database(&self) -> Result<Database> {
        Ok(Database::new(self.http_client()?, self.description.clickhouse.clone()))
    }

    /// A client that trusts the instance's authority.
    fn http_client(&self) -> Result<reqwest::Client> {
        let folder = self.description.ca_certificate.parent().context("the authority's folder")?;
        Authority::load_or_create(folder, "tapekeeper")?.http_client()
    }

    /// Starts the tests' venue anew, with a tape of the test's own, in the place of the one that runs: what it then says was heard is this test's alone.
    ///
    /// # Errors
    /// When the instance reads live venues, or the venue does not start.
    pub async fn play(&self, tape: &Tape<'_>) -> Result<Venue> {
        let place = self.description.venue.as_ref().context("the instance has no venue of the tests")?;
        Venue::play(self.http_client()?, place, &self.description.command_prefix, tape).await
    }
}

/// Tries until `check` gives something, twice a second.
///
/// # Errors
/// After `bound`, with what was waited for and what `check` said last.
pub async fn eventually<T>(what: &str, bound: Duration, mut check: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        let outcome = check().await;
        if let Ok(Some(value)) = outcome {
            return Ok(value);
        }
        if begin.elapsed() > bound {
            let last = outcome.err().map_or_else(|| "not yet".to_owned(), |error| format!("{error:#}"));
            bail!("{what}: not within {} s: {last}", bound.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn run(command: &mut Command, input: Option<&str>) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| program.clone())?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output().context(program)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok(Output { success: output.status.success(), text })
}
