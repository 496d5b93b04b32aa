//! The tables of the tape: their columns, in the order in which the batcher encodes a row, and how they lie on disk.
//!
//! Prices and volumes are `Decimal(38, 18)`: exact for every number of at most 20 digits before the point and 18 behind it.
//! `feed`, `epoch`, `sequence` name the envelope that brought a row and `position` its place in it, so that a row can be traced to the socket read it came from
//! and an envelope that the broker delivers again can be looked up.

/// The version of this schema. Changes are additive and raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// How many inserts ClickHouse remembers for deduplication, per table. On a plain MergeTree the token of an insert does nothing without it.
pub const DEDUPLICATION_WINDOW: u32 = 10_000;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its ClickHouse type, written as `system.columns` shows it.
    pub kind: &'static str,
    /// Its codecs, written as `system.columns` shows them, without the word `CODEC`.
    pub codec: &'static str,
    /// What it holds, for people who read the table.
    pub comment: &'static str,
}

/// A table of the tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// A row per trade.
    Ticks,
    /// A row per change of the best bid or ask.
    Quotes,
    /// A row per feed event: connected, disconnected. It tells when silence means absence.
    FeedEvents,
}

impl Table {
    /// Every table.
    pub const ALL: &'static [Self] = &[Self::Ticks, Self::Quotes, Self::FeedEvents];

    /// Its name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ticks => "ticks",
            Self::Quotes => "quotes",
            Self::FeedEvents => "feed_events",
        }
    }

    /// Its columns, in the order of encoding.
    #[must_use]
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::Ticks => TICKS,
            Self::Quotes => QUOTES,
            Self::FeedEvents => FEED_EVENTS,
        }
    }

    /// The sorting key. A sequence breaks ties of time: open and close of a bar are decided by (timestamp, trade id), never by timestamp alone.
    #[must_use]
    pub const fn order_by(self) -> &'static str {
        match self {
            Self::Ticks => "exchange, symbol, timestamp, trade_id",
            Self::Quotes => "exchange, symbol, timestamp, update_id",
            Self::FeedEvents => "exchange, symbol, timestamp",
        }
    }

    /// The partition, which is also the unit in which retention drops: a UTC day of `timestamp`. An insert never crosses its edge.
    #[must_use]
    pub const fn partition_by(self) -> &'static str {
        "toYYYYMMDD(timestamp)"
    }
}

const fn column(name: &'static str, kind: &'static str, codec: &'static str, comment: &'static str) -> Column {
    Column { name, kind, codec, comment }
}

const EXCHANGE: Column = column("exchange", "LowCardinality(String)", "ZSTD(1)", "The venue, for example binance");
const SYMBOL: Column = column("symbol", "LowCardinality(String)", "ZSTD(1)", "BASE/QUOTE");
const RECEIVED: Column = column("received", "DateTime64(6, 'UTC')", "Delta(8), ZSTD(1)", "When the socket read returned");
const PUBLISHED: Column = column("published", "DateTime64(6, 'UTC')", "Delta(8), ZSTD(1)", "When the envelope was handed to the broker");
const FLAGS: Column = column("flags", "UInt32", "ZSTD(1)", "Bits: 1 the venue gave no time, so timestamp is the receipt time");
const FEED: Column = column("feed", "LowCardinality(String)", "ZSTD(1)", "namespace/name of the ExchangeFeed");
const EPOCH: Column = column("epoch", "UInt64", "Delta(8), ZSTD(1)", "The connection of the feed that brought it");
const SEQUENCE: Column = column("sequence", "UInt64", "Delta(8), ZSTD(1)", "The envelope's number within its epoch");
const POSITION: Column = column("position", "UInt16", "Delta(2), ZSTD(1)", "The row's place in its envelope");

const PRICE: &str = "Decimal(38, 18)";
const OPTIONAL_PRICE: &str = "Nullable(Decimal(38, 18))";

const TICKS: &[Column] = &[
    EXCHANGE,
    SYMBOL,
    column("timestamp", "DateTime64(6, 'UTC')", "Delta(8), ZSTD(1)", "When the venue matched the trade"),
    column("trade_id", "UInt64", "Delta(8), ZSTD(1)", "The venue's own id"),
    column("price", PRICE, "ZSTD(1)", "Price in the quote currency"),
    column("volume", PRICE, "ZSTD(1)", "Size in the base currency"),
    column("side", "Enum8('buy' = 1, 'sell' = 2)", "ZSTD(1)", "The taker side"),
    column("bid_price", OPTIONAL_PRICE, "ZSTD(1)", "The prevailing best bid, when quotes are taken too"),
    column("bid_volume", OPTIONAL_PRICE, "ZSTD(1)", "Its size"),
    column("ask_price", OPTIONAL_PRICE, "ZSTD(1)", "The prevailing best ask"),
    column("ask_volume", OPTIONAL_PRICE, "ZSTD(1)", "Its size"),
    RECEIVED,
    PUBLISHED,
    FLAGS,
    FEED,
    EPOCH,
    SEQUENCE,
    POSITION,
];

const QUOTES: &[Column] = &[
    EXCHANGE,
    SYMBOL,
    column(
        "timestamp",
        "DateTime64(6, 'UTC')",
        "Delta(8), ZSTD(1)",
        "When the venue changed its book, or the receipt time where it does not say (see flags)",
    ),
    column("update_id", "UInt64", "Delta(8), ZSTD(1)", "The venue's own id of the change, 0 where it has none"),
    column("bid_price", PRICE, "ZSTD(1)", "Best bid"),
    column("bid_volume", PRICE, "ZSTD(1)", "Its size"),
    column("ask_price", PRICE, "ZSTD(1)", "Best ask"),
    column("ask_volume", PRICE, "ZSTD(1)", "Its size"),
    RECEIVED,
    PUBLISHED,
    FLAGS,
    FEED,
    EPOCH,
    SEQUENCE,
    POSITION,
];

const FEED_EVENTS: &[Column] = &[
    EXCHANGE,
    SYMBOL,
    column("timestamp", "DateTime64(6, 'UTC')", "Delta(8), ZSTD(1)", "When it happened"),
    column("event", "LowCardinality(String)", "ZSTD(1)", "connected or disconnected"),
    column("detail", "String", "ZSTD(1)", "Why"),
    RECEIVED,
    PUBLISHED,
    FEED,
    EPOCH,
    SEQUENCE,
    POSITION,
];
