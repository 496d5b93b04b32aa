//! A tape: what a venue plays, apart from who listens.

pub mod batch;
pub mod driver;
pub mod random;
pub mod times;

use std::sync::Arc;

use batch::Batch;
use serde::Serialize;

/// Decimal places of the integers in which the tape holds prices and quantities.
pub const SCALE_DIGITS: usize = 8;

/// What the frames of a stream tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Single trades, each with an id.
    Trade,
    /// Best bid and ask.
    Quote,
    /// Anything else, played but not counted by id.
    Other,
}

/// One stream of a tape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamInfo {
    /// The name that clients subscribe to.
    pub stream: String,
    /// The venue's symbol, as its frames give it.
    pub symbol: String,
    /// What its frames tell.
    pub kind: StreamKind,
}

/// One trade of the truth. Price and quantity are integers in units of 10⁻⁸.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trade {
    /// The venue's trade id.
    pub id: u64,
    /// Price in units of 10⁻⁸.
    pub price: u64,
    /// Quantity in units of 10⁻⁸.
    pub quantity: u64,
    /// Trade time, milliseconds since 1970.
    pub time: i64,
    /// Whether the buyer was the maker, so that the taker sold.
    pub buyer_is_maker: bool,
}

/// What one frame tells, for the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A trade.
    Trade(Trade),
    /// A quote, by its update id.
    Quote(u64),
    /// Anything else.
    Other,
}

/// The trades of one stream that a tape has played, detached from it: reading them holds no lock.
pub type TradeHistory = Box<dyn Iterator<Item = Trade> + Send>;

/// A source of frames in order. It has no clock and no socket: time is passed in.
pub trait Tape: Send {
    /// The streams that this tape has frames for. A frame names its stream by its place in this list.
    fn streams(&self) -> Arc<[StreamInfo]>;

    /// Lets the tape of one symbol (`Some`), or of all (`None`), begin.
    fn begin(&mut self, symbol: Option<&str>);

    /// Whether there is something that begun and has not ended.
    fn is_running(&self) -> bool;

    /// Whether everything has been played.
    fn is_finished(&self) -> bool;

    /// Which symbols have not begun yet, and when they may.
    fn waiting(&self) -> Waiting;

    /// Appends about `frames` frames to the batch (a few more where frames belong together), stamped with `now` in
    /// milliseconds since 1970. Appends fewer, or none, when the tape ends.
    fn play(&mut self, now: i64, frames: usize, batch: &mut Batch);

    /// The trades of a stream played so far, in order; `None` for a stream that isn't one of trades.
    fn history(&self, stream: &str) -> Option<TradeHistory>;
}

/// What a tape that has not begun waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: all has begun.
    Nothing,
    /// Each symbol begins with the first listener to any of its streams.
    EachSymbol(Vec<String>),
    /// All begin together when every symbol has a listener.
    AllSymbols(Vec<String>),
}
