//! Objects outside of Kubernetes that the operator keeps as a manifest wants them: a Pipeline's exchanges, queues, bindings and policies in RabbitMQ, a TickSink's
//! database and tables in ClickHouse.
//!
//! Both follow one shape. What is desired is plain data, computed without I/O ([`broker::topology`], [`database::schema`]); what exists is read back; the pure
//! [`difference`] of the two is a list of operations; only those are carried out. So a second pass over something that is right writes nothing, and whatever
//! somebody changed behind the operator's back is seen at the next pass.
//!
//! An object belongs to its manifest by a marker in the object itself. Without the marker an object of the same name is a `NameConflict`: it is neither adopted nor
//! dropped.

pub mod broker;
pub mod database;
mod difference;
mod http;
mod removal;

pub use difference::{Difference, External, Intent, Planned};
pub use removal::{DropReport, Kept};
