//! Venues: how each is asked for streams, and what its frames mean. Pure: text in, values out.
//!
//! A venue is a folder that implements [`Protocol`], a variant of [`Venue`] and a line in [`protocol`].

pub mod binance;

use std::borrow::Cow;
use std::time::Duration;

use smallvec::SmallVec;
use tapekeeper_contract::Venue;
use tapekeeper_contract::settings::Channel;
use tapekeeper_market::{Event, Instrument};
use url::Url;

/// What a venue's public stream demands and says.
pub trait Protocol: Send + Sync {
    /// What the venue allows its clients.
    fn limits(&self) -> Limits;

    /// Where the socket is opened, below the endpoint's scheme, host and port.
    fn socket_url(&self, endpoint: &Url) -> Url;

    /// How the venue spells `instrument` in its frames.
    fn symbol(&self, instrument: &Instrument) -> String;

    /// The instrument of a symbol of which nothing else is known, as in a recording.
    ///
    /// # Errors
    /// [`UnknownSymbol`] when it can't be told where the base ends.
    fn instrument(&self, symbol: &str) -> Result<Instrument, UnknownSymbol>;

    /// The name of the stream that carries `channel` of `instrument`.
    fn stream(&self, instrument: &Instrument, channel: Channel) -> String;

    /// The message that asks for `streams`, which the venue answers under the number `request`.
    fn subscribe(&self, streams: &[&str], request: u64) -> String;

    /// What a text frame says.
    ///
    /// # Errors
    /// [`FrameError`] when it is not a frame of this venue, or a field of a frame that is taken is missing or wrong.
    fn parse<'f>(&self, frame: &'f str) -> Result<Frame<'f>, FrameError>;
}

/// The protocol of `venue`.
#[must_use]
pub fn protocol(venue: Venue) -> &'static dyn Protocol {
    match venue {
        Venue::Binance => &binance::Binance,
    }
}

/// What a venue allows its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams on one connection.
    pub streams_per_connection: u32,
    /// Streams named in one subscribe message.
    pub streams_per_message: usize,
    /// The least time between two messages to the venue on one connection. Even spacing, because a bucket of n per second lets 2n−1 through in one second.
    pub message_spacing: Duration,
    /// Connections made from one address …
    pub connections: u32,
    /// … within this time.
    pub connections_within: Duration,
    /// The venue cuts a connection after so long.
    pub connection_life: Duration,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame<'f> {
    /// Market events, in the order of the frame.
    Events(SmallVec<[VenueEvent<'f>; 1]>),
    /// The answer to a request.
    Answer {
        /// The request's number.
        request: u64,
        /// Why the venue refused it, if it did.
        refusal: Option<String>,
    },
    /// A frame of a channel that Tapekeeper does not take.
    Ignored {
        /// The venue's name of the channel, without parameters.
        channel: Cow<'f, str>,
    },
    /// The venue will close this connection soon.
    Closing,
    /// The venue complains, without saying about which request.
    Complaint(String),
}

/// An event and the symbol under which the venue sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct VenueEvent<'f> {
    /// The venue's spelling of the instrument.
    pub symbol: Cow<'f, str>,
    /// What happened.
    pub event: Event,
}

/// A frame that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not JSON, or a field is missing or of the wrong type.
    #[error("{0}")]
    Malformed(String),
    /// A field's value can't be.
    #[error("field `{field}`: {why}")]
    Field {
        /// The field as the venue calls it.
        field: &'static str,
        /// What is wrong with its value.
        why: String,
    },
    /// It is JSON, but nothing that this venue is known to send.
    #[error("nothing that this venue is known to send")]
    Unknown,
}

impl FrameError {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "FrameMalformed",
            Self::Field { .. } => "FrameFieldInvalid",
            Self::Unknown => "FrameUnknown",
        }
    }
}

/// The symbol can't be split into base and quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("symbol `{symbol}` ends with no known quote asset of {venue}, so its base can't be told")]
pub struct UnknownSymbol {
    /// The symbol.
    pub symbol: String,
    /// Whose it is.
    pub venue: Venue,
}
