//! The socket: TCP, TLS with the public authorities and those of the installation, WebSocket. Each read of the TCP socket is stamped.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use tapekeeper_market::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsConnector, rustls};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::Url;

/// A connection may take so long to be made, from the name look-up to the WebSocket's handshake.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// No venue sends a longer message.
const MAX_MESSAGE: usize = 16 << 20;

/// The socket can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Name look-up or TCP.
    #[error("connecting to {address}: {source}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server's certificate, or TLS itself.
    #[error("TLS with {address}: {source}")]
    Tls {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server did not agree to a WebSocket.
    #[error("WebSocket handshake with {address}: {source}")]
    Handshake {
        /// Host and port.
        address: String,
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// It took too long.
    #[error("no connection to {address} within {} s", CONNECT_WITHIN.as_secs())]
    TimedOut {
        /// Host and port.
        address: String,
    },
}

impl SocketError {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "VenueUnreachable",
            Self::Tls { .. } => "VenueTlsFailed",
            Self::Handshake { .. } => "VenueHandshakeFailed",
            Self::TimedOut { .. } => "VenueConnectTimedOut",
        }
    }
}

/// How a TCP connection to a host is made. The product has one way, [`Direct`]; no setting, variable or flag leads to another.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `port` of `host`.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<TcpStream>>;
}

/// Looks the name up and connects to it.
#[derive(Debug, Clone, Copy)]
pub struct Direct;

impl Dial for Direct {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect((host, port)))
    }
}

/// An open socket.
pub type Socket = WebSocketStream<TlsStream<Stamped<TcpStream>>>;

/// When bytes were last read from a socket.
#[derive(Debug, Clone, Default)]
pub struct ReadStamp(Arc<AtomicI64>);

impl ReadStamp {
    /// The time at which the last read returned bytes. A frame that lay in the buffer already was brought by that same read.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed)).unwrap_or_default()
    }

    fn now(&self) {
        self.0.store(Timestamp::from(SystemTime::now()).as_micros(), Ordering::Relaxed);
    }
}

/// Opens a WebSocket at `url`, over TLS.
///
/// # Errors
/// [`SocketError`], naming the host.
pub async fn open(url: &Url, dial: &dyn Dial, tls: Arc<rustls::ClientConfig>) -> Result<(Socket, ReadStamp), SocketError> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let address = format!("{host}:{port}");
    let opening = async {
        let unreachable = |source| SocketError::Unreachable { address: address.clone(), source };
        let tcp = dial.dial(host, port).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let failed = |source| SocketError::Tls { address: address.clone(), source };
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| failed(io::Error::other(error)))?;
        let stamp = ReadStamp::default();
        let stamped = Stamped { inner: tcp, stamp: stamp.clone() };
        let stream = TlsConnector::from(tls).connect(name, stamped).await.map_err(failed)?;
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE)).write_buffer_size(0);
        let (socket, _) = tokio_tungstenite::client_async_with_config(url.as_str(), stream, Some(config))
            .await
            .map_err(|source| SocketError::Handshake { address: address.clone(), source: Box::new(source) })?;
        Ok((socket, stamp))
    };
    tokio::time::timeout(CONNECT_WITHIN, opening).await.unwrap_or_else(|_| Err(SocketError::TimedOut { address: address.clone() }))
}

/// A stream that notes when a read returned bytes.
#[derive(Debug)]
pub struct Stamped<S> {
    inner: S,
    stamp: ReadStamp,
}

impl<S: AsyncRead + Unpin> AsyncRead for Stamped<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        if poll.is_ready() {
            self.stamp.now();
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stamped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
