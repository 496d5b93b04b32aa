//! Every rule twice: the CEL that the API server evaluates, run here by a CEL interpreter, and the Rust that everyone else calls. They agree.

#![allow(clippy::unwrap_used)] // a test that can't go on fails

use kube::core::cel::Validator;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tapekeeper_crds::{ExchangeFeed, Pipeline, TickSink, Violation, manifest};

fn feed() -> Value {
    json!({
        "apiVersion": "tapekeeper.dev/v1alpha1", "kind": "ExchangeFeed", "metadata": { "name": "binance", "namespace": "market-data" },
        "spec": { "venue": "Binance", "instruments": { "symbols": ["BTC/USDT"] }, "pipelineRef": { "name": "ticks" } }
    })
}

fn pipeline() -> Value {
    json!({
        "apiVersion": "tapekeeper.dev/v1alpha1", "kind": "Pipeline", "metadata": { "name": "ticks", "namespace": "market-data" },
        "spec": { "broker": { "secretRef": { "name": "broker" }, "managementSecretRef": { "name": "broker-management" } } }
    })
}

fn sink() -> Value {
    json!({
        "apiVersion": "tapekeeper.dev/v1alpha1", "kind": "TickSink", "metadata": { "name": "tape", "namespace": "market-data" },
        "spec": { "pipelineRef": { "name": "ticks" }, "clickhouse": { "secretRef": { "name": "clickhouse" }, "database": "tape" } }
    })
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut at = &mut object;
    for step in parent.split('/').skip(1) {
        at = &mut at[step];
    }
    at[key] = value;
    object
}

