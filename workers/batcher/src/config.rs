//! What a batcher needs to start, checked before anything is connected.

use std::time::Duration;

use clickhouse::Client;
use tapekeeper_contract::settings::{BatcherSettings, Settings, SettingsError};
use tapekeeper_runtime::credentials::{Credentials, CredentialsError};
use tapekeeper_runtime::database::{self, DatabaseError};
use tapekeeper_runtime::settings::{self, LoadError};

use crate::batch::Limits;

/// Envelopes that the process holds, at most, over all its queues: delivered by the broker and not acknowledged yet. An envelope of 256 events is about 40 kB,
/// so this is also the bound of its memory, 160 MB; envelopes of a busy feed are a quarter of that.
pub const HELD_ENVELOPES: u16 = 4_000;
/// The bounds of one queue's share of them. A quorum queue delivers at most 2,000 ahead.
const PREFETCH: (u16, u16) = (100, 1_000);
/// Batches under way at once, while the next is collected.
pub const FLIGHTS: usize = 2;
/// How long a drain may take.
pub const DRAIN: Duration = Duration::from_secs(20);

/// The batcher can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum BatcherError {
    /// The settings are refused.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file that the settings name can't be read.
    #[error(transparent)]
    File(#[from] LoadError),
    /// The credentials of the broker or the database are refused.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The database's client can't be built.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The HTTP endpoint's port is taken.
    #[error("port {port} of the HTTP endpoint: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP endpoint ended by itself.
    #[error("the HTTP endpoint ended: {0:?}")]
    Endpoint(Option<std::io::Error>),
}

impl BatcherError {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Settings(error) => error.reason(),
            Self::File(error) => error.reason(),
            Self::Credentials(error) => error.reason(),
            Self::Database(error) => error.reason(),
            Self::Listen { .. } => "PortTaken",
            Self::Endpoint(_) => "EndpointEnded",
        }
    }
}

/// Checked settings with what they refer to.
pub struct Config {
    /// The settings.
    pub settings: BatcherSettings,
    /// How to reach the broker.
    pub broker: Credentials,
    /// A client of the database's server.
    pub database: Client,
    /// Authorities beside the public ones, PEM.
    pub extra_authorities: Option<String>,
    /// Envelopes that a queue may deliver ahead of their acknowledgement.
    pub prefetch: u16,
    /// When a batch is closed.
    pub limits: Limits,
}

impl Config {
    /// Checks `settings` and reads what they refer to.
    ///
    /// # Errors
    /// [`BatcherError`]; production only is refused with `FORBIDDEN: field: why`.
    pub fn resolve(settings: BatcherSettings) -> Result<Self, BatcherError> {
        settings.check()?;
        let extra_authorities = settings::extra_authorities(settings.extra_ca_certificates.as_deref())?;
        let broker = Credentials::read_broker(&settings.broker.credentials)?;
        let credentials = Credentials::read_database(&settings.database.credentials)?;
        let database = database::client(&credentials, extra_authorities.as_deref())?;
        let prefetch = prefetch(settings.queues.len());
        let limits = Limits {
            rows: settings.batch.max_rows,
            bytes: settings.batch.max_bytes,
            delay: settings.batch.max_delay.0,
            // With every batch under way and the next one full, a queue is just about out of prefetch: no batch waits for rows that can't be delivered.
            envelopes_per_queue: (usize::from(prefetch) / (FLIGHTS + 1)).max(1),
        };
        Ok(Self { settings, broker, database, extra_authorities, prefetch, limits })
    }
}

fn prefetch(queues: usize) -> u16 {
    let share = usize::from(HELD_ENVELOPES) / queues.max(1);
    u16::try_from(share).unwrap_or(u16::MAX).clamp(PREFETCH.0, PREFETCH.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queues_share_what_the_process_may_hold() {
        assert_eq!([1, 4, 16, 40, 1_000].map(prefetch), [1_000, 1_000, 250, 100, 100]);
    }
}
