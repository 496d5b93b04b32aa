//! The names of a Pipeline's broker objects, all derived from its exchange (`crypto.ticks` unless the manifest says otherwise).

/// The exchange of a Pipeline that names none.
pub const DEFAULT_EXCHANGE: &str = "crypto.ticks";

/// The names of one Pipeline's exchanges, queues and streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    exchange: String,
    shards: u16,
}

impl Topology {
    /// The topology of `exchange` with `shards` shards.
    #[must_use]
    pub fn new(exchange: impl Into<String>, shards: u16) -> Self {
        Self { exchange: exchange.into(), shards }
    }

    /// How many shard queues (and replay streams) there are.
    #[must_use]
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// The topic exchange that connectors publish to.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The alternate exchange, and the stream behind it, that keep what no binding wanted.
    #[must_use]
    pub fn unrouted(&self) -> String {
        format!("{}.unrouted", self.exchange)
    }

    /// The dead-letter exchange, and the stream behind it.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        format!("{}.dead", self.exchange)
    }

    /// The consistent-hash exchange in front of the shard queues.
    #[must_use]
    pub fn shard_exchange(&self) -> String {
        format!("{}.shard", self.exchange)
    }

    /// The shard queues, in order.
    pub fn shard_queues(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.shards).map(|shard| format!("{}.shard.{shard}", self.exchange))
    }

    /// The consistent-hash exchange in front of the replay streams. It is one of its own: bound to the shards' exchange, a stream would take a share of the
    /// routing keys away from the queues instead of receiving a copy.
    #[must_use]
    pub fn replay_exchange(&self) -> String {
        format!("{}.replay", self.exchange)
    }

    /// The replay streams, in order.
    pub fn replay_streams(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.shards).map(|shard| format!("{}.replay.{shard}", self.exchange))
    }
}
