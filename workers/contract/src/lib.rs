//! What the operator and the workers agree upon, as plain data.
//!
//! The operator renders settings, declares queues and creates tables; workers, in pods of their own, read the settings,
//! publish to the exchange and insert into the tables. Neither calls the other's code, so whatever both must know stands here once:
//!
//! - [`production`]: the rules of production only, each refusal beginning with `FORBIDDEN:`;
//! - [`venue`]: the venues and their own hosts;
//! - [`settings`]: the file that the operator renders and a worker reads at start;
//! - [`topology`]: the names of exchanges, queues and streams;
//! - [`tables`]: the tables' columns, in the order in which rows are encoded;
//! - [`status`]: the body of a worker's `/status`.
//!
//! Nothing here does I/O.

pub mod duration;
pub mod production;
pub mod settings;
pub mod status;
pub mod tables;
pub mod topology;
pub mod venue;

pub use duration::HumanDuration;
pub use production::Forbidden;
pub use venue::Venue;
