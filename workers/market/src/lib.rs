//! The domain: what a venue says, in exact numbers, and the envelope in which it travels. Pure: no clock, no socket, no client.

pub mod envelope;
pub mod event;
pub mod instrument;
pub mod json;
pub mod number;
pub mod time;

pub use envelope::{Envelope, EnvelopeError, EnvelopeId};
pub use event::{Event, FeedEvent, FeedEventKind, Quote, Side, TopOfBook, Trade};
pub use instrument::{Instrument, InvalidInstrument, RoutingKey};
pub use number::{InvalidNumber, exact};
pub use rust_decimal::Decimal;
pub use time::{InvalidTime, Timestamp};
