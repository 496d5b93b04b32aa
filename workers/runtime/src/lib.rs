//! What every worker shares, and the operator where it talks to the same broker and database.
//!
//! - [`settings`]: the settings file and the extra certificate authorities that a worker reads at start;
//! - [`credentials`]: a mounted Secret, checked against production only;
//! - [`tls`]: one crypto provider, one set of trusted authorities;
//! - [`telemetry`], [`metrics`], [`health`]: logs, metrics and the HTTP endpoint that Kubernetes and the operator read;
//! - [`shutdown`], [`backoff`]: how a worker ends, and how it waits before it tries again;
//! - `broker` (feature `broker`) and `database` (feature `database`): connections, always over TLS.

pub mod backoff;
#[cfg(feature = "broker")]
pub mod broker;
pub mod credentials;
#[cfg(feature = "database")]
pub mod database;
pub mod health;
pub mod metrics;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
