//! An envelope as rows of ClickHouse's RowBinary, in the column order of [`tapekeeper_contract::tables`]. Pure.
//!
//! RowBinary is the values of a row one after the other without names or lengths: integers little-endian, `Decimal(38, 18)` as an `i128` of units of 10⁻¹⁸,
//! `DateTime64(6)` as an `i64` of microseconds, a string as its length in LEB128 and its bytes (also when it is `LowCardinality`), `Enum8` as an `i8`, a nullable
//! value behind a byte that is 1 for null. Source: ClickHouse's documentation of the format.

use tapekeeper_contract::tables::Table;
use tapekeeper_market::number::to_units_of_1e18;
use tapekeeper_market::{Decimal, Envelope, EnvelopeId, Event, FeedEvent, FeedEventKind, Quote, Side, Timestamp, TopOfBook, Trade};

/// Bit of `flags`: the venue gave no time, so `timestamp` is the receipt time.
pub const NO_VENUE_TIME: u32 = 1;
/// About the bytes of a row.
const ROW: usize = 192;

/// A value that its column can't hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {position}: {field} `{value}` does not fit Decimal(38, 18)")]
pub struct EncodeError {
    /// The event's place in its envelope.
    pub position: usize,
    /// The column.
    pub field: &'static str,
    /// The value.
    pub value: Decimal,
}

/// The rows of one envelope that belong to one table and one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPart {
    /// The table.
    pub table: Table,
    /// The day, in days since 1970: the table's partition.
    pub day: i64,
    /// Rows.
    pub rows: u32,
    /// The rows, encoded.
    pub bytes: Vec<u8>,
    /// The earliest `timestamp` among them.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
}

/// An envelope, ready to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEnvelope {
    /// Its identity.
    pub id: EnvelopeId,
    /// When the socket read returned that brought its first event.
    pub received: Timestamp,
    /// Its rows, by table and day, in the order in which each first occurred.
    pub parts: Vec<EncodedPart>,
}

impl EncodedEnvelope {
    /// Rows in all parts.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.rows)).sum()
    }

    /// Bytes in all parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }
}

/// Encodes every event of `envelope`. The same envelope always gives the same bytes.
///
/// # Errors
/// [`EncodeError`] when a number does not fit its column; the envelope is encoded whole or not at all.
pub fn envelope(envelope: &Envelope) -> Result<EncodedEnvelope, EncodeError> {
    let shared = Shared::new(envelope);
    let mut parts: Vec<EncodedPart> = Vec::with_capacity(2);
    for (position, event) in envelope.events.iter().enumerate() {
        let table = table(event);
        let timestamp = event.timestamp().unwrap_or(envelope.received);
        let day = timestamp.day();
        let found = parts.iter().position(|part| part.table == table && part.day == day);
        let index = found.unwrap_or_else(|| {
            parts.push(EncodedPart {
                table,
                day,
                rows: 0,
                bytes: Vec::with_capacity(ROW * (envelope.events.len() - position)),
                first: timestamp,
                last: timestamp,
            });
            parts.len() - 1
        });
        let part = &mut parts[index];
        part.first = part.first.min(timestamp);
        part.last = part.last.max(timestamp);
        part.rows += 1;
        let row = Row { out: &mut part.bytes, shared: &shared, position };
        match event {
            Event::Trade(trade) => row.trade(trade)?,
            Event::Quote(quote) => row.quote(quote, timestamp)?,
            Event::Connected(event) => row.feed_event(FeedEventKind::Connected, event),
            Event::Disconnected(event) => row.feed_event(FeedEventKind::Disconnected, event),
        }
    }
    Ok(EncodedEnvelope { id: envelope.id.clone(), received: envelope.received, parts })
}

/// The table that keeps `event`.
const fn table(event: &Event) -> Table {
    match event {
        Event::Trade(_) => Table::Ticks,
        Event::Quote(_) => Table::Quotes,
        Event::Connected(_) | Event::Disconnected(_) => Table::FeedEvents,
    }
}

