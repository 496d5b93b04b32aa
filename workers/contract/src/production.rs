//! Production only: the rules that no manifest, Secret or settings file can talk its way around.
//!
//! The API server refuses with CEL what a spec shows; the operator's `validate` and every worker at start call these functions, so that a
//! settings file written by hand, or a Secret that changed later, is refused as well. There is no switch.

use url::Url;

use crate::venue::Venue;

/// The one environment there is.
pub const ENVIRONMENT: &str = "production";
/// The one broker there is.
pub const BROKER_KIND: &str = "RabbitMQ";
/// The one database there is.
pub const DATABASE_KIND: &str = "ClickHouse";

/// A setting that production only forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("FORBIDDEN: {field}: {why}")]
pub struct Forbidden {
    /// The field's path as its author wrote it, for example `spec.environment` or `secret/tapekeeper-broker.uri`.
    pub field: String,
    /// The value, why it is refused and what is allowed. Never a secret.
    pub why: String,
}

impl Forbidden {
    fn new(field: &str, why: String) -> Self {
        Self { field: field.to_owned(), why }
    }
}

/// `value` must be [`ENVIRONMENT`].
///
/// # Errors
/// [`Forbidden`] for anything else.
pub fn environment(field: &str, value: &str) -> Result<(), Forbidden> {
    only(field, value, ENVIRONMENT, "Tapekeeper runs in production only")
}

/// `value` must be [`BROKER_KIND`].
///
/// # Errors
/// [`Forbidden`] for anything else.
pub fn broker_kind(field: &str, value: &str) -> Result<(), Forbidden> {
    only(field, value, BROKER_KIND, "ticks go through RabbitMQ only")
}

/// `value` must be [`DATABASE_KIND`].
///
/// # Errors
/// [`Forbidden`] for anything else.
pub fn database_kind(field: &str, value: &str) -> Result<(), Forbidden> {
    only(field, value, DATABASE_KIND, "the tape is kept in ClickHouse only")
}

fn only(field: &str, value: &str, allowed: &str, why: &str) -> Result<(), Forbidden> {
    if value == allowed {
        return Ok(());
    }
    Err(Forbidden::new(field, format!("`{value}` is not allowed: {why}; the only value is `{allowed}`")))
}

/// An endpoint of `venue` must be `wss://` on one of the venue's own hosts, without credentials, path or query.
///
/// # Errors
/// [`Forbidden`] when it is not TLS, not the venue's host, or carries more than a host and a port.
pub fn venue_endpoint(field: &str, venue: Venue, endpoint: &str) -> Result<Url, Forbidden> {
    let hosts = venue.stream_hosts().join(", ");
    let url = tls_url(field, endpoint, "wss")?;
    if !url.host_str().is_some_and(|host| venue.stream_hosts().contains(&host)) {
        let host = url.host_str().unwrap_or_default();
        return Err(Forbidden::new(field, format!("`{host}` is not a host of {venue}: allowed are {hosts}")));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(Forbidden::new(field, "an endpoint is a scheme, a host and a port; the path is the venue's protocol".to_owned()));
    }
    Ok(url)
}

/// A broker is reached over `amqps://`; user and password stand in keys of their own, never in the address.
///
/// # Errors
/// [`Forbidden`] when it is not TLS or carries credentials.
pub fn broker_uri(field: &str, uri: &str) -> Result<Url, Forbidden> {
    tls_url(field, uri, "amqps")
}

/// A broker's management interface and a database are reached over `https://`; credentials as in [`broker_uri`].
///
/// # Errors
/// [`Forbidden`] when it is not TLS or carries credentials.
pub fn https_uri(field: &str, uri: &str) -> Result<Url, Forbidden> {
    tls_url(field, uri, "https")
}

fn tls_url(field: &str, text: &str, scheme: &str) -> Result<Url, Forbidden> {
    // The text itself is not repeated where it may hold a password.
    let url = Url::parse(text.trim()).map_err(|error| Forbidden::new(field, format!("not an address ({error}): expected {scheme}://HOST:PORT")))?;
    if url.scheme() != scheme {
        return Err(Forbidden::new(field, format!("`{}://` is not allowed: only TLS is, that is `{scheme}://`", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Forbidden::new(field, format!("the address has no host: expected {scheme}://HOST:PORT")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Forbidden::new(field, "an address must not carry a user or a password: they have keys of their own".to_owned()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_other_than_production_is_forbidden_by_name() {
        assert_eq!(environment("spec.environment", "production"), Ok(()));
        assert_eq!(
            environment("spec.environment", "staging").unwrap_err().to_string(),
            "FORBIDDEN: spec.environment: `staging` is not allowed: Tapekeeper runs in production only; the only value is `production`"
        );
    }

    #[test]
    fn only_the_venues_own_tls_hosts_are_endpoints() {
        let field = "spec.connection.endpoint";
        assert!(venue_endpoint(field, Venue::Binance, Venue::Binance.default_endpoint()).is_ok());
        for (endpoint, why) in [
            ("ws://stream.binance.com:9443", "only TLS"),
            ("wss://localhost:9443", "`localhost` is not a host of Binance: allowed are stream.binance.com, data-stream.binance.vision"),
            ("wss://stream.binance.com.evil.example", "is not a host of Binance"),
            ("wss://stream.binance.com:9443/ws/btcusdt@trade", "the path is the venue's protocol"),
            ("wss://me:pw@stream.binance.com", "must not carry"),
            ("stream.binance.com", "not an address"),
        ] {
            let refusal = venue_endpoint(field, Venue::Binance, endpoint).unwrap_err().to_string();
            assert!(refusal.starts_with("FORBIDDEN: spec.connection.endpoint: ") && refusal.contains(why), "{endpoint}: {refusal}");
        }
    }

    #[test]
    fn a_refused_address_never_repeats_its_password() {
        for text in ["amqp://app:hunter2@broker", "amqps://app:hunter2@broker", "amqps:// app:hunter2@broker"] {
            let refusal = broker_uri("secret/broker.uri", text).unwrap_err().to_string();
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
        assert!(broker_uri("secret/broker.uri", "amqps://broker:5671").is_ok());
        assert!(https_uri("secret/clickhouse.uri", "http://clickhouse:8123").is_err());
    }
}
