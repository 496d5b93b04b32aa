//! A block is sent, with the same bytes and the same token, until the database has it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clickhouse::Client;
use clickhouse::error::Error;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::tables::Table;
use tapekeeper_market::EnvelopeId;
use tapekeeper_runtime::backoff::Backoff;

use crate::batch::{Block, Origin};
use crate::status::{State, brief};

/// How long one try may take on the server; a little more is waited for its answer.
pub const ATTEMPT: Duration = Duration::from_secs(30);
/// How long a piece of the body may wait for the socket.
const SEND: Duration = Duration::from_secs(10);
/// What is compressed and sent at once.
const PIECE: usize = 1 << 20;
/// The shortest and the longest wait between two tries.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Tries of a block that the database calls malformed, before it is cut in two to find the envelope.
const POISON_TRIES: u32 = 3;

/// What an error of the database means for the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may pass: the network, a server that starts, too many parts, no memory, a table that is not there yet. Tried for ever.
    Transient,
    /// The data itself is refused.
    Poison,
}

/// Codes of `DB::Exception` by which the server refuses the data itself. Source: ClickHouse's `ErrorCodes.cpp`.
const POISON_CODES: &[(u32, &str)] = &[
    (6, "CANNOT_PARSE_TEXT"),
    (27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
    (32, "ATTEMPT_TO_READ_AFTER_EOF"),
    (33, "CANNOT_READ_ALL_DATA"),
    (53, "TYPE_MISMATCH"),
    (69, "ARGUMENT_OUT_OF_BOUND"),
    (117, "INCORRECT_DATA"),
    (131, "TOO_LARGE_STRING_SIZE"),
    (349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN"),
    (407, "DECIMAL_OVERFLOW"),
    (469, "VIOLATED_CONSTRAINT"),
    (691, "UNKNOWN_ELEMENT_OF_ENUM"),
];

/// The class of `error`.
#[must_use]
pub fn class(error: &Error) -> Class {
    match code(error) {
        Some(code) if POISON_CODES.iter().any(|(poison, _)| *poison == code) => Class::Poison,
        _ => Class::Transient,
    }
}

/// The server's exception code in `error`, when the server answered with one: `Code: 241. DB::Exception: …`.
#[must_use]
pub fn code(error: &Error) -> Option<u32> {
    let Error::BadResponse(text) = error else { return None };
    let (_, rest) = text.split_once("Code: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// An envelope that the database refuses by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The envelope.
    pub id: EnvelopeId,
    /// What brought it.
    pub origin: Origin,
}

/// Inserts blocks for one session.
pub struct Inserter {
    client: Client,
    database: String,
    queries: QueryIds,
    state: Arc<State>,
}

/// The ids of this session's inserts, by which its successor sees in `system.processes` whether one of them still runs.
#[derive(Debug)]
pub struct QueryIds {
    sink: String,
    session: String,
    next: AtomicU64,
}

impl QueryIds {
    /// Ids of a new session of `sink`.
    #[must_use]
    pub fn new(sink: &ObjectName) -> Self {
        let sink = format!("tapekeeper-batcher/{sink}/");
        let session = format!("{sink}{:016x}/", RandomState::new().build_hasher().finish());
        Self { sink, session, next: AtomicU64::new(0) }
    }

    /// What the ids of every session of this sink begin with.
    #[must_use]
    pub fn of_sink(&self) -> &str {
        &self.sink
    }

    /// What the ids of this session begin with.
    #[must_use]
    pub fn of_session(&self) -> &str {
        &self.session
    }

    fn next(&self) -> String {
        format!("{}{}", self.session, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Inserter {
    /// An inserter into `database`.
    #[must_use]
    pub fn new(client: &Client, database: &str, sink: &ObjectName, state: Arc<State>) -> Self {
        Self { client: client.clone(), database: database.to_owned(), queries: QueryIds::new(sink), state }
    }

    /// The ids of this session's inserts.
    #[must_use]
    pub const fn queries(&self) -> &QueryIds {
        &self.queries
    }

    /// Inserts `block`, trying for ever; returns the envelopes whose data the database refuses, all others being in.
    pub async fn insert(&self, block: Block) -> Vec<Refused> {
        let mut refused = Vec::new();
        let mut blocks = vec![block];
        while let Some(block) = blocks.pop() {
            let Err(error) = self.until_in(&block).await else { continue };
            match block.halves() {
                Some((first, second)) => blocks.extend([second, first]),
                None => refused.extend(block.entries.into_iter().map(|entry| {
                    tracing::error!(envelope = %entry.id, table = block.table.name(), error = brief(&error), "the database refuses this envelope: it goes to the dead letters");
                    Refused { id: entry.id, origin: entry.origin }
                })),
            }
        }
        refused
    }

    /// Tries until the block is in, or until the data itself was refused so many times.
    async fn until_in(&self, block: &Block) -> Result<(), Error> {
        let token = block.token();
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut poisoned = 0;
        loop {
            let started = Instant::now();
            match self.attempt(block, &token).await {
                Ok(()) => {
                    self.state.inserted(block.table, block.rows(), started.elapsed());
                    self.state.visible(block.entries.iter().map(|entry| entry.received), SystemTime::now().into());
                    return Ok(());
                }
                Err(error) => {
                    self.state.insert_failed(block.table, &error);
                    tracing::warn!(table = block.table.name(), rows = block.rows(), %token, error = brief(&error), "an insert failed: it is tried again with the same token");
                    poisoned += u32::from(class(&error) == Class::Poison);
                    if poisoned >= POISON_TRIES {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn attempt(&self, block: &Block, token: &str) -> Result<(), Error> {
        let rows = block.rows();
        let mut insert = self
            .client
            .insert_formatted_with(statement(&self.database, block.table))
            .with_timeouts(Some(SEND), Some(ATTEMPT + SEND))
            .with_setting("query_id", self.queries.next());
        for (name, value) in settings(rows, token) {
            insert = insert.with_setting(name, value);
        }
        let mut rest = block.bytes.clone();
        while !rest.is_empty() {
            let piece = rest.split_to(PIECE.min(rest.len()));
            insert.send(piece).await?;
        }
        insert.end().await
    }
}

/// The settings of an insert, each said although some are defaults: defaults moved between releases.
fn settings(rows: u64, token: &str) -> [(&'static str, String); 13] {
    let on = || "1".to_owned();
    let off = || "0".to_owned();
    [
        ("insert_deduplicate", on()),
        ("insert_deduplication_token", token.to_owned()),
        ("deduplicate_blocks_in_dependent_materialized_views", on()),
        ("async_insert", off()),
        // One INSERT is one block is one part: all of it is in, or none.
        ("max_insert_block_size", (rows + 1).to_string()),
        ("min_insert_block_size_rows", off()),
        ("min_insert_block_size_bytes", off()),
        ("input_format_parallel_parsing", off()),
        ("max_partitions_per_insert_block", on()),
        ("throw_on_max_partitions_per_insert_block", on()),
        // The answer is held back until the insert is done, so that a failure is never behind a 200.
        ("wait_end_of_query", on()),
        ("send_progress_in_http_headers", off()),
        ("max_execution_time", ATTEMPT.as_secs().to_string()),
    ]
}

/// ``INSERT INTO `database`.`table` (columns) FORMAT RowBinary``.
#[must_use]
pub fn statement(database: &str, table: Table) -> String {
    let columns: Vec<_> = table.columns().iter().map(|column| column.name).collect();
    format!("INSERT INTO {} ({}) FORMAT RowBinary", qualified(database, table), columns.join(", "))
}

/// The quoted name of `table` in `database`, safe for any name of a database.
#[must_use]
pub fn qualified(database: &str, table: Table) -> String {
    format!("`{}`.`{}`", database.replace('\\', "\\\\").replace('`', "\\`"), table.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_data_itself_is_poison() {
        let answer = |text: &str| Error::BadResponse(text.to_owned());
        assert_eq!(class(&answer("Code: 33. DB::Exception: Cannot read all data. (CANNOT_READ_ALL_DATA)")), Class::Poison);
        assert_eq!(class(&answer("Code: 691")), Class::Poison);
        for error in [
            answer("Code: 60. DB::Exception: Table tape.ticks does not exist. (UNKNOWN_TABLE)"),
            answer("Code: 252. DB::Exception: Too many parts (3000). (TOO_MANY_PARTS)"),
            answer("Code: 241. DB::Exception: Memory limit exceeded (MEMORY_LIMIT_EXCEEDED)"),
            answer("503 Service Unavailable"),
            Error::TimedOut,
            Error::Network("connection reset".into()),
        ] {
            assert_eq!(class(&error), Class::Transient, "{error}");
        }
    }

    #[test]
    fn a_statement_names_every_column_in_the_order_of_encoding() {
        assert_eq!(
            statement("tape", Table::FeedEvents),
            "INSERT INTO `tape`.`feed_events` (exchange, symbol, timestamp, event, detail, received, published, feed, epoch, sequence, position) FORMAT RowBinary"
        );
        assert_eq!(qualified("o`dd", Table::Ticks), "`o\\`dd`.`ticks`");
    }

    #[test]
    fn each_session_names_its_inserts_within_those_of_its_sink() {
        let sink = ObjectName { namespace: "market-data".to_owned(), name: "tape".to_owned() };
        let (one, other) = (QueryIds::new(&sink), QueryIds::new(&sink));
        assert_eq!(one.of_sink(), "tapekeeper-batcher/market-data/tape/");
        assert!(one.next().starts_with(one.of_session()) && one.of_session().starts_with(one.of_sink()));
        assert_ne!(one.of_session(), other.of_session());
        assert_ne!(one.next(), one.next());
    }
}
