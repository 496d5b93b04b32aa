//! `plan -f FILE`, without a cluster.

#![allow(clippy::unwrap_used)] // a test that can't go on fails

use serde::Deserialize;
use tapekeeper_operator::installation::Installation;
use tapekeeper_operator::plan_file::{self, Plan, PlanError};

const MANIFESTS: &str = "
apiVersion: tapekeeper.dev/v1alpha1
kind: ExchangeFeed
metadata: { name: binance }
spec: { venue: Binance, instruments: { symbols: [BTC/USDT] }, pipelineRef: { name: ticks } }
---
apiVersion: tapekeeper.dev/v1alpha1
kind: Pipeline
metadata: { name: ticks }
spec: { broker: { secretRef: { name: broker }, managementSecretRef: { name: broker-management } } }
---
apiVersion: v1
kind: Secret
metadata: { name: broker }
stringData: { uri: 'amqps://broker.example:5671', username: tapekeeper, password: hunter2 }
---
apiVersion: tapekeeper.dev/v1alpha1
kind: TickSink
metadata: { name: tape }
spec: { pipelineRef: { name: ticks }, clickhouse: { secretRef: { name: clickhouse }, database: tape } }
";

fn plan(text: &str) -> Result<Plan, PlanError> {
    let installation = Installation { image: "worker:1".to_owned(), pull_policy: "IfNotPresent".to_owned(), pull_secrets: vec![], extra_ca: None };
    plan_file::plan(text, "market-data", &installation)
}

#[test]
fn a_plan_shows_objects_broker_operations_and_sql_and_is_yaml() {
    let plan = plan(MANIFESTS).unwrap();
    assert!(plan.complete, "{}", plan.text);
    for part in [
        "# Pipeline market-data/ticks",
        "exchange crypto.ticks",
        "CREATE TABLE",
        "# ExchangeFeed market-data/binance",
        "Secret market-data/clickhouse: unknown",
    ] {
        assert!(plan.text.contains(part), "{part} is not in\n{}", plan.text);
    }
    assert!(!plan.text.contains("hunter2") && !plan.text.contains("Secret market-data/broker: unknown"), "{}", plan.text);
    let names: Vec<_> = serde_yaml::Deserializer::from_str(&plan.text)
        .map(|document| serde_json::Value::deserialize(document).unwrap())
        .filter(|value| !value.is_null())
        .map(|value| format!("{} {}", value["kind"].as_str().unwrap(), value["metadata"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(names, ["ConfigMap tape-batcher", "Deployment tape-batcher", "ConfigMap binance-connector", "Deployment binance-connector"]);
}

#[test]
fn a_reference_that_is_not_in_the_file_is_told_and_the_plan_is_not_complete() {
    let plan = plan(MANIFESTS.split("---").next().unwrap()).unwrap();
    assert!(!plan.complete && plan.text.contains("PipelineNotFound"), "{}", plan.text);
}

#[test]
fn an_unknown_field_is_an_error_that_names_it() {
    let refusal = plan(&MANIFESTS.replace("venue: Binance,", "venue: Binance, mock: true,")).unwrap_err().to_string();
    assert_eq!(refusal, "document 1: unknown field spec.mock");
}

#[test]
fn production_only_holds_in_a_file_too() {
    for (from, to, message) in [
        ("venue: Binance,", "venue: Binance, environment: test,", "FORBIDDEN: spec.environment: "),
        ("amqps://", "amqp://", "FORBIDDEN: secret/broker.uri: "),
    ] {
        let plan = plan(&MANIFESTS.replace(from, to)).unwrap();
        assert!(!plan.complete && plan.text.contains(message), "{}", plan.text);
    }
}
