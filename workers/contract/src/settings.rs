//! The settings file of a worker: YAML that the operator renders into a ConfigMap and the worker reads at start.
//!
//! Secrets are not in it. It names folders into which a Secret is mounted, a file per key: `uri`, `username`, `password` and, for an authority of
//! one's own, `ca.crt`. Unknown fields are errors, so that a worker never runs on a setting it does not obey.

use std::path::PathBuf;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::duration::HumanDuration;
use crate::production::{self, Forbidden};
use crate::venue::Venue;

/// Where the settings file is mounted.
pub const SETTINGS_FILE: &str = "/etc/tapekeeper/settings.yaml";
/// Where extra CA certificates are mounted, when the installation has any.
pub const EXTRA_CA_FILE: &str = "/etc/tapekeeper/extra-ca.pem";
/// Where the broker's Secret is mounted.
pub const BROKER_CREDENTIALS: &str = "/etc/tapekeeper/secrets/broker";
/// Where the database's Secret is mounted.
pub const DATABASE_CREDENTIALS: &str = "/etc/tapekeeper/secrets/database";
/// The port of `/healthz`, `/readyz`, `/status` and `/metrics`.
pub const HTTP_PORT: u16 = 8080;

/// The settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not YAML, a field is missing or unknown, or a value is of the wrong type.
    #[error("settings: {0}")]
    Unreadable(String),
    /// Production only forbids it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// A value is out of its range.
    #[error("settings: {field}: `{value}` is not allowed: {allowed}")]
    OutOfRange {
        /// The field's path.
        field: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        allowed: &'static str,
    },
}

impl SettingsError {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "SettingsUnreadable",
            Self::Forbidden(_) => "Forbidden",
            Self::OutOfRange { .. } => "SettingOutOfRange",
        }
    }
}

/// A settings file of one role.
pub trait Settings: DeserializeOwned + Serialize {
    /// Checks what the types can't: production only, and ranges.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn check(&self) -> Result<(), SettingsError>;

    /// Reads and checks a settings file's text.
    ///
    /// # Errors
    /// [`SettingsError`], naming the field, its value and what is allowed.
    fn from_yaml(text: &str) -> Result<Self, SettingsError> {
        let value: serde_json::Value = serde_yaml::from_str(text).map_err(|error| SettingsError::Unreadable(error.to_string()))?;
        let settings: Self = serde_json::from_value(value).map_err(|error| SettingsError::Unreadable(error.to_string()))?;
        settings.check()?;
        Ok(settings)
    }

    /// The text that [`Settings::from_yaml`] reads. The same settings give the same bytes.
    ///
    /// # Errors
    /// Only if a type could not be written as YAML, which is a defect of this crate.
    fn to_yaml(&self) -> Result<String, SettingsError> {
        serde_yaml::to_string(self).map_err(|error| SettingsError::Unreadable(error.to_string()))
    }
}

/// A namespaced name: which object the worker works for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectName {
    /// The namespace, which is also the tenant.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is taken from a venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// Every trade.
    Trades,
    /// Every change of the best bid or ask.
    Quotes,
}

/// How to reach the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Broker {
    /// Always `RabbitMQ`.
    pub kind: String,
    /// Folder of the mounted Secret.
    pub credentials: PathBuf,
    /// Virtual host.
    pub vhost: String,
}

/// How to reach the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Database {
    /// Always `ClickHouse`.
    pub kind: String,
    /// Folder of the mounted Secret.
    pub credentials: PathBuf,
    /// The database that holds the tables of [`crate::tables`].
    pub name: String,
}

/// A connector's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectorSettings {
    /// Always `production`.
    pub environment: String,
    /// The ExchangeFeed.
    pub feed: ObjectName,
    /// The venue.
    pub venue: Venue,
    /// Where its stream is read: one of the venue's own hosts, over TLS.
    pub endpoint: String,
    /// `BASE/QUOTE`, no two the same.
    pub instruments: Vec<String>,
    /// What is taken.
    pub channels: Vec<Channel>,
    /// Streams on one socket, at most; the venue's own limit caps it.
    pub max_streams: u32,
    /// A socket that brings no data for so long is made anew.
    pub idle_timeout: HumanDuration,
    /// The broker.
    pub broker: Broker,
    /// The topic exchange to publish to.
    pub exchange: String,
    /// A PEM file of certificate authorities beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_ca_certificates: Option<PathBuf>,
}

