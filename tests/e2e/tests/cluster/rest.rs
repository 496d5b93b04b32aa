//! At rest, with feeds running, the operator writes nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tapekeeper_e2e::{Cluster, Namespace, NamespaceOptions, Tape};

use crate::manifests;

/// Seconds watched; `TAPEKEEPER_E2E_REST_SECONDS` overrides it, because the proof of five minutes is too long for every run.
const WATCHED: u64 = 60;

#[tokio::test]
async fn at_rest_with_a_feed_running_the_operator_writes_nothing_to_the_api_server() -> Result<()> {
    let cluster = Cluster::from_environment()?;
    let _venue = cluster.play(&Tape::Seeded { seed: 1, symbols: &["BTCUSDT"], rate: "500" }).await?;
    let name = "e2e_rest";
    let namespace = Namespace::create(&cluster, "e2e-rest", NamespaceOptions::default()).await?;
    namespace.apply(&(manifests::pipeline(name, "Delete") + &manifests::sink(name, "Delete") + &manifests::feed("BTC/USDT")))?;
    namespace.condition("exchangefeed", "binance", "Ready", "True", Duration::from_secs(180)).await?;
    namespace.condition("ticksink", "clickhouse", "Ready", "True", Duration::from_secs(180)).await?;
    // The figures of a new object are taken for good a minute after it became ready.
    tokio::time::sleep(Duration::from_secs(100)).await;

    let seconds = std::env::var("TAPEKEEPER_E2E_REST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(WATCHED);
    let offset = std::fs::metadata(&cluster.description.audit_log)?.len();
    let rows = cluster.database()?.count(&format!("SELECT count() FROM {name}.ticks")).await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let grown = cluster.database()?.count(&format!("SELECT count() FROM {name}.ticks")).await?;
    ensure!(grown > rows, "no ticks came in while it was watched");

    let log = std::fs::read(&cluster.description.audit_log)?;
    let (before, tail) = log.split_at_checked(usize::try_from(offset)?).context("the audit log was rotated")?;
    ensure!(!writes(before).is_empty(), "not one write of the operator is in the audit log: is it the operator's?");
    let writes = writes(tail);
    ensure!(writes.is_empty(), "{} writes in {seconds} s: {:?}", writes.len(), &writes[..writes.len().min(5)]);
    println!("{seconds} s at rest, {} rows came in, 0 writes by the operator", grown - rows);
    namespace.remove().await
}

/// What the operator wrote, by the audit log.
fn writes(log: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(log);
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|event| event["user"]["username"] == "system:serviceaccount:tapekeeper-system:tapekeeper")
        .filter(|event| !matches!(event["verb"].as_str(), Some("get" | "list" | "watch")))
        .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
        .collect()
}
