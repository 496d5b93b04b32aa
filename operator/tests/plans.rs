//! What a feed and a sink become, whole. A change here rolls every pod of every installation at the next upgrade of the operator, so it must be meant.

#![allow(clippy::unwrap_used)] // a test that can't go on fails

mod fixtures;

use fixtures::{feed, feed_resolved, installation, sink, sink_resolved};
use serde_json::{Value, json};
use tapekeeper_crds::workload::RunState;
use tapekeeper_operator::workload::Rendered;
use tapekeeper_operator::{feed, sink};

fn feed_plan(manifest: &tapekeeper_crds::ExchangeFeed, resolved: &feed::resolve::Resolved) -> Rendered {
    let valid = feed::validate::validate(manifest, resolved, false).feed.unwrap();
    feed::plan::plan(&valid, &installation())
}

fn sink_plan() -> sink::plan::Planned {
    let valid = sink::validate::validate(&sink(), &sink_resolved(), false).sink.unwrap();
    sink::plan::plan(&valid, &installation())
}

fn json_of(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

fn labels(role: &str, instance: &str) -> Value {
    json!({
        "app.kubernetes.io/component": role,
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/managed-by": "tapekeeper-operator",
        "app.kubernetes.io/name": format!("tapekeeper-{role}"),
        "app.kubernetes.io/part-of": "tapekeeper"
    })
}

#[test]
fn a_feed_becomes_this_config_map_and_this_deployment() {
    let rendered = feed_plan(&feed(), &feed_resolved());
    let metadata = json!({
        "name": "binance-connector", "namespace": "market-data", "labels": labels("connector", "binance"),
        "ownerReferences": [{ "apiVersion": "tapekeeper.dev/v1alpha1", "kind": "ExchangeFeed", "name": "binance", "uid": "uid-of-binance", "controller": true, "blockOwnerDeletion": true }]
    });
    let settings = "environment: production\nfeed:\n  namespace: market-data\n  name: binance\nvenue: Binance\nendpoint: wss://stream.binance.com:9443\n\
                    instruments:\n- BTC/USDT\n- ETH/USDT\nchannels:\n- Trades\n- Quotes\nmaxStreams: 1024\nidleTimeout: 30s\n\
                    broker:\n  kind: RabbitMQ\n  credentials: /etc/tapekeeper/secrets/broker\n  vhost: market\nexchange: crypto.ticks\n";
    similar_asserts::assert_eq!(
        json_of(&rendered.config_map),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "settings.yaml": settings } })
    );
    similar_asserts::assert_eq!(
        json_of(&rendered.deployment),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 1,
                "revisionHistoryLimit": 3,
                "selector": { "matchLabels": { "app.kubernetes.io/instance": "binance", "app.kubernetes.io/name": "tapekeeper-connector" } },
                "strategy": { "type": "Recreate" },
                "template": {
                    "metadata": {
                        "labels": labels("connector", "binance"),
                        "annotations": {
                            "tapekeeper.dev/secrets-checksum": "7980e4e0d38ed9a3938d10335783778c",
                            "tapekeeper.dev/settings-checksum": "b5c2b738188e1052a5e2a4a62d85f3d2"
                        }
                    },
                    "spec": {
                        "automountServiceAccountToken": false,
                        "enableServiceLinks": false,
                        "terminationGracePeriodSeconds": 45,
                        "securityContext": { "fsGroup": 65532, "runAsGroup": 65532, "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
                        "containers": [{
                            "name": "connector", "image": "registry.example/worker:1", "imagePullPolicy": "IfNotPresent", "args": ["connector"],
                            "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                            "livenessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "initialDelaySeconds": 5, "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 3 },
                            "readinessProbe": { "httpGet": { "path": "/readyz", "port": "http" }, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3 },
                            "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
                            "volumeMounts": [{ "name": "tapekeeper", "mountPath": "/etc/tapekeeper", "readOnly": true }]
                        }],
                        "volumes": [{ "name": "tapekeeper", "projected": { "defaultMode": 288, "sources": [
                            { "configMap": { "name": "binance-connector" } },
                            { "secret": { "name": "broker", "items": [
                                { "key": "uri", "path": "secrets/broker/uri" }, { "key": "username", "path": "secrets/broker/username" }, { "key": "password", "path": "secrets/broker/password" }] } },
                            { "secret": { "name": "broker", "optional": true, "items": [{ "key": "ca.crt", "path": "secrets/broker/ca.crt" }] } }
                        ] } }]
                    }
                }
            }
        })
    );
}

