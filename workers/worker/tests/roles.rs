//! A role that is refused before it begins: what it says, where, and its exit status.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

const CONNECTOR: &str = "\
environment: production
feed: {namespace: market-data, name: binance}
venue: Binance
endpoint: wss://stream.binance.com:9443
instruments: [BTC/USDT]
channels: [Trades]
maxStreams: 1024
idleTimeout: 30s
broker: {kind: RabbitMQ, credentials: nowhere, vhost: /}
exchange: crypto.ticks
";

/// Exit status, standard output and standard error of a role with those settings.
fn run(role: &str, settings: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yaml");
    std::fs::write(&file, settings).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tapekeeper-worker")).args([role, "--settings", file.to_str().unwrap()]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_setting_out_of_production_is_refused_on_standard_error_and_in_the_log() {
    for (from, to, refusal) in [
        ("environment: production", "environment: staging", "FORBIDDEN: environment: `staging` is not allowed"),
        ("wss://stream.binance.com:9443", "wss://localhost:9443", "FORBIDDEN: endpoint: `localhost` is not a host of Binance"),
        ("RabbitMQ", "Kafka", "FORBIDDEN: broker.kind: `Kafka` is not allowed"),
    ] {
        let (status, log, complaint) = run("connector", &CONNECTOR.replace(from, to));
        assert!(status == Some(2) && complaint.starts_with(refusal), "{status:?} {complaint}");
        let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert!(line.to_string().contains(refusal) && line.to_string().contains("\"Forbidden\""), "{line}");
    }
}

#[test]
fn the_batcher_is_refused_in_the_same_way() {
    let settings = "\
environment: production
sink: {namespace: market-data, name: ticks}
broker: {kind: RabbitMQ, credentials: nowhere, vhost: /}
queues: [crypto.ticks.shard.0]
database: {kind: SQLite, credentials: nowhere, name: market}
batch: {maxRows: 1000, maxBytes: 1000000, maxDelay: 1s}
";
    let (status, _, complaint) = run("batcher", settings);
    assert!(status == Some(2) && complaint.starts_with("FORBIDDEN: database.kind: `SQLite` is not allowed"), "{status:?} {complaint}");
}

#[test]
fn an_unknown_setting_or_a_missing_file_is_refused() {
    let (status, _, complaint) = run("connector", &(CONNECTOR.to_owned() + "mock: true\n"));
    assert!(status == Some(2) && complaint.contains("unknown field `mock`"), "{status:?} {complaint}");
    let output = Command::new(env!("CARGO_BIN_EXE_tapekeeper-worker")).args(["connector", "--settings", "nowhere.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("nowhere.yaml: "));
}

#[test]
fn the_version_is_the_workspaces() {
    let output = Command::new(env!("CARGO_BIN_EXE_tapekeeper-worker")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("tapekeeper-worker {}\n", env!("CARGO_PKG_VERSION")));
}
