//! What the batcher knows of itself: metrics, `/status`, and whether it is live and ready.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use clickhouse::error::Error;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets, exponential_buckets_range};
use prometheus_client::registry::{Registry, Unit};
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::status::{BatcherStatus, WorkerStatus};
use tapekeeper_contract::tables::Table;
use tapekeeper_market::Timestamp;
use tapekeeper_runtime::health::{Heartbeat, Probe};

/// A session's loop goes round every second, connecting within a quarter of a minute.
const WEDGED: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTable {
    table: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct For {
    reason: &'static str,
}

/// Shared by everything in the process.
pub struct State {
    sink: String,
    /// Beats with each turn of the session's loop.
    pub heart: Heartbeat,
    rows: Family<OfTable, Counter>,
    inserts: Counter,
    insert_retries: Counter,
    insert_seconds: Histogram,
    insert_rows: Histogram,
    visible_seconds: Histogram,
    duplicates_skipped: Counter,
    envelopes_rejected: Family<For, Counter>,
    sessions: Counter,
    held: Gauge,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    queues: Vec<String>,
    broker: Option<String>,
    database: BTreeMap<&'static str, String>,
    last_insert: Option<SystemTime>,
}

impl State {
    /// The state of a process that has done nothing yet, with its metrics in `registry`.
    #[must_use]
    pub fn new(sink: &ObjectName, registry: &mut Registry) -> Self {
        let state = Self {
            sink: sink.to_string(),
            heart: Heartbeat::new(),
            rows: Family::default(),
            inserts: Counter::default(),
            insert_retries: Counter::default(),
            insert_seconds: Histogram::new(exponential_buckets(0.002, 2.0, 14)),
            insert_rows: Histogram::new(exponential_buckets(1.0, 4.0, 10)),
            visible_seconds: Histogram::new(exponential_buckets_range(0.000_1, 10.0, 41)),
            duplicates_skipped: Counter::default(),
            envelopes_rejected: Family::default(),
            sessions: Counter::default(),
            held: Gauge::default(),
            now: Mutex::new(Now { broker: Some("not connected to the broker yet".to_owned()), ..Now::default() }),
        };
        state.register(registry.sub_registry_with_prefix("batcher"));
        state
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("rows", "Rows inserted", self.rows.clone());
        registry.register("inserts", "Inserts that succeeded", self.inserts.clone());
        registry.register("insert_retries", "Tries of an insert or a look-up that failed and were made again", self.insert_retries.clone());
        registry.register("insert_seconds", "How long a successful insert took", self.insert_seconds.clone());
        registry.register("insert_rows", "Rows in a successful insert", self.insert_rows.clone());
        let visible = "From the socket read to the acknowledged insert, of each envelope and table";
        registry.register_with_unit("visible", visible, Unit::Seconds, self.visible_seconds.clone());
        registry.register("duplicates_skipped", "Envelopes delivered again whose rows were in the table", self.duplicates_skipped.clone());
        registry.register("envelopes_rejected", "Envelopes that went to the dead letters", self.envelopes_rejected.clone());
        registry.register("sessions", "Sessions with the broker that began", self.sessions.clone());
        registry.register("envelopes_held", "Envelopes delivered and not acknowledged yet", self.held.clone());
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session consumes `queues`.
    pub fn consuming(&self, queues: &[String]) {
        self.sessions.inc();
        let mut now = self.now();
        now.queues = queues.to_vec();
        now.broker = None;
    }

    /// A session ended, and why.
    pub fn session_ended(&self, why: String) {
        self.held.set(0);
        let mut now = self.now();
        now.queues.clear();
        now.broker = Some(why);
        // What the session could not insert comes back; whether the database is still down shows then.
        now.database.clear();
    }

    /// The process drained.
    pub fn stopped(&self) {
        self.session_ended("stopped".to_owned());
    }

    /// So many envelopes were delivered, or acknowledged when negative.
    pub fn held(&self, more: i64) {
        self.held.inc_by(more);
    }

    /// An insert succeeded.
    pub fn inserted(&self, table: Table, rows: u64, took: Duration) {
        self.rows.get_or_create(&OfTable { table: table.name() }).inc_by(rows);
        self.inserts.inc();
        self.insert_seconds.observe(took.as_secs_f64());
        self.insert_rows.observe(rows as f64);
        let mut now = self.now();
        now.last_insert = Some(SystemTime::now());
        now.database.remove(table.name());
    }

    /// At `now` the rows of envelopes are in that were read from a socket at the times `received`.
    pub fn visible(&self, received: impl Iterator<Item = Timestamp>, now: Timestamp) {
        for received in received {
            self.visible_seconds.observe(now.micros_since(received).max(0) as f64 / 1e6);
        }
    }

    /// An insert failed and is tried again.
    pub fn insert_failed(&self, table: Table, error: &Error) {
        self.insert_retries.inc();
        self.now().database.insert(table.name(), format!("inserts into {} fail: {}", table.name(), brief(error)));
    }

    /// A look-up failed and is tried again.
    pub fn lookup_failed(&self, error: &Error) {
        self.insert_retries.inc();
        self.now().database.insert(LOOKUP, format!("look-ups fail: {}", brief(error)));
    }

    /// A look-up succeeded.
    pub fn looked_up(&self) {
        self.now().database.remove(LOOKUP);
    }

    /// So many envelopes came again and were not inserted again.
    pub fn skipped(&self, envelopes: u64) {
        self.duplicates_skipped.inc_by(envelopes);
    }

    /// An envelope went to the dead letters.
    pub fn rejected(&self, reason: &'static str) {
        self.envelopes_rejected.get_or_create(&For { reason }).inc();
    }

    /// The body of `/status`.
    #[must_use]
    pub fn snapshot(&self) -> BatcherStatus {
        let rows =
            Table::ALL.iter().map(|table| table.name()).map(|table| (table.to_owned(), self.rows.get_or_create(&OfTable { table }).get())).collect();
        let now = self.now();
        BatcherStatus {
            sink: self.sink.clone(),
            queues: now.queues.clone(),
            rows,
            inserts: self.inserts.get(),
            insert_retries: self.insert_retries.get(),
            duplicates_skipped: self.duplicates_skipped.get(),
            envelopes_rejected: REASONS.iter().map(|reason| self.envelopes_rejected.get_or_create(&For { reason }).get()).sum(),
            last_insert: now.last_insert.map(|time| Timestamp::from(time).to_string()),
            problem: now.problem(),
        }
    }
}

const LOOKUP: &str = "lookup";

/// Why an envelope goes to the dead letters.
pub const REASONS: &[&str] =
    &["NotAnEnvelope", "EnvelopeIdInvalid", "EnvelopeBodyInvalid", "EnvelopeCountInvalid", "NumberTooLarge", "RefusedByDatabase"];

impl Now {
    fn problem(&self) -> Option<String> {
        self.broker.clone().or_else(|| self.database.values().next().cloned())
    }
}

impl Probe for State {
    fn live(&self) -> Result<(), String> {
        self.heart.check("the session's loop", WEDGED)
    }

    fn ready(&self) -> Result<(), String> {
        self.now().problem().map_or(Ok(()), Err)
    }

    fn status(&self) -> serde_json::Value {
        serde_json::to_value(WorkerStatus::Batcher(self.snapshot())).unwrap_or_default()
    }
}

/// The first line of an error, which for ClickHouse may be pages, with its causes where the network is at fault.
#[must_use]
pub fn brief(error: &Error) -> String {
    let mut text: String = error.to_string().lines().next().unwrap_or_default().chars().take(300).collect();
    if let Error::Network(source) = error {
        let mut cause = source.source();
        while let Some(deeper) = cause {
            text = format!("{text}: {deeper}");
            cause = deeper.source();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new(&ObjectName { namespace: "market-data".to_owned(), name: "tape".to_owned() }, &mut Registry::default())
    }

    #[test]
    fn a_batcher_is_ready_while_it_consumes_and_its_inserts_succeed() {
        let state = state();
        assert_eq!(state.ready(), Err("not connected to the broker yet".to_owned()));
        state.consuming(&["q.0".to_owned()]);
        assert_eq!(state.ready(), Ok(()));
        state.insert_failed(Table::Ticks, &Error::TimedOut);
        assert_eq!(state.ready(), Err("inserts into ticks fail: timeout expired".to_owned()));
        state.inserted(Table::Quotes, 5, Duration::from_millis(7));
        assert!(state.ready().is_err(), "another table's success says nothing of this one");
        state.inserted(Table::Ticks, 3, Duration::from_millis(7));
        assert_eq!(state.ready(), Ok(()));
        assert_eq!(state.live(), Ok(()));
    }

    #[test]
    fn the_status_counts_what_happened() {
        let state = state();
        state.consuming(&["q.0".to_owned()]);
        state.inserted(Table::Ticks, 3, Duration::from_millis(7));
        state.skipped(2);
        state.rejected("NumberTooLarge");
        let status = BatcherStatus { last_insert: None, ..state.snapshot() };
        similar_asserts::assert_eq!(
            status,
            BatcherStatus {
                sink: "market-data/tape".to_owned(),
                queues: vec!["q.0".to_owned()],
                rows: BTreeMap::from([("feed_events".to_owned(), 0), ("quotes".to_owned(), 0), ("ticks".to_owned(), 3)]),
                inserts: 1,
                insert_retries: 0,
                duplicates_skipped: 2,
                envelopes_rejected: 1,
                last_insert: None,
                problem: None,
            }
        );
        assert_eq!(state.status()["role"], "batcher");
    }
}
