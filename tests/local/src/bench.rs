//! `cargo local bench`: figures of the product on this machine, without targets. An instance of its own, which ends with the bench.

mod arrival;
mod decode;
mod disk;
mod flow;
mod gauges;
mod histogram;
mod processes;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::json;
use tapekeeper_e2e::{Cluster, Database, Namespace, NamespaceOptions, Tape, Venue, eventually};
use tapekeeper_test_ground::Authority;
use tapekeeper_test_ground::kubernetes::InstanceName;

use self::flow::Bench;
use self::gauges::Gauges;
use self::processes::Watch;
use self::report::{Machine, Report};
use crate::layout::{described, workspace};
use crate::progress::{blocking_step, step, warn_loudly};
use crate::venues::Venues;
use crate::{down, product, up};

/// The instance of the bench.
const INSTANCE: &str = "bench";
/// What the feed takes; the venue leaves the slash out.
const SYMBOLS: [&str; 10] =
    ["BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT", "XRP/USDT", "ADA/USDT", "DOGE/USDT", "AVAX/USDT", "LINK/USDT", "LTC/USDT"];
const SHARDS: u32 = 4;
/// The recording whose bytes on disk are measured.
const RECORDING: &str = "binance/spot_btcusdt_20240808_stream.jsonl";
/// The rate at which everything starts up: enough for the feed to be ready.
const STARTING_RATE: &str = "200";
const READY: Duration = Duration::from_secs(180);
/// So long everything rests before its memory is looked at.
const REST: Duration = Duration::from_secs(3);

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds for which the tape runs as fast as it is taken.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..=120))]
    seconds: u64,
    /// Trades and quotes per second at which latency is measured.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Seconds for which latency is measured.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=120))]
    latency_seconds: u64,
    /// Instruments on the tape: the fewer, the more ticks an envelope takes.
    #[arg(long, default_value_t = SYMBOLS.len(), value_parser = symbols)]
    symbols: usize,
    /// Write all figures to this file too, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Leave the bench's cluster running.
    #[arg(long)]
    keep: bool,
}

/// Measures, and prints a table. The exit status is 1 when a tick was lost or came twice.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let name: InstanceName = INSTANCE.parse()?;
    let interrupted = tokio::signal::ctrl_c();
    let measured = tokio::select! {
        measured = measure(options, &name) => measured,
        _ = interrupted => Err(anyhow::anyhow!("interrupted")),
    };
    if options.keep {
        eprintln!("The bench's cluster still runs: cargo local down --name {INSTANCE} --purge");
    } else {
        let down = down::run(&name, true).await;
        // What went wrong first is what to hear of.
        if measured.is_ok() {
            down?;
        }
    }
    let report = measured?;
    print!("{}", report.table());
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?).with_context(|| file.display().to_string())?;
    }
    Ok(if report.difference.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn symbols(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=SYMBOLS.len()).contains(count));
    count.ok_or_else(|| format!("between 1 and {}", SYMBOLS.len()))
}

/// The folder of recorded frames: `TAPEKEEPER_FRAMES`, else `shared/frames` beside the checkout.
fn recorded_frames() -> Option<PathBuf> {
    let named = std::env::var_os("TAPEKEEPER_FRAMES").map(PathBuf::from);
    named.or_else(|| Some(workspace().parent()?.join("shared/frames"))).filter(|folder| folder.is_dir())
}