fn schema_of(object: &Value) -> Value {
    let kind = &object["kind"];
    let definition = manifest::definitions().unwrap().into_iter().find(|definition| &definition["spec"]["names"]["kind"] == kind).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// What the API server's CEL says.
fn cel(object: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(&schema_of(object), object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.as_slice().iter().map(|error| error.message.clone()).collect(),
    }
}

/// What the Rust rules say.
fn violations(object: &Value) -> Vec<Violation> {
    fn parse<T: DeserializeOwned>(object: &Value) -> T {
        serde_json::from_value(object.clone()).unwrap()
    }
    match object["kind"].as_str().unwrap() {
        "ExchangeFeed" => parse::<ExchangeFeed>(object).spec.violations(),
        "Pipeline" => parse::<Pipeline>(object).spec.violations(),
        _ => parse::<TickSink>(object).spec.violations(),
    }
}

#[test]
fn the_smallest_manifests_are_allowed_by_both() {
    for object in [feed(), pipeline(), sink()] {
        assert_eq!(cel(&object, None), Vec::<String>::new());
        assert_eq!(violations(&object), vec![]);
    }
}

#[test]
fn production_only_is_refused_by_both_with_the_fields_name() {
    for (object, prefix) in [
        (with(feed(), "/spec/environment", json!("staging")), "FORBIDDEN: spec.environment: "),
        (with(pipeline(), "/spec/environment", json!("")), "FORBIDDEN: spec.environment: "),
        (with(sink(), "/spec/environment", json!("Production")), "FORBIDDEN: spec.environment: "),
        (with(pipeline(), "/spec/broker/kind", json!("Kafka")), "FORBIDDEN: spec.broker.kind: "),
        (with(sink(), "/spec/clickhouse/kind", json!("SQLite")), "FORBIDDEN: spec.clickhouse.kind: "),
        (with(feed(), "/spec/connection/endpoint", json!("ws://stream.binance.com:9443")), "FORBIDDEN: spec.connection.endpoint: "),
        (with(feed(), "/spec/connection/endpoint", json!("wss://localhost:9443")), "FORBIDDEN: spec.connection.endpoint: "),
        (with(feed(), "/spec/connection/endpoint", json!("wss://stream.binance.com.evil.example")), "FORBIDDEN: spec.connection.endpoint: "),
        (with(feed(), "/spec/connection/endpoint", json!("wss://streamxbinance.com")), "FORBIDDEN: spec.connection.endpoint: "),
        (with(feed(), "/spec/connection/endpoint", json!("wss://me:pw@stream.binance.com")), "FORBIDDEN: spec.connection.endpoint: "),
        (with(feed(), "/spec/connection/endpoint", json!("wss://stream.binance.com/ws/btcusdt@trade")), "FORBIDDEN: spec.connection.endpoint: "),
    ] {
        let messages = cel(&object, None);
        assert!(messages.len() == 1 && messages[0].starts_with(prefix), "CEL of {object}: {messages:?}");
        let refusals = violations(&object);
        assert!(refusals.len() == 1 && refusals[0].to_string().starts_with(prefix) && refusals[0].reason() == "Forbidden", "{object}: {refusals:?}");
    }
}

#[test]
fn every_host_of_the_venue_is_allowed_by_both() {
    for endpoint in ["wss://stream.binance.com:9443", "wss://stream.binance.com:443/", "wss://data-stream.binance.vision"] {
        let object = with(feed(), "/spec/connection/endpoint", json!(endpoint));
        assert_eq!((cel(&object, None), violations(&object)), (vec![], vec![]), "{endpoint}");
    }
}

#[test]
fn other_rules_in_cel_are_refused_by_both() {
    for (object, message, violation) in [
        (
            with(feed(), "/spec/connection/idleTimeout", json!("1s")),
            "spec.connection.idleTimeout must be between 5s and 10m",
            "spec.connection.idleTimeout: `1s`",
        ),
        (
            with(feed(), "/spec/connection/idleTimeout", json!("1h")),
            "spec.connection.idleTimeout must be between 5s and 10m",
            "spec.connection.idleTimeout: `1h`",
        ),
        (with(sink(), "/spec/batch/maxDelay", json!("0s")), "spec.batch.maxDelay must be between 1ms and 1m", "spec.batch.maxDelay: `0ms`"),
        (with(pipeline(), "/spec/exchange", json!("amq.topic")), "spec.exchange must not start with `amq.`", "spec.exchange: `amq.topic`"),
        (
            with(sink(), "/spec/clickhouse/database", json!("System")),
            "spec.clickhouse.database must not be one of",
            "spec.clickhouse.database: `System`",
        ),
    ] {
        let messages = cel(&object, None);
        assert!(messages.len() == 1 && messages[0].starts_with(message), "CEL of {object}: {messages:?}");
        let refusals = violations(&object);
        assert!(refusals.len() == 1 && refusals[0].to_string().starts_with(violation), "{object}: {refusals:?}");
    }
}

#[test]
fn what_is_settled_at_creation_cannot_be_changed() {
    for (old, new, field) in [
        (pipeline(), with(pipeline(), "/spec/exchange", json!("other")), "spec.exchange"),
        (pipeline(), with(pipeline(), "/spec/shards", json!(8)), "spec.shards"),
        (pipeline(), with(pipeline(), "/spec/broker/vhost", json!("other")), "spec.broker.vhost"),
        (sink(), with(sink(), "/spec/clickhouse/database", json!("other")), "spec.clickhouse.database"),
        (with(feed(), "/spec/venue", json!("Other")), feed(), "spec.venue"),
    ] {
        assert_eq!(cel(&new, Some(&old)), vec![format!("{field} can't be changed: delete the object and create it anew")]);
    }
    assert_eq!(cel(&with(feed(), "/spec/state", json!("Paused")), Some(&feed())), Vec::<String>::new());
}

#[test]
fn what_the_schema_bounds_is_bounded_in_rust_too() {
    for (object, violation) in [
        (with(feed(), "/spec/instruments/symbols", json!([])), "spec.instruments.symbols: 0 instruments"),
        (with(feed(), "/spec/instruments/symbols", json!(["btcusdt"])), "spec.instruments.symbols: `btcusdt` is not an instrument"),
        (
            with(feed(), "/spec/instruments/symbols", json!(["BTC/USDT", "BTC/USDT"])),
            "spec.instruments.symbols: `BTC/USDT` stands there more than once",
        ),
        (with(feed(), "/spec/channels", json!([])), "spec.channels: at least one"),
        (with(feed(), "/spec/channels", json!(["Trades", "Trades"])), "spec.channels: `Trades` stands there more than once"),
        (with(feed(), "/spec/connection/maxStreams", json!(0)), "spec.connection.maxStreams: `0`"),
        (with(pipeline(), "/spec/shards", json!(65)), "spec.shards: `65`"),
        (with(pipeline(), "/spec/exchange", json!("ticks of mine")), "spec.exchange: `ticks of mine`"),
        (with(pipeline(), "/spec/broker/vhost", json!("")), "spec.broker.vhost: "),
        (with(pipeline(), "/spec/replay/maxAge", json!("1s")), "spec.replay.maxAge: `1s`"),
        (with(pipeline(), "/spec/deadLetter/maxAge", json!("99999d")), "spec.deadLetter.maxAge: `99999d`"),
        (with(pipeline(), "/spec/replay/maxBytes", json!(1)), "spec.replay.maxBytes: `1`"),
        (with(sink(), "/spec/clickhouse/database", json!("my-tape")), "spec.clickhouse.database: `my-tape`"),
        (with(sink(), "/spec/batch/maxRows", json!(0)), "spec.batch.maxRows: `0`"),
        (with(sink(), "/spec/batch/maxBytes", json!("1Ki")), "spec.batch.maxBytes: `1Ki`"),
        (with(sink(), "/spec/replicas", json!(0)), "spec.replicas: `0`"),
        (with(sink(), "/spec/tables/quotes/retention", json!("1h")), "spec.tables.quotes.retention: `1h`"),
    ] {
        let refusals = violations(&object);
        assert!(
            refusals.len() == 1 && refusals[0].to_string().starts_with(violation) && refusals[0].reason() == "InvalidSpec",
            "{object}: {refusals:?}"
        );
    }
}