/// When a batch is inserted: at the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchLimits {
    /// Rows.
    pub max_rows: u64,
    /// Bytes of encoded rows.
    pub max_bytes: u64,
    /// Time since its first row.
    pub max_delay: HumanDuration,
}

/// A batcher's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatcherSettings {
    /// Always `production`.
    pub environment: String,
    /// The TickSink.
    pub sink: ObjectName,
    /// The broker.
    pub broker: Broker,
    /// The shard queues to consume.
    pub queues: Vec<String>,
    /// The database.
    pub database: Database,
    /// When a batch is inserted.
    pub batch: BatchLimits,
    /// A PEM file of certificate authorities beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_ca_certificates: Option<PathBuf>,
}

impl Settings for ConnectorSettings {
    fn check(&self) -> Result<(), SettingsError> {
        production::environment("environment", &self.environment)?;
        production::broker_kind("broker.kind", &self.broker.kind)?;
        production::venue_endpoint("endpoint", self.venue, &self.endpoint)?;
        at_least_one("instruments", self.instruments.len())?;
        at_least_one("channels", self.channels.len())?;
        at_least_one("maxStreams", self.max_streams as usize)?;
        positive("idleTimeout", self.idle_timeout)
    }
}

impl Settings for BatcherSettings {
    fn check(&self) -> Result<(), SettingsError> {
        production::environment("environment", &self.environment)?;
        production::broker_kind("broker.kind", &self.broker.kind)?;
        production::database_kind("database.kind", &self.database.kind)?;
        at_least_one("queues", self.queues.len())?;
        at_least_one("batch.maxRows", usize::from(self.batch.max_rows > 0))?;
        at_least_one("batch.maxBytes", usize::from(self.batch.max_bytes > 0))?;
        positive("batch.maxDelay", self.batch.max_delay)
    }
}

fn at_least_one(field: &'static str, count: usize) -> Result<(), SettingsError> {
    if count > 0 { Ok(()) } else { Err(SettingsError::OutOfRange { field, value: "0".to_owned(), allowed: "at least one" }) }
}

fn positive(field: &'static str, duration: HumanDuration) -> Result<(), SettingsError> {
    if duration.0.is_zero() {
        return Err(SettingsError::OutOfRange { field, value: duration.to_string(), allowed: "more than nothing, for example 1s" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector() -> ConnectorSettings {
        ConnectorSettings {
            environment: production::ENVIRONMENT.to_owned(),
            feed: ObjectName { namespace: "market-data".to_owned(), name: "binance".to_owned() },
            venue: Venue::Binance,
            endpoint: Venue::Binance.default_endpoint().to_owned(),
            instruments: vec!["BTC/USDT".to_owned()],
            channels: vec![Channel::Trades, Channel::Quotes],
            max_streams: 1024,
            idle_timeout: HumanDuration::from_secs(30),
            broker: Broker { kind: "RabbitMQ".to_owned(), credentials: BROKER_CREDENTIALS.into(), vhost: "/".to_owned() },
            exchange: "crypto.ticks".to_owned(),
            extra_ca_certificates: None,
        }
    }

    #[test]
    fn what_the_operator_writes_is_what_the_worker_reads() {
        let settings = connector();
        similar_asserts::assert_eq!(ConnectorSettings::from_yaml(&settings.to_yaml().unwrap()).unwrap(), settings);
    }

    #[test]
    fn a_worker_refuses_every_way_out_of_production() {
        let refusal = |change: fn(&mut ConnectorSettings)| {
            let mut settings = connector();
            change(&mut settings);
            ConnectorSettings::from_yaml(&settings.to_yaml().unwrap()).unwrap_err().to_string()
        };
        assert!(refusal(|s| s.environment = "test".to_owned()).starts_with("FORBIDDEN: environment: `test`"));
        assert!(refusal(|s| s.broker.kind = "Kafka".to_owned()).starts_with("FORBIDDEN: broker.kind: `Kafka`"));
        assert!(refusal(|s| s.endpoint = "ws://stream.binance.com:9443".to_owned()).starts_with("FORBIDDEN: endpoint: `ws://`"));
        assert!(refusal(|s| s.endpoint = "wss://127.0.0.1:9443".to_owned()).starts_with("FORBIDDEN: endpoint: `127.0.0.1`"));
    }

    #[test]
    fn an_unknown_setting_is_an_error_that_names_it() {
        let text = connector().to_yaml().unwrap() + "mock: true\n";
        let refusal = ConnectorSettings::from_yaml(&text).unwrap_err().to_string();
        assert!(refusal.contains("mock"), "{refusal}");
    }
}
