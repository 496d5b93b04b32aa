//! What piles up on the way of a tick, looked at every second: where it does shows which part is behind.

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use tapekeeper_e2e::Namespace;
use tapekeeper_test_ground::kubernetes::Endpoint;

use super::histogram::Metrics;

/// The port of a worker's HTTP endpoint.
const PORT: u16 = 8080;

/// The workers' metrics at one moment.
#[derive(Debug)]
pub(crate) struct Workers {
    /// Of the connector.
    pub(crate) connector: Metrics,
    /// Of the batcher.
    pub(crate) batcher: Metrics,
}

/// Mean and maximum of what was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Level {
    /// The mean of all looks.
    pub(crate) mean: f64,
    /// The highest.
    pub(crate) max: f64,
}

/// Envelopes on their way.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Levels {
    /// In the connector, not yet handed to the broker.
    pub(crate) waiting: Level,
    /// Handed to the broker, unconfirmed.
    pub(crate) in_flight: Level,
    /// In the shard queues, not yet delivered.
    pub(crate) queued: Level,
    /// In the batcher: delivered, unacknowledged.
    pub(crate) held: Level,
}

/// Asks the pods and the broker.
#[derive(Debug)]
pub(crate) struct Gauges {
    client: reqwest::Client,
    connector: String,
    batcher: String,
    management: Endpoint,
    looks: Vec<[f64; 4]>,
}

impl Gauges {
    /// Of the one connector and the one batcher of `namespace`.
    pub(crate) fn new(client: reqwest::Client, namespace: &Namespace<'_>, management: Endpoint) -> anyhow::Result<Self> {
        let address = |part: &str| -> anyhow::Result<String> {
            let label = format!("app.kubernetes.io/name=tapekeeper-{part}");
            let ip = namespace.kubectl(&["get", "pods", "-l", &label, "-o", "jsonpath={.items[*].status.podIP}"])?;
            anyhow::ensure!(!ip.is_empty() && !ip.contains(' '), "one {part} expected: `{ip}`");
            Ok(format!("http://{ip}:{PORT}/metrics"))
        };
        Ok(Self { connector: address("connector")?, batcher: address("batcher")?, client, management, looks: Vec::new() })
    }

    /// All metrics of both workers.
    pub(crate) async fn workers(&self) -> anyhow::Result<Workers> {
        let (connector, batcher) = tokio::try_join!(self.metrics(&self.connector), self.metrics(&self.batcher))?;
        Ok(Workers { connector, batcher })
    }

    async fn metrics(&self, url: &str) -> anyhow::Result<Metrics> {
        let text = self.client.get(url).send().await?.error_for_status()?.text().await?;
        Ok(Metrics::parse(&text))
    }

    async fn queued(&self) -> anyhow::Result<f64> {
        let Endpoint { uri, username, password, .. } = &self.management;
        let url = format!("{uri}/api/queues?columns=type,messages_ready");
        let queues: Value = self.client.get(url).basic_auth(username, Some(password)).send().await?.error_for_status()?.json().await?;
        let queues = queues.as_array().context("a list of queues expected")?;
        // A stream keeps what it was given; only the queues are read empty.
        Ok(queues.iter().filter(|queue| queue["type"] != "stream").filter_map(|queue| queue["messages_ready"].as_f64()).sum())
    }

    /// Looks once.
    pub(crate) async fn look(&mut self) -> anyhow::Result<()> {
        let (workers, queued) = tokio::try_join!(self.workers(), self.queued())?;
        let connector = |name: &str| workers.connector.total(&format!("tapekeeper_connector_envelopes_{name}"));
        let held = workers.batcher.total("tapekeeper_batcher_envelopes_held");
        self.looks.push([connector("waiting"), connector("in_flight"), queued, held]);
        Ok(())
    }

    /// What was seen since the last time that this was asked.
    pub(crate) fn levels(&mut self) -> Levels {
        let looks = std::mem::take(&mut self.looks);
        let [waiting, in_flight, queued, held] = [0, 1, 2, 3].map(|place| level(looks.iter().map(|look| look[place])));
        Levels { waiting, in_flight, queued, held }
    }
}

fn level(values: impl ExactSizeIterator<Item = f64>) -> Level {
    let count = values.len().max(1) as f64;
    let (sum, max) = values.fold((0.0, 0.0_f64), |(sum, max), value| (sum + value, max.max(value)));
    Level { mean: sum / count, max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_has_a_mean_and_a_maximum() {
        assert_eq!(level([1.0, 5.0, 3.0].into_iter()), Level { mean: 3.0, max: 5.0 });
        assert_eq!(level(std::iter::empty::<f64>().collect::<Vec<_>>().into_iter()), Level::default());
    }
}