/// What every row of an envelope has in common, encoded once.
struct Shared {
    /// `exchange, symbol`.
    head: Vec<u8>,
    /// `received, published`.
    times: [u8; 16],
    /// `feed, epoch, sequence`.
    origin: Vec<u8>,
}

impl Shared {
    fn new(envelope: &Envelope) -> Self {
        let mut head = Vec::with_capacity(32);
        string(&mut head, &envelope.exchange);
        string(&mut head, envelope.instrument.symbol());
        let mut times = [0; 16];
        times[..8].copy_from_slice(&envelope.received.as_micros().to_le_bytes());
        times[8..].copy_from_slice(&envelope.published.as_micros().to_le_bytes());
        let mut origin = Vec::with_capacity(64);
        string(&mut origin, &envelope.id.feed);
        origin.extend_from_slice(&envelope.id.epoch.to_le_bytes());
        origin.extend_from_slice(&envelope.id.sequence.to_le_bytes());
        Self { head, times, origin }
    }
}

struct Row<'a> {
    out: &'a mut Vec<u8>,
    shared: &'a Shared,
    position: usize,
}

impl Row<'_> {
    fn trade(mut self, trade: &Trade) -> Result<(), EncodeError> {
        self.begin(trade.timestamp);
        self.out.extend_from_slice(&trade.trade_id.to_le_bytes());
        self.decimal("price", trade.price)?;
        self.decimal("volume", trade.volume)?;
        self.out.push(match trade.side {
            Side::Buy => 1,
            Side::Sell => 2,
        });
        match &trade.prevailing {
            Some(top) => {
                for (field, value) in top_columns(top) {
                    self.out.push(0);
                    self.decimal(field, value)?;
                }
            }
            None => self.out.extend_from_slice(&[1; 4]),
        }
        self.end(Some(0));
        Ok(())
    }

    fn quote(mut self, quote: &Quote, timestamp: Timestamp) -> Result<(), EncodeError> {
        self.begin(timestamp);
        self.out.extend_from_slice(&quote.update_id.unwrap_or(0).to_le_bytes());
        for (field, value) in top_columns(&quote.top) {
            self.decimal(field, value)?;
        }
        self.end(Some(if quote.timestamp.is_none() { NO_VENUE_TIME } else { 0 }));
        Ok(())
    }

    fn feed_event(mut self, kind: FeedEventKind, event: &FeedEvent) {
        self.begin(event.timestamp);
        string(self.out, kind.as_str());
        string(self.out, &event.detail);
        self.end(None);
    }

    /// `exchange, symbol, timestamp`.
    fn begin(&mut self, timestamp: Timestamp) {
        self.out.extend_from_slice(&self.shared.head);
        self.out.extend_from_slice(&timestamp.as_micros().to_le_bytes());
    }

    /// `received, published`, the flags where the table has them, `feed, epoch, sequence, position`.
    fn end(&mut self, flags: Option<u32>) {
        self.out.extend_from_slice(&self.shared.times);
        if let Some(flags) = flags {
            self.out.extend_from_slice(&flags.to_le_bytes());
        }
        self.out.extend_from_slice(&self.shared.origin);
        // An envelope holds at most 256 events.
        let position = u16::try_from(self.position).unwrap_or(u16::MAX);
        self.out.extend_from_slice(&position.to_le_bytes());
    }

    fn decimal(&mut self, field: &'static str, value: Decimal) -> Result<(), EncodeError> {
        let units = to_units_of_1e18(value).ok_or(EncodeError { position: self.position, field, value })?;
        self.out.extend_from_slice(&units.to_le_bytes());
        Ok(())
    }
}

const fn top_columns(top: &TopOfBook) -> [(&'static str, Decimal); 4] {
    [("bid_price", top.bid_price), ("bid_volume", top.bid_volume), ("ask_price", top.ask_price), ("ask_volume", top.ask_volume)]
}

fn string(out: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    while length >= 0x80 {
        // The low seven bits; the high one says that more follow.
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
