//! The body of a worker's `GET /status`: what it knows of itself, for the operator and for people. Times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a worker answers, by role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "camelCase")]
pub enum WorkerStatus {
    /// A connector.
    Connector(ConnectorStatus),
    /// A batcher.
    Batcher(BatcherStatus),
}

/// What a connector knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorStatus {
    /// `namespace/name` of the feed.
    pub feed: String,
    /// The venue's tape name.
    pub exchange: String,
    /// Its instruments with their subscriptions.
    pub instruments: Vec<InstrumentStatus>,
    /// Its sockets.
    pub connections: Vec<ConnectionStatus>,
    /// Trades and quotes read since the process started.
    pub ticks: u64,
    /// Trades and quotes per second over the last ten seconds.
    pub ticks_per_second: f64,
    /// Receipt time of the newest trade or quote.
    pub last_tick: Option<String>,
    /// Milliseconds from the venue's time to receipt of the newest tick that carries one.
    pub lag_ms: Option<i64>,
    /// Envelopes that the broker confirmed.
    pub envelopes_confirmed: u64,
    /// Envelopes published and not confirmed yet.
    pub envelopes_in_flight: u64,
    /// Frames that were not understood.
    pub frames_rejected: u64,
    /// Why the connector is not healthy, when it is not.
    pub problem: Option<String>,
}

/// One instrument's subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentStatus {
    /// `BTC/USDT`.
    pub symbol: String,
    /// Where its subscription stands.
    pub subscription: Subscription,
    /// Receipt time of its newest tick.
    pub last_tick: Option<String>,
}

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subscription {
    /// Asked for, not answered.
    Pending,
    /// The venue said yes.
    Confirmed,
    /// The venue said no.
    Refused,
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// Its number within the feed.
    pub id: u32,
    /// Whether it is up.
    pub connected: bool,
    /// Since when it is what it is.
    pub since: Option<String>,
    /// How often it was made anew.
    pub reconnects: u64,
    /// Streams on it.
    pub streams: u32,
    /// Why it went down last.
    pub last_error: Option<String>,
}

/// What a batcher knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatcherStatus {
    /// `namespace/name` of the sink.
    pub sink: String,
    /// Shard queues on which this process has a consumer.
    pub queues: Vec<String>,
    /// Rows inserted since start, by table.
    pub rows: BTreeMap<String, u64>,
    /// Inserts that succeeded.
    pub inserts: u64,
    /// Tries that failed and were made again.
    pub insert_retries: u64,
    /// Envelopes delivered again whose rows were found in the table.
    pub duplicates_skipped: u64,
    /// Envelopes that could not be decoded and went to the dead letters.
    pub envelopes_rejected: u64,
    /// Time of the newest insert.
    pub last_insert: Option<String>,
    /// Why the batcher is not healthy, when it is not.
    pub problem: Option<String>,
}
