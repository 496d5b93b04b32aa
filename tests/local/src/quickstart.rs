//! The chart, the Secrets and `manifests/quickstart`, as a user would put them on a cluster.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use tapekeeper_test_ground::kubernetes::{Cluster, Description, Endpoint, Instance};
use tokio::process::Command;

use crate::layout::workspace;
use crate::sql::ask;
use crate::up::Options;
use crate::venues::Venues;

/// The release's name.
pub(crate) const RELEASE: &str = "tapekeeper";
/// The namespace of the operator.
pub(crate) const SYSTEM: &str = "tapekeeper-system";
/// The namespace of the quickstart.
const NAMESPACE: &str = "market-data";
const ROWS: Duration = Duration::from_secs(180);

/// Installs the chart, or upgrades it.
pub(crate) async fn install_chart(instance: &Instance, description: &Description) -> anyhow::Result<()> {
    finish_interrupted_release(instance, description).await?;
    let mut arguments: Vec<OsString> = ["upgrade", "--install", RELEASE].map(Into::into).to_vec();
    arguments.push(description.chart.clone().into());
    arguments.extend(["--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "180s"].map(Into::into));
    arguments.extend(["--set".into(), format!("images.operator.tag={}", description.operator_tag).into()]);
    arguments.extend(["--set".into(), format!("images.worker.tag={}", description.worker_tag).into()]);
    let mut certificates = OsString::from("extraCaCertificates=");
    certificates.push(&description.ca_certificate);
    arguments.extend(["--set-file".into(), certificates]);
    match helm(instance, description, &arguments).await {
        Ok(_) => Ok(()),
        Err(error) => bail!("{error:#}\n{}", what_is_wrong(description).await),
    }
}

/// A helm that was killed leaves a release that refuses every later one. No other runs now: we hold the instance's lock.
async fn finish_interrupted_release(instance: &Instance, description: &Description) -> anyhow::Result<()> {
    let list = ["list", "--all", "--output", "json", "--namespace", SYSTEM];
    let releases: serde_json::Value = serde_json::from_str(&helm(instance, description, &list).await?)?;
    let status = |release: &serde_json::Value| release["status"].as_str().unwrap_or_default().to_owned();
    let pending = releases.as_array().is_some_and(|releases| releases.iter().any(|release| status(release).starts_with("pending")));
    if !pending {
        return Ok(());
    }
    // The record of the interrupted attempt is a Secret; with it gone, the release is what it was before.
    let selector = format!("owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback)");
    kubectl(description, &["delete", "secret", "--namespace", SYSTEM, "--selector", &selector]).await.map(drop)
}

/// Creates the namespace and the Secrets, and applies `manifests/quickstart` unchanged.
pub(crate) async fn apply(cluster: &Cluster, description: &Description) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    cluster.api.apply(&format!("/api/v1/namespaces/{NAMESPACE}"), &namespace).await?;
    for (name, endpoint) in [
        ("tapekeeper-broker", &description.broker),
        ("tapekeeper-broker-management", &description.broker_management),
        ("tapekeeper-clickhouse", &description.clickhouse),
    ] {
        cluster.api.apply(&format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}"), &secret(name, endpoint)).await?;
    }
    let folder = workspace().join("manifests/quickstart");
    kubectl(description, &[OsStr::new("apply"), OsStr::new("-k"), folder.as_os_str()]).await.map(drop)
}

fn secret(name: &str, endpoint: &Endpoint) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {
            "uri": endpoint.cluster_uri,
            "username": endpoint.username,
            "password": endpoint.password,
        },
    })
}

