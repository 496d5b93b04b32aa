//! Depths and rates of a Pipeline's queues.

use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tapekeeper_contract::topology::Topology;

use super::admin::{BrokerAdmin, CONCURRENCY};
use super::error::BrokerError;

/// The figures of a Pipeline's queues and streams. A missing one is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BrokerFigures {
    /// The shard queues, in order.
    pub queues: Vec<QueueFigures>,
    /// The replay streams, in order.
    pub replay: Vec<QueueFigures>,
    /// Messages in the dead-letter stream.
    pub dead_letters: u64,
    /// Messages that no binding wanted.
    pub unrouted: u64,
}

/// One queue's figures, as of the broker's last statistics (every five seconds).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueFigures {
    /// Its name.
    pub name: String,
    /// Messages that wait.
    pub ready: u64,
    /// Messages that a consumer holds.
    pub unacknowledged: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages that came in, per second.
    pub publish_rate: f64,
    /// Messages that went out, per second.
    pub deliver_rate: f64,
}

/// The part of `GET /api/queues/VHOST/NAME` that tells figures. A queue that was just declared has none of them.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct QueueStatistics {
    #[serde(default)]
    pub(super) messages: Option<u64>,
    #[serde(default)]
    messages_ready: u64,
    #[serde(default)]
    messages_unacknowledged: u64,
    #[serde(default)]
    consumers: u64,
    #[serde(default)]
    message_stats: MessageStatistics,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct MessageStatistics {
    #[serde(default)]
    publish_details: Rate,
    #[serde(default)]
    deliver_get_details: Rate,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Rate {
    #[serde(default)]
    rate: f64,
}

impl QueueStatistics {
    fn figures(self, name: String) -> QueueFigures {
        QueueFigures {
            name,
            ready: self.messages_ready,
            unacknowledged: self.messages_unacknowledged,
            consumers: self.consumers,
            publish_rate: self.message_stats.publish_details.rate,
            deliver_rate: self.message_stats.deliver_get_details.rate,
        }
    }
}

impl BrokerAdmin {
    /// Reads the figures of a Pipeline's queues.
    ///
    /// # Errors
    /// [`BrokerError`], when they can't be read.
    pub async fn figures(&self, vhost: &str, names: &Topology) -> Result<BrokerFigures, BrokerError> {
        self.management.require_vhost(vhost).await?;
        let kept = async |name: String| Ok(self.statistics(vhost, &name).await?.and_then(|found| found.messages).unwrap_or_default());
        Ok(BrokerFigures {
            queues: self.figures_of(vhost, names.shard_queues()).await?,
            replay: self.figures_of(vhost, names.replay_streams()).await?,
            dead_letters: kept(names.dead_letters()).await?,
            unrouted: kept(names.unrouted()).await?,
        })
    }

    async fn figures_of(&self, vhost: &str, names: impl Iterator<Item = String>) -> Result<Vec<QueueFigures>, BrokerError> {
        let found: Vec<Option<QueueFigures>> = stream::iter(names)
            .map(async |name| Ok(self.statistics(vhost, &name).await?.map(|statistics| statistics.figures(name))))
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) async fn statistics(&self, vhost: &str, queue: &str) -> Result<Option<QueueStatistics>, BrokerError> {
        self.management.queue(vhost, queue).await
    }
}
