//! The connector: one process reads one feed's instruments from their venue and publishes what they say.
//!
//! ```text
//! venue ──▶ socket ──▶ venues::parse ──▶ assemble ──▶ channel ──▶ publish ──▶ broker
//!           └──── connection, one task per socket ────┘           └─ one task ─┘
//! ```
//!
//! - [`venues`] (pure): what each venue's frames mean, and how it is asked for them;
//! - [`plan`] (pure): which instruments share a socket;
//! - [`subscribe`] (pure): where each subscription stands;
//! - [`assemble`] (pure): events become envelopes;
//! - [`socket`]: TLS and WebSocket, with the time of each read;
//! - [`connection`]: one socket's life, again and again;
//! - [`publish`]: the broker confirms every envelope, or gets it again;
//! - [`status`]: what the connector knows of itself.
//!
//! The channel between the two kinds of task is bounded: when the broker stalls, the sockets are not read.

pub mod assemble;
pub mod connection;
pub mod plan;
pub mod publish;
pub mod run;
pub mod socket;
pub mod status;
pub mod subscribe;
pub mod venues;

pub use run::{ConnectorError, run, run_on};
