//! A Pipeline's objects in RabbitMQ.
//!
//! - [`topology`]: what is desired, from a Pipeline's names and options;
//! - [`objects`]: the kinds, and how each is compared with what exists;
//! - [`admin`]: reading back and carrying out, over the management API;
//! - [`figures`]: depths and rates;
//! - [`removal`]: dropping what is ours without losing what was not stored yet.
//!
//! Requests go out with `reqwest` itself. The crate `rabbitmq_http_client` has neither a queue's message rates nor the cheap totals, and answers with backtraces where a
//! reason is wanted.

mod admin;
mod error;
mod figures;
mod management;
mod objects;
mod observed;
mod removal;
mod topology;

pub use admin::{BrokerAdmin, BrokerReport};
pub use error::BrokerError;
pub use figures::{BrokerFigures, QueueFigures};
pub use objects::{Arguments, Binding, BrokerObject, BrokerOperation, DestinationKind, Exchange, OWNER_ARGUMENT, Policy, Queue};
pub use observed::{ObservedBinding, ObservedBroker, difference, intruders, overruled};
pub use topology::{TopologyOptions, topology};
