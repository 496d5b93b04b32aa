//! The tests' venue: a TLS WebSocket server that speaks a venue's market-data protocol under the venue's host names,
//! plays recorded frames or a tape drawn from a seed, and knows every trade it sent.
//!
//! It is the oracle of the tests, so it shares no code with the product.
//!
//! - [`venues`]: what is particular to a venue, a folder each;
//! - [`tape`]: what is played, and its pace;
//! - [`floor`]: who listens, what was played and what was heard, under one lock;
//! - [`server`]: TLS, HTTP, WebSocket;
//! - [`script`]: what a test can make the venue do, and where misbehaviour comes in;
//! - [`truth`]: what is compared with a table;
//! - [`control`]: the same over plain HTTP.

mod clock;
pub mod control;
pub mod floor;
pub mod options;
pub mod script;
pub mod server;
pub mod tape;
pub mod truth;
mod venue;
pub mod venues;

pub use floor::ConnectionView;
pub use options::{Limits, Rate, Seeded, Source, StartMode, VenueOptions};
pub use script::Command;
pub use server::tls::TestCertificate;
pub use tape::Trade;
pub use truth::{StreamTruth, Tally, TapeState, Truth};
pub use venue::Venue;
