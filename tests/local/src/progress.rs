//! A line per step with its seconds, on stderr.

use std::future::Future;
use std::time::{Duration, Instant};

const STILL: Duration = Duration::from_secs(15);

/// Runs one step: a line when it is done, one every 15 s while it isn't.
pub(crate) async fn step<T>(what: impl Into<String>, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let what = what.into();
    let started = Instant::now();
    tokio::pin!(work);
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(STILL) => {
                eprintln!("  … {what}: {:.0} s so far", started.elapsed().as_secs_f32());
            }
        }
    };
    let seconds = started.elapsed().as_secs_f32();
    match &result {
        Ok(_) => eprintln!("  ✓ {what} ({seconds:.1} s)"),
        Err(_) => eprintln!("  ✗ {what} ({seconds:.1} s)"),
    }
    result
}

/// A step that blocks.
pub(crate) async fn blocking_step<T: Send + 'static>(
    what: impl Into<String>,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    step(what, async { tokio::task::spawn_blocking(work).await? }).await
}

/// Says something that must not be overlooked.
pub(crate) fn warn_loudly(lines: &[String]) {
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    eprintln!("  ╔{}╗", "═".repeat(width + 2));
    for line in lines {
        eprintln!("  ║ {line}{} ║", " ".repeat(width - line.chars().count()));
    }
    eprintln!("  ╚{}╝", "═".repeat(width + 2));
}
