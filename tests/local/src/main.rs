//! `cargo local`: Tapekeeper on a real Kubernetes, RabbitMQ and ClickHouse on this machine, beside everything else that runs here.

mod bench;
mod down;
mod ground;
mod layout;
mod product;
mod progress;
mod quickstart;
mod sql;
mod status;
mod test;
mod up;
mod venues;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use tapekeeper_test_ground::kubernetes::InstanceName;

/// The local cluster: real parts, one machine, two commands.
#[derive(Debug, Parser)]
#[command(name = "cargo local", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything, and wait until rows arrive in the table.
    Up(up::Options),
    /// Show what runs: processes, pods, feeds, rows.
    Status(Named),
    /// Stop everything.
    Down {
        #[command(flatten)]
        named: Named,
        /// Forget the data too: etcd, the broker's queues, the database.
        #[arg(long)]
        purge: bool,
    },
    /// Run all tests: the workspace's, then those on a cluster of their own.
    Test(test::Options),
    /// Measure.
    Bench(bench::Options),
    /// Run a query on the instance's ClickHouse.
    Sql {
        #[command(flatten)]
        named: Named,
        /// The query.
        query: String,
    },
    /// Run kubectl on the instance.
    Kubectl {
        #[command(flatten)]
        named: Named,
        /// What follows `kubectl`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Which instance.
#[derive(Debug, Args)]
struct Named {
    /// The instance's name.
    #[arg(long, default_value = "local")]
    name: InstanceName,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a network namespace and containers need root: run `cargo local` as root");
    }
    match command {
        Command::Up(options) => up::run(&options).await.map(|()| ExitCode::SUCCESS),
        Command::Status(named) => status::run(&named.name).await,
        Command::Down { named, purge } => down::run(&named.name, purge).await.map(|()| ExitCode::SUCCESS),
        Command::Test(options) => test::run(&options).await,
        Command::Bench(options) => bench::run(&options).await,
        Command::Sql { named, query } => sql::run(&named.name, &query).await,
        Command::Kubectl { named, arguments } => layout::kubectl(&named.name, &arguments),
    }
}