/// Waits until the count of `tape.ticks` grows, and gives it. What stood there before an earlier `down` doesn't count.
pub(crate) async fn wait_for_rows(instance: &Instance, description: &Description) -> anyhow::Result<String> {
    let deadline = tokio::time::Instant::now() + ROWS;
    let mut first = None;
    loop {
        let counted = ask(instance, description, "SELECT count() FROM tape.ticks", "TabSeparated").await;
        let count: u64 = counted.as_deref().unwrap_or("0").trim().parse().unwrap_or(0);
        if count > *first.get_or_insert(count) {
            return Ok(count.to_string());
        }
        if tokio::time::Instant::now() > deadline {
            bail!("no new row within {} s\n{}", ROWS.as_secs(), what_is_wrong(description).await);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What kubectl says of the operator and of the quickstart's objects, for an error.
async fn what_is_wrong(description: &Description) -> String {
    const QUESTIONS: [&str; 6] = [
        "get pods -A",
        "get tapekeeper -A",
        "get events -A --field-selector type=Warning --sort-by .lastTimestamp",
        "logs -n tapekeeper-system -l app.kubernetes.io/name=tapekeeper-operator --all-containers --prefix --tail 20",
        "logs -n tapekeeper-system -l app.kubernetes.io/name=tapekeeper-operator --all-containers --prefix --tail 20 --previous",
        "logs -n market-data -l app.kubernetes.io/managed-by=tapekeeper-operator --all-containers --prefix --tail 20",
    ];
    let mut text = String::new();
    for question in QUESTIONS {
        let arguments: Vec<&str> = question.split(' ').collect();
        text.push_str(&format!("$ kubectl {question}\n"));
        match kubectl(description, &arguments).await {
            Ok(output) => text.push_str(&output),
            Err(error) => text.push_str(&format!("{error:#}\n")),
        }
    }
    text
}

/// The last words of `up`.
pub(crate) fn say_what_runs(options: &Options, venues: Venues, description: &Description, rows: &str) {
    let instance = if options.name.to_string() == "local" { String::new() } else { format!(" --name {}", options.name) };
    let venues = match venues {
        Venues::Live => "the real venues",
        Venues::Tape => "the tests' venue, playing a tape: NOT MARKET DATA",
    };
    println!(
        "
Running: Kubernetes with the operator in `{SYSTEM}` and the quickstart's feed, pipeline and sink in `{NAMESPACE}`,
RabbitMQ and ClickHouse beside it. The ticks come from {venues}. Rows in tape.ticks so far: {rows}.

Look at the tape:
  cargo local sql{instance} \"SELECT symbol, count(), min(timestamp), max(timestamp) FROM tape.ticks GROUP BY symbol\"
Look at the cluster:
  export KUBECONFIG={kubeconfig}
  {kubectl} get tapekeeper,pods -n {NAMESPACE}
or, for short:
  cargo local kubectl{instance} get tapekeeper,pods -n {NAMESPACE}
  cargo local status{instance}
Stop it:
  cargo local down{instance}            (with --purge: and forget the data)
",
        kubeconfig = description.kubeconfig.display(),
        kubectl = description.kubectl.display(),
    );
}

/// Runs helm on the instance, with what it keeps in the instance's folder.
async fn helm<A: AsRef<OsStr>>(instance: &Instance, description: &Description, arguments: &[A]) -> anyhow::Result<String> {
    // A helm that outlived its starter would meet the one of the next `up`.
    let mut command = Command::new("setpriv");
    let folder = instance.path("helm");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(&description.helm)
        .args(arguments)
        .env("KUBECONFIG", &description.kubeconfig)
        .env("HELM_CACHE_HOME", folder.join("cache"))
        .env("HELM_CONFIG_HOME", folder.join("config"))
        .env("HELM_DATA_HOME", folder.join("data"));
    finish("helm", command).await
}

/// Runs kubectl on the instance and gives its output.
pub(crate) async fn kubectl<A: AsRef<OsStr>>(description: &Description, arguments: &[A]) -> anyhow::Result<String> {
    let mut command = Command::new(&description.kubectl);
    command.args(arguments).env("KUBECONFIG", &description.kubeconfig);
    finish("kubectl", command).await
}

async fn finish(program: &str, mut command: Command) -> anyhow::Result<String> {
    const LONGEST: Duration = Duration::from_secs(240);
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LONGEST, command.output())
        .await
        .with_context(|| format!("{program} took longer than {} s", LONGEST.as_secs()))?
        .context(program.to_owned())?;
    if !output.status.success() {
        bail!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
