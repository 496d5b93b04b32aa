//! What a venue says: trades, quotes, and what happened to the feed itself.

use rust_decimal::Decimal;

use crate::time::Timestamp;

/// Who took liquidity. Venues that report the maker's side are turned round when they are parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The taker bought.
    Buy,
    /// The taker sold.
    Sell,
}

impl Side {
    /// As the tape spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }
}

/// The best bid and ask with their sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopOfBook {
    /// Best bid.
    pub bid_price: Decimal,
    /// Its size.
    pub bid_volume: Decimal,
    /// Best ask.
    pub ask_price: Decimal,
    /// Its size.
    pub ask_volume: Decimal,
}

/// One match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// When the venue matched it.
    pub timestamp: Timestamp,
    /// The venue's own id, per instrument.
    pub trade_id: u64,
    /// In the quote currency.
    pub price: Decimal,
    /// In the base currency.
    pub volume: Decimal,
    /// The taker's side.
    pub side: Side,
    /// The book's top when the trade was read, where the feed takes quotes too and has seen one on this connection.
    pub prevailing: Option<TopOfBook>,
}

/// A change of the best bid or ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// When the venue changed its book; `None` where it does not say.
    pub timestamp: Option<Timestamp>,
    /// The venue's own id of the change; `None` where it has none.
    pub update_id: Option<u64>,
    /// The new top.
    pub top: TopOfBook,
}

/// What happened to the feed, told in the stream itself, so that a reader knows when silence means absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    /// When.
    pub timestamp: Timestamp,
    /// Why, in words.
    pub detail: String,
}

/// The kinds of [`FeedEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedEventKind {
    /// The instrument's subscription was confirmed on a new connection.
    Connected,
    /// The connection that carried it went down.
    Disconnected,
}

impl FeedEventKind {
    /// As the tape spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }
}

/// One event of one instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A match.
    Trade(Trade),
    /// A new top of the book.
    Quote(Quote),
    /// See [`FeedEventKind::Connected`].
    Connected(FeedEvent),
    /// See [`FeedEventKind::Disconnected`].
    Disconnected(FeedEvent),
}

impl Event {
    /// A feed event of that kind.
    #[must_use]
    pub const fn feed(kind: FeedEventKind, event: FeedEvent) -> Self {
        match kind {
            FeedEventKind::Connected => Self::Connected(event),
            FeedEventKind::Disconnected => Self::Disconnected(event),
        }
    }

    /// The feed event in it, if it is one.
    #[must_use]
    pub const fn as_feed(&self) -> Option<(FeedEventKind, &FeedEvent)> {
        match self {
            Self::Connected(event) => Some((FeedEventKind::Connected, event)),
            Self::Disconnected(event) => Some((FeedEventKind::Disconnected, event)),
            Self::Trade(_) | Self::Quote(_) => None,
        }
    }

    /// The venue's time of it, where there is one.
    #[must_use]
    pub const fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Trade(trade) => Some(trade.timestamp),
            Self::Quote(quote) => quote.timestamp,
            Self::Connected(event) | Self::Disconnected(event) => Some(event.timestamp),
        }
    }
}