async fn measure(options: &Options, name: &InstanceName) -> anyhow::Result<Report> {
    let mut machine = Machine::now()?;
    let frames = recorded_frames();
    if frames.is_none() {
        warn_loudly(&["No recorded frames (TAPEKEEPER_FRAMES): a seeded tape's are decoded instead, and no recording is put on disk.".to_owned()]);
    }
    // As `up` builds them: one package alone would have other features, and all that it needs be built twice.
    blocking_step("building", || product::build(&["tapekeeper-operator", "tapekeeper-worker", product::VENUE])).await?;
    let folder = frames.clone();
    let decode = blocking_step("building the connector's decode_bench, decoding frames", move || decode::measure(folder)).await?;

    // What an earlier run left is no ground for this one.
    down::run(name, true).await?;
    up::run(&up::Options { name: name.clone(), venues: Some(Venues::Tape), no_quickstart: true, only_cluster: false }).await?;
    let (instance, description) = described(name)?;
    let authority = Authority::load_or_create(&instance.path("authority"), up::AUTHORITY)?;
    let cluster = Cluster { description };
    let database = cluster.database()?;

    eprintln!("Measuring");
    let instruments = &SYMBOLS[..options.symbols];
    let symbols: Vec<String> = instruments.iter().map(|symbol| symbol.replace('/', "")).collect();
    let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let venue = cluster.play(&Tape::Seeded { seed: 1, symbols: &symbols, rate: STARTING_RATE }).await?;
    let namespace = Namespace::create(&cluster, "bench", NamespaceOptions::default()).await?;
    step("the feed, the pipeline and the sink are ready", ready(&namespace, "bench", instruments, SHARDS)).await?;
    let bench = Bench { instance: &instance, database: &database, venue: &venue, name: "bench" };
    step("the tape stands still", bench.settle()).await?;
    let mut gauges = Gauges::new(authority.http_client()?, &namespace, cluster.description.broker_management.clone())?;
    tokio::time::sleep(REST).await;
    let (at_rest, _) = Watch::begin(&instance).end();
    let moderate = Duration::from_secs(options.latency_seconds);
    let latency = step(format!("{} ticks/s", options.rate), bench.run(&mut gauges, &json!(options.rate), moderate)).await?;
    let saturated = Duration::from_secs(options.seconds);
    let saturation = step("as fast as it goes", bench.run(&mut gauges, &json!("max"), saturated)).await?;
    let truth = venue.truth().await?;
    let difference = step("comparing the tables with the venue's truth", arrival::compare(&database, "bench", &truth)).await?;
    machine.load_after = report::load()?;
    let mut on_disk = step("the tables are merged", disk::measure(&database, "bench", "seeded")).await?;
    if let Some(file) = frames.map(|folder| folder.join(RECORDING)).filter(|file| file.exists()) {
        // The feed would listen to the recording too.
        namespace.kubectl(&["delete", "exchangefeed", "--all", "--timeout=60s"])?;
        on_disk.extend(step("the recording", recording(&cluster, &database, file)).await?);
    }
    Ok(Report {
        symbols: options.symbols,
        shards: SHARDS,
        rate: options.rate,
        decode,
        saturation,
        latency,
        at_rest: at_rest.into_iter().map(|(part, used)| (part, used.resident_peak)).collect(),
        difference,
        on_disk,
        machine,
    })
}

/// Applies a feed with its pipeline and sink, and waits until all of it is ready.
async fn ready(namespace: &Namespace<'_>, name: &str, symbols: &[&str], shards: u32) -> anyhow::Result<()> {
    namespace.apply(&format!(
        "apiVersion: tapekeeper.dev/v1alpha1
kind: Pipeline
metadata: {{name: ticks}}
spec:
  broker:
    secretRef: {{name: tapekeeper-broker}}
    managementSecretRef: {{name: tapekeeper-broker-management}}
  exchange: {name}.ticks
  shards: {shards}
---
apiVersion: tapekeeper.dev/v1alpha1
kind: TickSink
metadata: {{name: clickhouse}}
spec:
  pipelineRef: {{name: ticks}}
  clickhouse:
    secretRef: {{name: tapekeeper-clickhouse}}
    database: {name}
---
apiVersion: tapekeeper.dev/v1alpha1
kind: ExchangeFeed
metadata: {{name: binance}}
spec:
  venue: Binance
  instruments: {{symbols: [{}]}}
  pipelineRef: {{name: ticks}}
",
        symbols.join(", ")
    ))?;
    for (kind, object) in [("pipeline", "ticks"), ("ticksink", "clickhouse"), ("exchangefeed", "binance")] {
        namespace.condition(kind, object, "Ready", "True", READY).await?;
    }
    Ok(())
}

/// Plays a recording through a feed of its own, and looks at what it takes on disk.
async fn recording(cluster: &Cluster, database: &Database, file: PathBuf) -> anyhow::Result<Vec<disk::OnDisk>> {
    const NAME: &str = "bench_recorded";
    let venue: Venue = cluster.play(&Tape::Recorded { files: &[file], rate: "3000" }).await?;
    let namespace = Namespace::create(cluster, "bench-recorded", NamespaceOptions::default()).await?;
    ready(&namespace, NAME, &["BTC/USDT"], SHARDS).await?;
    let truth = eventually("the recording is in the tables", READY, async || {
        let truth = venue.truth().await?;
        if truth["state"] != "finished" {
            bail!("the tape is {}", truth["state"]);
        }
        let (sent, stored) = (arrival::Counts::sent(&truth)?, arrival::Counts::stored(database, NAME).await?);
        ensure!(stored.trades >= sent.trades && stored.quotes >= sent.quotes, "{stored:?} of {sent:?}");
        Ok(Some(truth))
    })
    .await?;
    let difference = arrival::compare(database, NAME, &truth).await?;
    ensure!(difference.is_none(), "the recording differs in the tables: {difference:?}");
    disk::measure(database, NAME, "recorded").await
}
