//! The tests' venue as a process: `serve` plays a tape, `frames` writes one, `selfbench` measures how fast it can.

mod frames;
mod selfbench;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tapekeeper_test_venue::{Limits, Rate, Seeded, Source, StartMode, Venue, VenueOptions};
use tokio::signal::unix::{SignalKind, signal};

/// The tests' venue: plays a tape under a venue's host names, and knows every trade it sent.
#[derive(Debug, Parser)]
#[command(version)]
enum Cli {
    /// Plays a tape until SIGTERM or SIGINT.
    Serve(Box<Serve>),
    /// Measures frames per second to one TLS client on the loopback.
    Selfbench {
        /// How long to measure.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Writes the frames of a seeded tape to standard output, a combined envelope a line.
    Frames {
        /// The seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A venue symbol.
        #[arg(long)]
        symbol: String,
        /// How many trades, each with a quote behind it.
        #[arg(long)]
        trades: u64,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Address of a TLS listener; may be given several times.
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// Certificate chain, PEM. It must name the hosts that the venue plays.
    #[arg(long)]
    certificate: PathBuf,
    /// Private key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Address of the plain HTTP control listener.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Frames per second over all symbols; `max` or 0 is as fast as the slowest subscriber takes them.
    #[arg(long, default_value = "1000", global = true)]
    rate: Rate,
    /// Milliseconds between the subscription that starts a tape and its first frame.
    #[arg(long, default_value_t = 1_000, global = true)]
    settle_ms: u64,
    /// Seconds between two pings.
    #[arg(long, default_value_t = 20, global = true)]
    ping_seconds: u64,
    /// Seconds within which a ping must have its pong.
    #[arg(long, default_value_t = 60, global = true)]
    pong_seconds: u64,
    /// Seconds that a connection lives.
    #[arg(long, default_value_t = 86_400, global = true)]
    life_seconds: u64,
    /// Seconds before the end of a connection's life at which it gets the notice.
    #[arg(long, default_value_t = 600, global = true)]
    notice_seconds: u64,
    #[command(subcommand)]
    source: SourceArgs,
}

#[derive(Debug, Subcommand)]
enum SourceArgs {
    /// A tape drawn from a seed.
    Seeded {
        /// The seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Venue symbols.
        #[arg(long, value_delimiter = ',', required = true)]
        symbols: Vec<String>,
        /// Quotes that follow each trade.
        #[arg(long, default_value_t = 1)]
        quotes_per_trade: u32,
        /// Trades per symbol after which the tape ends.
        #[arg(long)]
        length: Option<u64>,
        /// When each symbol begins.
        #[arg(long, value_enum, default_value = "immediately")]
        start: StartMode,
    },
    /// Recorded combined envelopes, one a line, played once.
    Recorded {
        /// A `.jsonl` file, or a folder of them; may be given several times.
        #[arg(long, required = true)]
        frames: Vec<PathBuf>,
    },
}

impl Serve {
    fn options(self) -> anyhow::Result<VenueOptions> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
        Ok(VenueOptions {
            certificate_pem: read(&self.certificate)?,
            key_pem: read(&self.key)?,
            listen: self.listen,
            control: self.control,
            source: match self.source {
                SourceArgs::Seeded { seed, symbols, quotes_per_trade, length, start } => {
                    Source::Seeded(Seeded { seed, symbols, quotes_per_trade, length, start })
                }
                SourceArgs::Recorded { frames } => Source::Recorded(frames),
            },
            rate: self.rate,
            settle: Duration::from_millis(self.settle_ms),
            limits: Limits {
                ping_every: Duration::from_secs(self.ping_seconds),
                pong_within: Duration::from_secs(self.pong_seconds),
                life: Duration::from_secs(self.life_seconds),
                shutdown_notice: Duration::from_secs(self.notice_seconds),
                ..Limits::default()
            },
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .init();
    match Cli::parse() {
        Cli::Serve(serve) => {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let venue = Venue::start(serve.options()?).await?;
            let listening: Vec<String> = venue.addrs().iter().map(SocketAddr::to_string).collect();
            let control = venue.control_addr().map_or_else(|| "none".to_owned(), |address| address.to_string());
            println!("listening {} control {control}", listening.join(" "));
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            venue.stop().await;
            Ok(())
        }
        Cli::Selfbench { seconds } => selfbench::run(Duration::from_secs(seconds)).await,
        Cli::Frames { seed, symbol, trades } => frames::write(seed, symbol, trades),
    }
}
