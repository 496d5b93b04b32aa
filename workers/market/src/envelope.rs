//! The envelope: all events of one instrument that one socket read brought, the unit of publishing, of inserting and of exactly-once.
//!
//! Its identity and its body make one AMQP message: `message_id` is [`EnvelopeId`], `type` is [`MESSAGE_TYPE`], the body is JSON:
//!
//! ```json
//! {"exchange":"binance","symbol":"BTC/USDT","received":"2026-01-31T12:00:00.000123Z","published":"2026-01-31T12:00:00.000201Z","events":[
//!   {"type":"quote","timestamp":null,"update_id":7,"bid_price":"61837.63","bid_volume":"1.5","ask_price":"61837.64","ask_volume":"0.2"},
//!   {"type":"trade","timestamp":"2026-01-31T12:00:00.000000Z","trade_id":3735683259,"price":"61837.63000000","volume":"0.02000000","side":"sell",
//!    "bid_price":"61837.63","bid_volume":"1.5","ask_price":"61837.64","ask_volume":"0.2"}]}
//! ```
//!
//! Numbers are strings, so that no reader's floating point touches them. Fields may be added within `v1`; readers ignore what they don't know.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::event::Event;
use crate::instrument::Instrument;
use crate::json::{self, Body, FlatEvent};
use crate::time::Timestamp;

/// The AMQP `type` of an envelope.
pub const MESSAGE_TYPE: &str = "market.ticks.v1";
/// The AMQP `content_type` of an envelope.
pub const CONTENT_TYPE: &str = "application/json";
/// The AMQP header (a boolean) of an envelope that was handed to the broker before, in a session that ended without its confirm: the queue may hold it
/// already, so whoever must not take it twice looks it up.
pub const REPUBLISHED: &str = "republished";
/// Events in one envelope, at most.
pub const MAX_EVENTS: usize = 256;

/// Which envelope: `{feed}.{connection epoch}.{sequence}`.
///
/// The feed is `namespace/name`; the epoch is the microsecond at which its connection was made, and unique to it; the sequence counts from 0 within the epoch.
/// The same id always names the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvelopeId {
    /// `namespace/name` of the ExchangeFeed.
    pub feed: Arc<str>,
    /// The connection's epoch.
    pub epoch: u64,
    /// The number within the epoch.
    pub sequence: u64,
}

/// All events of one instrument that one socket read brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its identity.
    pub id: EnvelopeId,
    /// The venue's tape name.
    pub exchange: Arc<str>,
    /// The instrument.
    pub instrument: Instrument,
    /// When the socket read returned.
    pub received: Timestamp,
    /// When it was handed to the broker for the first time.
    pub published: Timestamp,
    /// In the order of the wire; at least one, at most [`MAX_EVENTS`].
    pub events: Vec<Event>,
}

/// A message is not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The message id is not one.
    #[error("message id `{0}` is not of the form namespace/name.epoch.sequence")]
    Id(String),
    /// The body is not one.
    #[error("envelope body: {0}")]
    Body(String),
    /// It holds no event, or too many.
    #[error("an envelope holds 1 to {MAX_EVENTS} events, this one {0}")]
    Count(usize),
}

impl EnvelopeError {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Id(_) => "EnvelopeIdInvalid",
            Self::Body(_) => "EnvelopeBodyInvalid",
            Self::Count(_) => "EnvelopeCountInvalid",
        }
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.feed, self.epoch, self.sequence)
    }
}

impl FromStr for EnvelopeId {
    type Err = EnvelopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A Kubernetes name may hold dots itself, so the numbers are taken from the end.
        let mut parts = text.rsplitn(3, '.');
        let parsed = match (parts.next(), parts.next(), parts.next()) {
            (Some(sequence), Some(epoch), Some(feed)) if !feed.is_empty() => {
                sequence.parse().ok().zip(epoch.parse().ok()).map(|numbers| (numbers, feed))
            }
            _ => None,
        };
        let ((sequence, epoch), feed) = parsed.ok_or_else(|| EnvelopeError::Id(text.chars().take(300).collect()))?;
        Ok(Self { feed: Arc::from(feed), epoch, sequence })
    }
}

impl Envelope {
    /// Appends the JSON body. Written by hand because it is on the way of every tick.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"exchange":""#);
        out.extend_from_slice(self.exchange.as_bytes());
        out.extend_from_slice(br#"","symbol":""#);
        out.extend_from_slice(self.instrument.symbol().as_bytes());
        out.extend_from_slice(br#"","received":""#);
        self.received.write_to(out);
        out.extend_from_slice(br#"","published":""#);
        self.published.write_to(out);
        out.extend_from_slice(br#"","events":["#);
        for (position, event) in self.events.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            json::write_event(event, None, out);
        }
        out.extend_from_slice(b"]}");
    }

    /// Reads an envelope back from its message id and body.
    ///
    /// # Errors
    /// [`EnvelopeError`] naming what is wrong.
    pub fn decode(message_id: &str, body: &[u8]) -> Result<Self, EnvelopeError> {
        let id = message_id.parse()?;
        let body: Body<'_> = serde_json::from_slice(body).map_err(|error| EnvelopeError::Body(error.to_string()))?;
        if body.events.is_empty() || body.events.len() > MAX_EVENTS {
            return Err(EnvelopeError::Count(body.events.len()));
        }
        let events = body.events.into_iter().map(FlatEvent::into_event).collect::<Result<_, _>>().map_err(EnvelopeError::Body)?;
        let instrument = body.symbol.parse().map_err(|error: crate::InvalidInstrument| EnvelopeError::Body(error.to_string()))?;
        Ok(Self { id, exchange: Arc::from(&*body.exchange), instrument, received: body.received, published: body.published, events })
    }
}

#[cfg(test)]
mod tests;
