//! A namespace of a test's own with the Secrets that manifests refer to. Its broker objects and its database carry its name, so that tests don't meet.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tapekeeper_test_ground::kubernetes::Endpoint;

use crate::cluster::{Cluster, eventually};

/// Where a namespace's Secrets point; the instance's own servers unless a test says otherwise.
#[derive(Debug, Default)]
pub struct NamespaceOptions {
    /// Instead of the broker's AMQPS address.
    pub broker_uri: Option<String>,
    /// Instead of the database's HTTPS address.
    pub clickhouse_uri: Option<String>,
}

/// Marks the namespaces of the tests.
const MARK: &str = "tapekeeper.dev/e2e=true";

/// A namespace of a test's own.
#[derive(Debug)]
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    /// Its name.
    pub name: String,
}

impl<'a> Namespace<'a> {
    /// Creates it anew, with its Secrets.
    ///
    /// # Errors
    /// When kubectl fails.
    pub async fn create(cluster: &'a Cluster, name: &str, options: NamespaceOptions) -> Result<Self> {
        let this = Self { cluster, name: name.to_owned() };
        remove_leftovers(cluster).await?;
        cluster.kubectl(&["create", "namespace", name])?;
        cluster.kubectl(&["label", "namespace", name, MARK])?;
        let servers = &cluster.description;
        let uri = |endpoint: &Endpoint, instead: Option<String>| instead.unwrap_or_else(|| endpoint.cluster_uri.clone());
        this.secret("tapekeeper-broker", &servers.broker, &uri(&servers.broker, options.broker_uri))?;
        this.secret("tapekeeper-broker-management", &servers.broker_management, &uri(&servers.broker_management, None))?;
        this.secret("tapekeeper-clickhouse", &servers.clickhouse, &uri(&servers.clickhouse, options.clickhouse_uri))?;
        Ok(this)
    }

    fn secret(&self, name: &str, endpoint: &Endpoint, uri: &str) -> Result<()> {
        let uri = format!("--from-literal=uri={uri}");
        let username = format!("--from-literal=username={}", endpoint.username);
        let password = format!("--from-literal=password={}", endpoint.password);
        self.cluster.kubectl(&["-n", &self.name, "create", "secret", "generic", name, &uri, &username, &password]).map(drop)
    }

    /// Deletes feed, sink and pipeline in the order of the flow, so that the queues are drained when they are dropped, and then the namespace.
    ///
    /// # Errors
    /// When one of them does not go.
    pub async fn remove(&self) -> Result<()> {
        self.kubectl(&["delete", "exchangefeed", "--all", "--timeout=60s"])?;
        let connectors = ["get", "pods", "-l", "app.kubernetes.io/name=tapekeeper-connector", "-o", "name"];
        eventually("the connectors end", Duration::from_secs(90), async || Ok(self.kubectl(&connectors)?.trim().is_empty().then_some(()))).await?;
        // The connectors' last words reach the table.
        tokio::time::sleep(Duration::from_secs(3)).await;
        self.kubectl(&["delete", "ticksink", "--all", "--timeout=60s"])?;
        self.kubectl(&["delete", "pipeline", "--all", "--timeout=60s"])?;
        remove_leftovers(self.cluster).await
    }

    /// `kubectl apply` of a manifest in this namespace.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        let output = self.cluster.try_kubectl(&["-n", &self.name, "apply", "-f", "-"], Some(manifest))?;
        if !output.success {
            bail!("{}", output.text);
        }
        Ok(())
    }

    /// What the API server says when it refuses a manifest.
    ///
    /// # Errors
    /// When it does not refuse it.
    pub fn refusal(&self, manifest: &str) -> Result<String> {
        let output = self.cluster.try_kubectl(&["-n", &self.name, "apply", "-f", "-"], Some(manifest))?;
        if output.success {
            bail!("not refused: {}", output.text);
        }
        Ok(output.text)
    }

    /// kubectl in this namespace.
    ///
    /// # Errors
    /// When it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// Waits until a condition has a status; gives its message.
    ///
    /// # Errors
    /// When it does not come to it.
    pub async fn condition(&self, kind: &str, name: &str, condition: &str, status: &str, bound: Duration) -> Result<String> {
        let what = format!("{kind}/{name} in {}: {condition}={status}", self.name);
        eventually(&what, bound, async || {
            let (now, message) = self.cluster.condition(&self.name, kind, name, condition)?.context("no such condition yet")?;
            if now == status { Ok(Some(message)) } else { bail!("{condition}={now}: {message}") }
        })
        .await
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When it stays.
    pub async fn gone(&self, kind: &str, name: &str, bound: Duration) -> Result<()> {
        eventually(&format!("{kind}/{name} in {} goes", self.name), bound, async || {
            Ok(self.cluster.get(&self.name, kind, name)?.is_none().then_some(()))
        })
        .await
    }
}

/// Deletes every namespace of the tests: what an earlier, failed test left would listen to the venue as well.
async fn remove_leftovers(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["delete", "namespace", "-l", MARK, "--wait=false"])?;
    eventually("the tests' namespaces go", Duration::from_secs(240), async || {
        Ok(cluster.kubectl(&["get", "namespace", "-l", MARK, "-o", "name"])?.trim().is_empty().then_some(()))
    })
    .await
}
