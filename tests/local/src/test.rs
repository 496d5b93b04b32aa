//! `cargo local test`: all tests, those on a cluster included.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tapekeeper_test_ground::kubernetes::{Instance, InstanceName};
use tapekeeper_test_ground::{Cache, clickhouse, rabbitmq};
use tokio::process::Command;

use crate::layout::{description_file, workspace};
use crate::progress::blocking_step;
use crate::venues::Venues;
use crate::{down, up};

/// The instance of the tests, so that a user's own is never touched.
const INSTANCE: &str = "test";
/// The package whose tests need the cluster.
const END_TO_END: &str = "tapekeeper-e2e";

/// Which tests.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only one stage.
    #[arg(long)]
    only: Option<Stage>,
    /// Leave the tests' cluster running.
    #[arg(long)]
    keep: bool,
}

/// A stage of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// All packages but the end-to-end tests: pure code, and workers against a real broker and database.
    Unit,
    /// The product on a real cluster.
    E2e,
}

/// How a stage went.
#[derive(Debug)]
struct Outcome {
    stage: &'static str,
    passed: bool,
    took: Duration,
}

/// Runs the stages. The exit status is 1 when one failed.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut outcomes = Vec::new();
    if options.only != Some(Stage::E2e) {
        outcomes.push(timed("fetch", fetch()).await);
        outcomes.push(timed("unit", unit()).await);
    }
    if options.only != Some(Stage::Unit) {
        end_to_end(options.keep, &mut outcomes).await?;
    }
    println!();
    for outcome in &outcomes {
        let verdict = if outcome.passed { "ok" } else { "FAILED" };
        println!("{:<8} {verdict:<6} {:>7.1} s", outcome.stage, outcome.took.as_secs_f32());
    }
    let passed = outcomes.iter().all(|outcome| outcome.passed);
    println!("cargo local test: {}", if passed { "ok" } else { "FAILED" });
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn timed(stage: &'static str, work: impl Future<Output = anyhow::Result<bool>>) -> Outcome {
    let started = Instant::now();
    let passed = work.await.unwrap_or_else(|error| {
        eprintln!("{stage}: {error:#}");
        false
    });
    Outcome { stage, passed, took: started.elapsed() }
}

/// What the tests would fetch by themselves, ahead of them: it isn't theirs to be timed with.
async fn fetch() -> anyhow::Result<bool> {
    blocking_step("RabbitMQ and ClickHouse", || {
        rabbitmq::fetch()?;
        clickhouse::fetch()
    })
    .await
    .map(|()| true)
}

async fn unit() -> anyhow::Result<bool> {
    cargo(&["test", "--workspace", "--exclude", END_TO_END, "--no-fail-fast"], &[]).await
}

async fn end_to_end(keep: bool, outcomes: &mut Vec<Outcome>) -> anyhow::Result<()> {
    let name: InstanceName = INSTANCE.parse()?;
    let options = up::Options { name: name.clone(), venues: Some(Venues::Tape), no_quickstart: true, only_cluster: false };
    let interrupted = tokio::signal::ctrl_c();
    let stages = async {
        // What an earlier run left is no ground for this one.
        let up = timed("up", async {
            down::run(&name, true).await?;
            up::run(&options).await.map(|()| true)
        })
        .await;
        let ready = up.passed;
        outcomes.push(up);
        if ready {
            outcomes.push(timed("e2e", end_to_end_tests(&name)).await);
        }
    };
    tokio::select! {
        () = stages => {}
        _ = interrupted => outcomes.push(Outcome { stage: "interrupt", passed: false, took: Duration::ZERO }),
    }
    if keep {
        eprintln!("The tests' cluster still runs: cargo local down --name {INSTANCE} --purge");
    } else {
        outcomes.push(timed("down", async { down::run(&name, true).await.map(|()| true) }).await);
    }
    Ok(())
}

async fn end_to_end_tests(name: &InstanceName) -> anyhow::Result<bool> {
    let instance = Instance::open(&Cache::locate()?, name)?.context("the instance vanished")?;
    let environment = [("TAPEKEEPER_E2E", description_file(&instance).into_os_string())];
    cargo(&["test", "--package", END_TO_END, "--no-fail-fast", "--", "--test-threads=1"], &environment).await
}

/// Runs cargo with its output left alone: the runners' closing lines are for whoever reads ours.
async fn cargo(arguments: &[&str], environment: &[(&str, OsString)]) -> anyhow::Result<bool> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(workspace())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    Ok(command.status().await.context("cargo")?.success())
}
