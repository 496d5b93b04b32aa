//! What a test needs to know about a running instance, as a JSON file.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::instance::write_whole;

/// A server beside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its address as this machine reaches it, with an IP address for a host: the certificate carries that too.
    pub uri: String,
    /// Its address as pods reach it: what belongs into a Secret.
    pub cluster_uri: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

/// The tests' venue as it runs in an instance, and what it takes to run another in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Venue {
    /// Its control address, plain HTTP, as this machine reaches it.
    pub control: String,
    /// The address that the venues' names lead to; it listens there on ports 443 and 9443.
    pub address: String,
    /// Its program.
    pub program: PathBuf,
    /// Its certificate, PEM, for the venues' names.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// `PID START_TIME` of the process.
    pub pidfile: PathBuf,
}

/// A running instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// The instance's name.
    pub name: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// helm.
    pub helm: PathBuf,
    /// Words before a command that run it in the instance's network namespace.
    pub command_prefix: Vec<String>,
    /// The certificate authority of everything beside the cluster, a PEM file.
    pub ca_certificate: PathBuf,
    /// RabbitMQ over AMQP.
    pub broker: Endpoint,
    /// RabbitMQ's management API.
    pub broker_management: Endpoint,
    /// ClickHouse over HTTPS.
    pub clickhouse: Endpoint,
    /// The tests' venue, when it stands in for the real ones.
    pub venue: Option<Venue>,
    /// The tag of the operator's image; empty while only the cluster runs.
    pub operator_tag: String,
    /// The tag of the workers' image; empty while only the cluster runs.
    pub worker_tag: String,
    /// The chart.
    pub chart: PathBuf,
    /// The API server's audit log, one JSON event per line, level Metadata.
    pub audit_log: PathBuf,
    /// A folder of recorded frames, when the machine has one.
    pub frames: Option<PathBuf>,
}

impl Description {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// Fails when it is missing or not one.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Writes the file at `path`, readable by its owner only: it carries passwords.
    ///
    /// # Errors
    ///
    /// Fails when the folder can't be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_whole(path, &serde_json::to_vec_pretty(self)?)
    }
}