#[test]
fn a_sink_becomes_batchers_that_roll_and_mount_both_secrets() {
    let rendered = sink_plan().workload;
    let settings = "environment: production\nsink:\n  namespace: market-data\n  name: tape\nbroker:\n  kind: RabbitMQ\n  credentials: /etc/tapekeeper/secrets/broker\n  vhost: market\n\
                    queues:\n- crypto.ticks.shard.0\n- crypto.ticks.shard.1\n- crypto.ticks.shard.2\n- crypto.ticks.shard.3\n\
                    database:\n  kind: ClickHouse\n  credentials: /etc/tapekeeper/secrets/database\n  name: tape\nbatch:\n  maxRows: 50000\n  maxBytes: 33554432\n  maxDelay: 1s\n";
    assert_eq!(rendered.config_map.data.unwrap()["settings.yaml"], settings);
    let deployment = json_of(&rendered.deployment);
    assert_eq!(deployment["metadata"]["name"], "tape-batcher");
    assert_eq!(deployment["spec"]["strategy"], json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } }));
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["args"], json!(["batcher"]));
    let mounted: Vec<_> = deployment["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|source| source["secret"]["name"].as_str())
        .collect();
    assert_eq!(mounted, ["broker", "broker", "clickhouse", "clickhouse"]);
}

#[test]
fn the_pods_of_an_unchanged_manifest_survive_an_upgrade_of_the_operator() {
    let hash = |rendered: &Rendered| {
        let template = &json_of(&rendered.deployment)["spec"]["template"];
        sha2_hex(&template.to_string())
    };
    assert_eq!([hash(&feed_plan(&feed(), &feed_resolved())), hash(&sink_plan().workload)], ["545f88b643478a26", "389e556a4a2c76a8"]);
}

fn sha2_hex(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_paused_feed_keeps_its_deployment_without_pods() {
    let mut manifest = feed();
    manifest.spec.state = RunState::Paused;
    let paused = feed_plan(&manifest, &feed_resolved());
    let running = feed_plan(&feed(), &feed_resolved());
    let replicas = |rendered: &Rendered| rendered.deployment.spec.as_ref().unwrap().replicas;
    assert_eq!((replicas(&paused), replicas(&running)), (Some(0), Some(1)));
    assert_eq!(paused.deployment.spec.unwrap().template, running.deployment.spec.unwrap().template);
}

#[test]
fn a_rotated_secret_and_a_changed_setting_each_roll_the_pods() {
    let annotations = |rendered: Rendered| rendered.deployment.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
    let before = annotations(feed_plan(&feed(), &feed_resolved()));
    let mut rotated = feed_resolved();
    rotated.broker_secret.as_mut().unwrap().version = "8".to_owned();
    let after_rotation = annotations(feed_plan(&feed(), &rotated));
    assert_ne!(after_rotation["tapekeeper.dev/secrets-checksum"], before["tapekeeper.dev/secrets-checksum"]);
    assert_eq!(after_rotation["tapekeeper.dev/settings-checksum"], before["tapekeeper.dev/settings-checksum"]);
    let mut changed = feed();
    changed.spec.instruments.symbols.pop();
    assert_ne!(annotations(feed_plan(&changed, &feed_resolved()))["tapekeeper.dev/settings-checksum"], before["tapekeeper.dev/settings-checksum"]);
}

#[test]
fn the_authorities_of_the_installation_reach_every_worker() {
    let mut installation = installation();
    installation.extra_ca = Some("-----BEGIN CERTIFICATE-----".to_owned());
    let valid = feed::validate::validate(&feed(), &feed_resolved(), true).feed.unwrap();
    let files = feed::plan::plan(&valid, &installation).config_map.data.unwrap();
    assert_eq!(files["extra-ca.pem"], "-----BEGIN CERTIFICATE-----");
    assert!(files["settings.yaml"].ends_with("extraCaCertificates: /etc/tapekeeper/extra-ca.pem\n"), "{}", files["settings.yaml"]);
}

#[test]
fn no_password_is_in_what_is_rendered() {
    assert!(!json_of(&sink_plan().workload.deployment).to_string().contains("hunter2"));
    assert!(!json_of(&sink_plan().workload.config_map).to_string().contains("hunter2"));
}
