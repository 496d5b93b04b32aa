//! A client of ClickHouse: HTTP over TLS, LZ4 on the wire.

use std::sync::Arc;
use std::time::Duration;

use clickhouse::{Client, Compression};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::credentials::Credentials;
use crate::tls::{self, TlsError};

/// Finds a peer that vanished without a word.
const TCP_KEEPALIVE: Duration = Duration::from_secs(20);
/// An idle connection is dropped before the server drops it (`keep_alive_timeout`, 3 s in old releases): an insert must not be sent into a closing connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// The client can't be built.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The authorities can't be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl DatabaseError {
    /// A word for logs, metrics and conditions.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Tls(error) => error.reason(),
        }
    }
}

/// A client for the server and user of `credentials`. It names no database and connects when it is first used; it has no timeout of its own but that of the
/// TCP connection, so callers bound each query.
///
/// # Errors
/// [`DatabaseError`] when the authorities can't be read.
pub fn client(credentials: &Credentials, extra_ca_pem: Option<&str>) -> Result<Client, DatabaseError> {
    tls::install_provider();
    let config = tls::client_config(tls::join_pem(extra_ca_pem, credentials.ca_pem.as_deref()).as_deref())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    tcp.set_connect_timeout(Some(tls::CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new().with_tls_config(Arc::unwrap_or_clone(config)).https_only().enable_http1().wrap_connector(tcp);
    let http = HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(POOL_IDLE_TIMEOUT).build(connector);
    Ok(Client::with_http_client(http)
        .with_url(credentials.uri.as_str())
        .with_user(&credentials.username)
        .with_password(credentials.password.expose())
        .with_compression(Compression::Lz4)
        .with_product_info("tapekeeper", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;

    #[tokio::test]
    async fn a_database_that_is_not_there_is_an_error_not_a_hang() {
        let credentials =
            Credentials { uri: "https://127.0.0.1:1".parse().unwrap(), username: "tape".to_owned(), password: Secret::new("hunter2"), ca_pem: None };
        let error = client(&credentials, None).unwrap().query("SELECT 1").fetch_one::<u8>().await.unwrap_err();
        assert!(matches!(error, clickhouse::error::Error::Network(_)), "{error}");
    }
}
