//! Running a program to its end, with a bound on the time and its words in the error.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

/// How long an ordinary short command may take.
pub(crate) const SHORT: Duration = Duration::from_secs(60);

/// Runs `program` with `arguments` and returns what it wrote to stdout.
///
/// # Errors
///
/// Fails when it can't be started, takes longer than [`SHORT`], or ends with anything but 0; the error carries its stderr.
pub(crate) async fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    run_prepared(command, SHORT).await
}

/// The same for a command with an environment or a folder of its own, within `bound`.
pub(crate) async fn run_prepared(mut command: Command, bound: Duration) -> anyhow::Result<String> {
    let shown = shown(&command);
    let output = output(&mut command, bound).await.with_context(|| shown.clone())?;
    if !output.status.success() {
        bail!("{shown}: {}: {}", output.status, last_lines(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `program` ends with 0.
///
/// # Errors
///
/// Fails when it can't be started or takes longer than [`SHORT`].
pub(crate) async fn succeeds<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<bool> {
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(output(&mut command, SHORT).await?.status.success())
}

/// Where `program` lies: in `PATH`, or in the folders of administration programs that an ordinary `PATH` leaves out.
pub(crate) fn find_program(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/go/bin"].map(Into::into))
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file()
}

async fn output(command: &mut Command, bound: Duration) -> anyhow::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    tokio::time::timeout(bound, command.output())
        .await
        .with_context(|| format!("took longer than {} s", bound.as_secs()))?
        .context("can't be started")
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
