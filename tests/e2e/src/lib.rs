//! What the end-to-end tests do as a user would: `kubectl`, `helm` and SQL against a running instance of the local cluster.
//!
//! The instance comes from `cargo local test`, which names its description file in `TAPEKEEPER_E2E`.

mod cluster;
mod database;
mod namespace;
mod venue;

pub use cluster::{Cluster, eventually};
pub use database::Database;
pub use namespace::{Namespace, NamespaceOptions};
pub use venue::{Tape, Trade, Venue};
