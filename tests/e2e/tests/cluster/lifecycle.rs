//! Pausing, drift, deletion with Retain, and uninstalling.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tapekeeper_e2e::{Cluster, Namespace, NamespaceOptions, Tape, eventually};

use crate::manifests;

const MINUTES_3: Duration = Duration::from_secs(180);

#[tokio::test]
async fn a_feed_can_be_paused_repaired_and_deleted_and_retain_keeps_the_tape() -> Result<()> {
    let cluster = Cluster::from_environment()?;
    let database = cluster.database()?;
    let _venue = cluster.play(&Tape::Seeded { seed: 1, symbols: &["BTCUSDT"], rate: "500" }).await?;
    let name = "e2e_life";
    database.query(&format!("DROP DATABASE IF EXISTS {name}")).await?;
    let namespace = Namespace::create(&cluster, "e2e-life", NamespaceOptions::default()).await?;
    namespace.apply(&(manifests::pipeline(name, "Retain") + &manifests::sink(name, "Retain") + &manifests::feed("BTC/USDT")))?;
    namespace.condition("exchangefeed", "binance", "Ready", "True", MINUTES_3).await?;
    namespace.condition("ticksink", "clickhouse", "Ready", "True", MINUTES_3).await?;

    // A Deployment that somebody changed by hand is put right.
    let deployment = namespace.kubectl(&["get", "deployments", "-l", "app.kubernetes.io/name=tapekeeper-connector", "-o", "name"])?;
    let deployment = deployment.trim();
    namespace.kubectl(&[
        "patch",
        deployment,
        "--type=json",
        "-p",
        r#"[{"op":"replace","path":"/spec/template/spec/terminationGracePeriodSeconds","value":1}]"#,
    ])?;
    let grace = ["get", deployment, "-o", "jsonpath={.spec.template.spec.terminationGracePeriodSeconds}"];
    eventually("the drift is repaired", Duration::from_secs(60), async || Ok((namespace.kubectl(&grace)?.trim() != "1").then_some(()))).await?;
    namespace.kubectl(&["delete", deployment])?;
    eventually("the Deployment is back", Duration::from_secs(60), async || Ok(namespace.kubectl(&["get", deployment]).ok())).await?;

    // Paused: no pods, and a status that says so.
    namespace.kubectl(&["patch", "exchangefeed", "binance", "--type=merge", "-p", r#"{"spec":{"state":"Paused"}}"#])?;
    namespace.condition("exchangefeed", "binance", "Paused", "True", MINUTES_3).await?;
    eventually("no connector runs", Duration::from_secs(90), async || {
        Ok(namespace.kubectl(&["get", "pods", "-l", "app.kubernetes.io/name=tapekeeper-connector", "-o", "name"])?.trim().is_empty().then_some(()))
    })
    .await?;
    namespace.kubectl(&["patch", "exchangefeed", "binance", "--type=merge", "-p", r#"{"spec":{"state":"Running"}}"#])?;
    namespace.condition("exchangefeed", "binance", "Ready", "True", MINUTES_3).await?;

    // The scale subresource reaches the batchers.
    namespace.kubectl(&["scale", "ticksink", "clickhouse", "--replicas=2"])?;
    eventually("two batchers", MINUTES_3, async || {
        let sink = cluster.get(&namespace.name, "ticksink", "clickhouse")?.unwrap_or_default();
        Ok((sink.pointer("/status/replicas").and_then(|replicas| replicas.as_u64()) == Some(2)).then_some(()))
    })
    .await?;

    // A secret that goes away tears nothing down.
    namespace.kubectl(&["delete", "secret", "tapekeeper-clickhouse"])?;
    let pods = || {
        namespace.kubectl(&["get", "pods", "-l", "app.kubernetes.io/name=tapekeeper-batcher", "--field-selector=status.phase=Running", "-o", "name"])
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    ensure!(pods()?.lines().count() >= 1, "the batchers went with the secret");

    // Retain: the workloads go with their objects, the tape stays. The sink is released although its secret is gone.
    namespace.kubectl(&["delete", "exchangefeed,ticksink,pipeline", "--all", "--timeout=150s"])?;
    eventually("the workloads are gone", Duration::from_secs(90), async || {
        Ok(namespace
            .kubectl(&["get", "deployments,configmaps", "-l", "app.kubernetes.io/managed-by=tapekeeper-operator", "-o", "name"])?
            .trim()
            .is_empty()
            .then_some(()))
    })
    .await?;
    ensure!(database.count(&format!("SELECT count() FROM {name}.ticks")).await? > 0, "Retain did not keep the tape");
    database.query(&format!("DROP DATABASE {name}")).await?;
    namespace.remove().await
}

#[tokio::test]
async fn uninstalling_leaves_nothing_but_the_definitions_and_installing_again_works() -> Result<()> {
    let cluster = Cluster::from_environment()?;
    let values = cluster.helm(&["get", "values", "tapekeeper", "-n", "tapekeeper-system", "-o", "json"])?;
    let file = std::env::temp_dir().join(format!("tapekeeper-e2e-values-{}.json", std::process::id()));
    std::fs::write(&file, values)?;
    let test = cluster.helm(&["test", "tapekeeper", "-n", "tapekeeper-system", "--timeout", "120s"])?;
    ensure!(test.contains("Succeeded"), "{test}");

    cluster.helm(&["uninstall", "tapekeeper", "-n", "tapekeeper-system", "--wait", "--timeout", "120s"])?;
    let kinds = "deployments,configmaps,services,serviceaccounts,secrets,roles,rolebindings,pods,leases";
    let selector = ["-l", "app.kubernetes.io/instance=tapekeeper", "-o", "name"];
    eventually("nothing of the release is left", Duration::from_secs(90), async || {
        let namespaced = cluster.kubectl(&[&["get", kinds, "-A"], &selector[..]].concat())?;
        let wide = cluster.kubectl(&[&["get", "clusterroles,clusterrolebindings"], &selector[..]].concat())?;
        ensure!(namespaced.trim().is_empty() && wide.trim().is_empty(), "{namespaced}{wide}");
        Ok(Some(()))
    })
    .await?;
    let definitions = cluster.kubectl(&["get", "crds", "-o", "name"])?;
    ensure!(definitions.matches("tapekeeper.dev").count() == 3, "keep did not keep: {definitions}");

    let chart = cluster.description.chart.to_str().context("the chart's path")?.to_owned();
    let file_name = file.to_str().context("a path")?;
    cluster.helm(&["install", "tapekeeper", &chart, "-n", "tapekeeper-system", "-f", file_name, "--wait", "--timeout", "120s"])?;
    std::fs::remove_file(&file)?;
    Ok(())
}
