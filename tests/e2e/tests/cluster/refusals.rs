//! Production only, at each of its three gates.

use std::time::Duration;

use anyhow::{Result, ensure};
use tapekeeper_e2e::{Cluster, Namespace, NamespaceOptions, eventually};

use crate::manifests;

#[tokio::test]
async fn the_api_server_refuses_every_way_out_of_production_by_its_field() -> Result<()> {
    let cluster = Cluster::from_environment()?;
    let namespace = Namespace::create(&cluster, "e2e-refused", NamespaceOptions::default()).await?;
    let pipeline = manifests::pipeline("refused", "Retain");
    let sink = manifests::sink("refused", "Retain");
    let feed = manifests::feed("BTC/USDT");
    let with = |manifest: &str, line: &str| manifest.replacen("spec:\n", &format!("spec:\n  {line}\n"), 1);
    for (manifest, expected) in [
        (with(&feed, "environment: staging"), "FORBIDDEN: spec.environment"),
        (with(&pipeline, "environment: test"), "FORBIDDEN: spec.environment"),
        (with(&sink, "environment: development"), "FORBIDDEN: spec.environment"),
        (with(&feed, "connection: {endpoint: 'ws://stream.binance.com:9443'}"), "FORBIDDEN: spec.connection.endpoint"),
        (with(&feed, "connection: {endpoint: 'wss://venue.e2e-refused.svc:443'}"), "FORBIDDEN: spec.connection.endpoint"),
        (pipeline.replacen("  broker:\n", "  broker:\n    kind: Kafka\n", 1), "FORBIDDEN: spec.broker.kind"),
        (sink.replacen("  clickhouse:\n", "  clickhouse:\n    kind: Postgres\n", 1), "FORBIDDEN: spec.clickhouse.kind"),
        (feed.replace("venue: Binance", "venue: Simulator"), "spec.venue"),
        (with(&feed, "mock: true"), "unknown field \"spec.mock\""),
    ] {
        let said = namespace.refusal(&manifest)?;
        ensure!(said.contains(expected), "expected {expected:?}, the API server said: {said}");
        println!("{}", said.trim());
    }
    namespace.remove().await
}

#[tokio::test]
async fn the_operator_refuses_a_secret_whose_broker_is_not_reached_over_tls() -> Result<()> {
    let cluster = Cluster::from_environment()?;
    let options = NamespaceOptions { broker_uri: Some("amqp://rabbitmq.tapekeeper.internal:5672".to_owned()), ..NamespaceOptions::default() };
    let namespace = Namespace::create(&cluster, "e2e-plain-broker", options).await?;
    namespace.apply(&(manifests::pipeline("e2e_plain_broker", "Retain") + &manifests::feed("BTC/USDT")))?;
    let message = eventually("the operator says why", Duration::from_secs(60), async || {
        let conditions = ["SpecValid", "ReferencesResolved"].map(|condition| cluster.condition(&namespace.name, "pipeline", "ticks", condition));
        Ok(conditions.into_iter().flatten().flatten().map(|(_, message)| message).find(|message| message.contains("FORBIDDEN")))
    })
    .await?;
    ensure!(message.contains("FORBIDDEN: secret/tapekeeper-broker.uri: `amqp://` is not allowed"), "{message}");
    println!("{message}");
    namespace.condition("pipeline", "ticks", "Ready", "False", Duration::from_secs(30)).await?;
    ensure!(cluster.kubectl(&["-n", &namespace.name, "get", "deployments", "-o", "name"])?.trim().is_empty(), "a workload was started all the same");
    namespace.remove().await
}

#[tokio::test]
async fn a_worker_refuses_settings_that_leave_production_when_it_starts() -> Result<()> {
    let cluster = Cluster::from_environment()?;
    let namespace = Namespace::create(&cluster, "e2e-worker-refuses", NamespaceOptions::default()).await?;
    let image = format!("ghcr.io/tapekeeper/tapekeeper-worker:{}", cluster.description.worker_tag);
    namespace.apply(&format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: by-hand}}
data:
  settings.yaml: |
    environment: production
    feed: {{namespace: e2e-worker-refuses, name: by-hand}}
    venue: Binance
    endpoint: wss://localhost:9443
    instruments: [BTC/USDT]
    channels: [Trades]
    maxStreams: 10
    idleTimeout: 30s
    broker: {{kind: RabbitMQ, credentials: /etc/tapekeeper/secrets/broker, vhost: /}}
    exchange: crypto.ticks
---
apiVersion: v1
kind: Pod
metadata: {{name: by-hand}}
spec:
  restartPolicy: Never
  containers:
    - name: worker
      image: {image}
      imagePullPolicy: Never
      args: [connector]
      volumeMounts: [{{name: settings, mountPath: /etc/tapekeeper}}]
  volumes: [{{name: settings, configMap: {{name: by-hand}}}}]
"
    ))?;
    eventually("the worker ends", Duration::from_secs(60), async || {
        let pod = cluster.get(&namespace.name, "pod", "by-hand")?.unwrap_or_default();
        Ok((pod.pointer("/status/phase").and_then(|phase| phase.as_str()) == Some("Failed")).then_some(()))
    })
    .await?;
    let log = namespace.kubectl(&["logs", "by-hand"])?;
    ensure!(log.contains("FORBIDDEN: endpoint: `localhost` is not a host of Binance"), "{log}");
    println!("{}", log.trim());
    namespace.remove().await
}
