//! A WebSocket client that shares nothing with the venue's own framing.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tapekeeper_test_venue::{TestCertificate, Venue};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// How long a test waits for a frame.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connected client.
pub struct Client(WebSocketStream<TlsStream<TcpStream>>);

/// TLS to the venue under one of its names.
pub async fn tls(venue: &Venue, certificate: &TestCertificate, host: &str) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.ca_pem.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(venue.addr()).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
}

impl Client {
    /// Connects as `stream.binance.com`.
    pub async fn connect(venue: &Venue, certificate: &TestCertificate, path: &str) -> Result<Self, Error> {
        Self::connect_to(venue, certificate, "stream.binance.com", path).await
    }

    /// Connects under a host's name.
    pub async fn connect_to(venue: &Venue, certificate: &TestCertificate, host: &str, path: &str) -> Result<Self, Error> {
        let request = format!("wss://{host}:9443{path}").into_client_request()?;
        let (socket, _) = tokio_tungstenite::client_async(request, tls(venue, certificate, host).await).await?;
        Ok(Self(socket))
    }

    pub async fn send(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// The next text frame.
    pub async fn text(&mut self) -> String {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time");
            match message.expect("an open connection").unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Close(close) => panic!("closed: {close:?}"),
                _ => {}
            }
        }
    }

    /// The next text frame as JSON.
    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Reads to the end, and says whether it came without a close frame.
    pub async fn ends_without_close(&mut self) -> bool {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("an end in time") {
                Some(Ok(Message::Close(_))) => return false,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return true,
            }
        }
    }

    /// Reads to the close frame, and returns its code.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a close in time") {
                Some(Ok(Message::Close(close))) => return close.map(|close| close.code.into()),
                Some(Ok(_)) => {}
                other => panic!("no close frame but {other:?}"),
            }
        }
    }
}

/// The HTTP status that a handshake is refused with.
pub async fn status_of_handshake(venue: &Venue, certificate: &TestCertificate, path: &str) -> u16 {
    status_at(venue, certificate, "stream.binance.com", path).await
}

/// The same under a host's name.
pub async fn status_at(venue: &Venue, certificate: &TestCertificate, host: &str, path: &str) -> u16 {
    match Client::connect_to(venue, certificate, host, path).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => 101,
    }
}
