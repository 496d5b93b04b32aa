//! Whole envelopes, collected into one block per table and day. Pure: the time is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tapekeeper_contract::tables::Table;
use tapekeeper_market::{EnvelopeId, Timestamp};

use crate::encode::EncodedEnvelope;

/// When a batch is closed: at the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows. Exceeded only by a single envelope that is larger by itself.
    pub rows: u64,
    /// Bytes of encoded rows, likewise.
    pub bytes: u64,
    /// Time since its first envelope.
    pub delay: Duration,
    /// Envelopes of one queue, so that a batch never waits for rows that the queue's prefetch does not let through.
    pub envelopes_per_queue: usize,
}

/// The delivery that brought an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The queue's place in the settings.
    pub queue: usize,
    /// The delivery tag on the queue's channel; grows with each delivery.
    pub tag: u64,
}

/// An envelope's rows within a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The envelope.
    pub id: EnvelopeId,
    /// What brought it.
    pub origin: Origin,
    /// When the socket read returned that brought its first event.
    pub received: Timestamp,
    /// Its rows in the block.
    pub rows: u32,
    /// Their bytes.
    pub bytes: usize,
}

/// Rows of one table and one day, to be inserted by one INSERT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The table.
    pub table: Table,
    /// The day, in days since 1970.
    pub day: i64,
    /// The envelopes, in the order of their rows.
    pub entries: Vec<Entry>,
    /// The rows, encoded.
    pub bytes: Bytes,
}

impl Block {
    /// Rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.rows)).sum()
    }

    /// The `insert_deduplication_token`: SHA-256, in hexadecimal, over the table, the day and the ids of the envelopes in order. An id always names the same
    /// bytes, so the same token always means the same rows.
    #[must_use]
    pub fn token(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.table.name());
        hash.update(self.day.to_le_bytes());
        for Entry { id, .. } in &self.entries {
            hash.update((id.feed.len() as u64).to_le_bytes());
            hash.update(id.feed.as_bytes());
            hash.update(id.epoch.to_le_bytes());
            hash.update(id.sequence.to_le_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The block as two, each of whole envelopes; `None` when it holds only one.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        if self.entries.len() < 2 {
            return None;
        }
        let (first, second) = self.entries.split_at(self.entries.len() / 2);
        let edge: usize = first.iter().map(|entry| entry.bytes).sum();
        let half = |entries: &[Entry], bytes| Self { table: self.table, day: self.day, entries: entries.to_vec(), bytes };
        Some((half(first, self.bytes.slice(..edge)), half(second, self.bytes.slice(edge..))))
    }
}

/// A batch to insert, and the deliveries to acknowledge when all of it is in.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its blocks, a table and day each.
    pub blocks: Vec<Block>,
    /// For each queue, the tags of the deliveries in it, in order.
    pub tags: Vec<Vec<u64>>,
}

/// A batch under collection.
#[derive(Debug)]
pub struct Batch {
    limits: Limits,
    open: BTreeMap<(Table, i64), (Vec<Entry>, Vec<u8>)>,
    tags: Vec<Vec<u64>>,
    rows: u64,
    bytes: u64,
    since: Option<Instant>,
}

impl Batch {
    /// An empty batch of deliveries from so many queues.
    #[must_use]
    pub fn new(queues: usize, limits: Limits) -> Self {
        Self { limits, open: BTreeMap::new(), tags: vec![Vec::new(); queues], rows: 0, bytes: 0, since: None }
    }

    /// Whether the envelope still fits. An empty batch takes anything.
    #[must_use]
    pub fn takes(&self, envelope: &EncodedEnvelope) -> bool {
        self.since.is_none()
            || (!self.is_full() && self.rows + envelope.rows() <= self.limits.rows && self.bytes + envelope.bytes() <= self.limits.bytes)
    }

    /// Whether it has to be closed before it takes more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= self.limits.rows || self.bytes >= self.limits.bytes || self.tags.iter().any(|tags| tags.len() >= self.limits.envelopes_per_queue)
    }

    /// When it has to be closed at the latest; `None` while it is empty.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.limits.delay)
    }

    /// Rows collected.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds an envelope. One without parts is acknowledged with the rest.
    pub fn push(&mut self, origin: Origin, envelope: EncodedEnvelope, now: Instant) {
        self.since.get_or_insert(now);
        self.tags[origin.queue].push(origin.tag);
        self.rows += envelope.rows();
        self.bytes += envelope.bytes();
        for part in envelope.parts {
            let (entries, bytes) = self.open.entry((part.table, part.day)).or_default();
            entries.push(Entry { id: envelope.id.clone(), origin, received: envelope.received, rows: part.rows, bytes: part.bytes.len() });
            bytes.extend_from_slice(&part.bytes);
        }
    }

    /// Takes out what was collected, leaving the batch empty; `None` when it already is.
    pub fn close(&mut self) -> Option<Closed> {
        self.since.take()?;
        (self.rows, self.bytes) = (0, 0);
        let blocks = std::mem::take(&mut self.open)
            .into_iter()
            .map(|((table, day), (entries, bytes))| Block { table, day, entries, bytes: Bytes::from(bytes) })
            .collect();
        Some(Closed { blocks, tags: self.tags.iter_mut().map(std::mem::take).collect() })
    }
}

#[cfg(test)]
mod tests;
