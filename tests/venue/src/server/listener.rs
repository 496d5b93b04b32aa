//! Takes connections from the socket to the floor: TLS, the host's name, the path, the handshake.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tracing::{debug, warn};

use crate::clock;
use crate::floor::Floor;
use crate::venues::Route;

use super::{connection, http};

/// How long a client may take over TLS and each request.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The window of the limit on connections.
const WINDOW: Duration = Duration::from_secs(300);

/// When each IP address made its latest handshakes.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<HashMap<IpAddr, VecDeque<Instant>>>);

impl Handshakes {
    /// Counts a handshake, or says that it is one too many.
    fn admit(&self, ip: IpAddr, now: Instant, limit: usize) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, times| {
            while times.front().is_some_and(|time| now - *time >= WINDOW) {
                times.pop_front();
            }
            !times.is_empty()
        });
        let times = seen.entry(ip).or_default();
        if times.len() >= limit {
            return false;
        }
        times.push_back(now);
        true
    }
}

/// Accepts connections until the task is dropped; they end with it.
pub(crate) async fn accept(listener: TcpListener, tls: TlsAcceptor, floor: Arc<Floor>, handshakes: Arc<Handshakes>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let (tls, floor, handshakes) = (tls.clone(), Arc::clone(&floor), Arc::clone(&handshakes));
                    connections.spawn(async move {
                        if let Err(error) = serve(socket, peer, tls, floor, handshakes).await {
                            debug!(%peer, %error, "a connection ended early");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(socket: TcpStream, peer: SocketAddr, tls: TlsAcceptor, floor: Arc<Floor>, handshakes: Arc<Handshakes>) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut stream = timeout(HANDSHAKE, tls.accept(socket)).await??;
    let name = stream.get_ref().1.server_name().unwrap_or("").to_lowercase();
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let request = match timeout(HANDSHAKE, http::read_head(&mut stream, &mut buffer)).await? {
            Err(http::HeadError::Closed) => return Ok(()),
            request => request?,
        };
        let host = http::host(&request);
        let is_played = |host: &str| floor.protocol().hosts().contains(&host);
        if !is_played(&name) || !is_played(&host) {
            debug!(%peer, sni = name, host, "a host that is not played");
            stream.write_all(&http::response(421, "{}")).await?;
            break;
        }
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        match floor.protocol().route(&host, target, clock::millis()) {
            Route::Http { status, body } => {
                stream.write_all(&http::response(status, &body)).await?;
                stream.flush().await?;
            }
            Route::Stream { form, streams } => {
                if let Some(refusal) = refuse(&request, &streams, peer, &floor, &handshakes) {
                    stream.write_all(&http::response(refusal, "{}")).await?;
                    break;
                }
                let response = create_response(&request)?;
                let mut head = Vec::new();
                write_response(&mut head, &response)?;
                let seat = floor.join(peer, host, form, streams);
                debug!(%peer, connection = seat.id, ?form, "connected");
                stream.write_all(&head).await?;
                connection::run(stream, buffer, seat, form, &floor).await;
                return Ok(());
            }
        }
    }
    stream.flush().await?;
    stream.shutdown().await?;
    Ok(())
}

/// The status that refuses an upgrade, if there is a reason to.
fn refuse(request: &Request, streams: &[String], peer: SocketAddr, floor: &Floor, handshakes: &Handshakes) -> Option<u16> {
    if create_response(request).is_err() {
        return Some(426);
    }
    let limits = floor.limits();
    if !handshakes.admit(peer.ip(), Instant::now(), limits.connections_per_five_minutes) {
        return Some(429);
    }
    (streams.len() > limits.streams_per_connection).then_some(400)
}
