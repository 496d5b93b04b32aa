//! `tapekeeper-worker`: every role of the data plane in one static binary.

mod decode;
mod role;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tapekeeper_contract::settings::SETTINGS_FILE;

#[derive(Debug, Parser)]
#[command(name = "tapekeeper-worker", version, about = "The data plane of Tapekeeper: one role per process")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads a venue's stream and publishes it to RabbitMQ
    Connector(RoleOptions),
    /// Moves ticks from RabbitMQ into ClickHouse
    Batcher(RoleOptions),
    /// Reads frames that a venue sent, one a line, and writes one JSON object per market event
    Decode(decode::Options),
}

#[derive(Debug, Args)]
struct RoleOptions {
    /// The settings file that the operator renders
    #[arg(long, default_value = SETTINGS_FILE)]
    settings: PathBuf,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Connector(options) => role::run("connector", &options.settings, tapekeeper_connector::run),
        Command::Batcher(options) => role::run("batcher", &options.settings, tapekeeper_batcher::run),
        Command::Decode(options) => decode::run(&options),
    }
}
