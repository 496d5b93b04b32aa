//! A connection to RabbitMQ: AMQP 0-9-1 over TLS.

use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use lapin::{Connection, ConnectionProperties};

use crate::credentials::Credentials;
use crate::tls::{self, TlsError};

/// A peer that is silent for twice as long is gone.
const HEARTBEAT_SECONDS: u16 = 10;
/// How long a connection may take, from the name look-up to the open virtual host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The port of AMQP over TLS.
const DEFAULT_PORT: u16 = 5671;

/// The broker can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The authorities can't be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It refused, or the network did.
    #[error("broker {address}: {source}")]
    Refused {
        /// Host and port.
        address: String,
        /// Why.
        source: lapin::Error,
    },
    /// It did not answer in time.
    #[error("broker {address}: no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut {
        /// Host and port.
        address: String,
    },
}

impl BrokerError {
    /// A word for logs, metrics and conditions.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Tls(error) => error.reason(),
            Self::Refused { .. } | Self::TimedOut { .. } => "BrokerUnreachable",
        }
    }
}

/// Opens a connection to `vhost`, shown in the broker's management interface as `name`. It does not recover by itself: whoever holds it makes it anew, with
/// a backoff, because only he knows what was in flight.
///
/// # Errors
/// [`BrokerError`], never with the password in it.
pub async fn connect(credentials: &Credentials, vhost: &str, extra_ca_pem: Option<&str>, name: &str) -> Result<Connection, BrokerError> {
    let authorities = tls::join_pem(extra_ca_pem, credentials.ca_pem.as_deref());
    // lapin skips certificates that it can't read; reading them here first turns that into an error.
    tls::authorities(authorities.as_deref())?;
    tls::install_provider();
    let uri = address(credentials, vhost);
    let address = format!("{}:{}", uri.authority.host, uri.authority.port);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let tls = OwnedTLSConfig { identity: None, cert_chain: authorities };
    let runtime = lapin::runtime::default_runtime().map_err(|source| BrokerError::Refused { address: address.clone(), source })?;
    match tokio::time::timeout(CONNECT_TIMEOUT, Connection::connect_uri_with_config(uri, properties, tls, runtime)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(source)) => Err(BrokerError::Refused { address, source }),
        Err(_) => Err(BrokerError::TimedOut { address }),
    }
}

fn address(credentials: &Credentials, vhost: &str) -> AMQPUri {
    AMQPUri {
        scheme: AMQPScheme::AMQPS,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username: credentials.username.clone(), password: credentials.password.expose().to_owned() },
            // The credentials were checked to have a host.
            host: credentials.uri.host_str().unwrap_or_default().to_owned(),
            port: credentials.uri.port().unwrap_or(DEFAULT_PORT),
        },
        vhost: vhost.to_owned(),
        query: AMQPQueryString {
            heartbeat: Some(HEARTBEAT_SECONDS),
            connection_timeout: u64::try_from(CONNECT_TIMEOUT.as_millis()).ok(),
            auth_mechanism: Some(SASLMechanism::Plain),
            ..AMQPQueryString::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;

    fn credentials(uri: &str) -> Credentials {
        Credentials { uri: uri.parse().unwrap(), username: "tape".to_owned(), password: Secret::new("p@ss/word"), ca_pem: None }
    }

    #[test]
    fn an_address_without_a_port_means_the_port_of_amqps_and_nothing_needs_escaping() {
        let uri = address(&credentials("amqps://broker.example"), "/tape");
        assert_eq!((uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()), ("broker.example", 5671, "/tape"));
        assert_eq!(uri.authority.userinfo.password, "p@ss/word");
    }

    #[tokio::test]
    async fn a_broker_that_is_not_there_is_an_error_that_names_it() {
        let error = connect(&credentials("amqps://127.0.0.1:1"), "/", None, "test").await.unwrap_err();
        assert_eq!(error.reason(), "BrokerUnreachable");
        let text = error.to_string();
        assert!(text.starts_with("broker 127.0.0.1:1: ") && !text.contains("p@ss"), "{text}");
    }
}
