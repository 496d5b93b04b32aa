//! Whether an envelope that may have been inserted before was.
//!
//! Rows of one envelope, table and day go in by one INSERT, so one of them stands for all. Before anything is looked up, inserts of an earlier session that
//! the server still works on must have ended: a connection that broke takes no insert back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clickhouse::Client;
use clickhouse::error::Error;
use tapekeeper_contract::tables::Table;
use tapekeeper_market::{EnvelopeId, Timestamp};

use crate::encode::{EncodedEnvelope, EncodedPart};
use crate::insert::{QueryIds, code, qualified};

/// How long a request that a dead predecessor sent may lie in sockets before the server works on it.
const ON_THE_WIRE: Duration = Duration::from_millis(250);
/// How often the server's running inserts are looked at.
const POLL: Duration = Duration::from_millis(100);
/// What is waited instead where the user may not see its own queries.
const BLIND: Duration = Duration::from_secs(5);
/// How long a look-up may take.
const ANSWER: Duration = Duration::from_secs(20);
/// Envelopes in one query.
const AT_ONCE: usize = 256;
/// The server's code for a missing grant.
const ACCESS_DENIED: u32 = 497;

/// An envelope to look up, with what lies beside it in the sorting key.
#[derive(Debug, Clone, Copy)]
pub struct Suspect<'a> {
    /// The venue's tape name.
    pub exchange: &'a str,
    /// The instrument.
    pub symbol: &'a str,
    /// Its rows.
    pub envelope: &'a EncodedEnvelope,
}

/// A part that is in its table.
pub type Found = (Table, i64, EnvelopeId);

/// Looks envelopes up.
pub struct Lookup {
    client: Client,
    database: String,
    blind: AtomicBool,
}

impl Lookup {
    /// Looks into `database`.
    #[must_use]
    pub fn new(client: &Client, database: &str) -> Self {
        Self { client: client.clone(), database: database.to_owned(), blind: AtomicBool::new(false) }
    }

    /// Waits until no insert of another session of this sink runs.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub async fn predecessors_ended(&self, queries: &QueryIds) -> Result<(), Error> {
        tokio::time::sleep(ON_THE_WIRE).await;
        while self.predecessors(queries).await? {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn predecessors(&self, queries: &QueryIds) -> Result<bool, Error> {
        if !self.blind.load(Ordering::Relaxed) {
            let running = self
                .client
                .query("SELECT count() FROM system.processes WHERE startsWith(query_id, ?) AND NOT startsWith(query_id, ?)")
                .bind(queries.of_sink())
                .bind(queries.of_session());
            match in_time(running.fetch_one::<u64>()).await {
                Ok(count) => return Ok(count > 0),
                Err(error) if code(&error) == Some(ACCESS_DENIED) => {
                    self.blind.store(true, Ordering::Relaxed);
                    tracing::warn!(
                        "system.processes can't be read: running inserts of a predecessor are waited for by time. \
                         GRANT SELECT ON system.processes makes that exact"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        tokio::time::sleep(BLIND).await;
        Ok(false)
    }

    /// The parts of `suspects` that are in their tables.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub async fn find(&self, suspects: &[Suspect<'_>]) -> Result<HashSet<Found>, Error> {
        let mut found = HashSet::new();
        for suspects in suspects.chunks(AT_ONCE) {
            for table in Table::ALL {
                if let Some(asked) = Asked::of(*table, suspects) {
                    found.extend(self.ask(asked).await?);
                }
            }
        }
        Ok(found)
    }

    async fn ask(&self, asked: Asked<'_>) -> Result<Vec<Found>, Error> {
        let sql = format!(
            "SELECT DISTINCT toInt32(toDate32(timestamp)) AS day, toString(feed) AS feed_name, epoch, sequence FROM {} \
             WHERE exchange IN ? AND symbol IN ? AND timestamp BETWEEN fromUnixTimestamp64Micro(?, 'UTC') AND fromUnixTimestamp64Micro(?, 'UTC') \
             AND (feed, epoch, sequence) IN ?",
            qualified(&self.database, asked.table)
        );
        let query = self
            .client
            .query(&sql)
            .bind(asked.exchanges)
            .bind(asked.symbols)
            .bind(asked.first.as_micros())
            .bind(asked.last.as_micros())
            .bind(asked.ids);
        let rows = in_time(query.fetch_all::<(i32, String, u64, u64)>()).await?;
        Ok(rows
            .into_iter()
            .map(|(day, feed, epoch, sequence)| (asked.table, i64::from(day), EnvelopeId { feed: feed.into(), epoch, sequence }))
            .collect())
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(ANSWER, answer).await.unwrap_or(Err(Error::TimedOut))
}

/// One query's bounds.
struct Asked<'a> {
    table: Table,
    exchanges: Vec<&'a str>,
    symbols: Vec<&'a str>,
    first: Timestamp,
    last: Timestamp,
    ids: Vec<(&'a str, u64, u64)>,
}

impl<'a> Asked<'a> {
    fn of(table: Table, suspects: &[Suspect<'a>]) -> Option<Self> {
        let mut asked: Option<Self> = None;
        for suspect in suspects {
            for part in suspect.envelope.parts.iter().filter(|part| part.table == table) {
                asked.get_or_insert_with(|| Self::empty(table, part)).add(suspect, part);
            }
        }
        asked
    }

    const fn empty(table: Table, part: &EncodedPart) -> Self {
        Self { table, exchanges: Vec::new(), symbols: Vec::new(), first: part.first, last: part.last, ids: Vec::new() }
    }

    fn add(&mut self, suspect: &Suspect<'a>, part: &EncodedPart) {
        once(&mut self.exchanges, suspect.exchange);
        once(&mut self.symbols, suspect.symbol);
        self.first = self.first.min(part.first);
        self.last = self.last.max(part.last);
        let id = &suspect.envelope.id;
        once(&mut self.ids, (&*id.feed, id.epoch, id.sequence));
    }
}

fn once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
