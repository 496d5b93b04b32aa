//! The venue as a whole.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::control;
use crate::floor::{ConnectionView, Floor};
use crate::options::VenueOptions;
use crate::script::Command;
use crate::server::listener::{Handshakes, accept};
use crate::server::tls::server_config;
use crate::tape::{TradeHistory, driver};
use crate::truth::Truth;
use crate::venues::binance;

/// A running venue. Dropping it ends its listeners, its connections and its tape.
pub struct Venue {
    floor: Arc<Floor>,
    addresses: Vec<SocketAddr>,
    control: Option<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Venue {
    /// Reads the source, binds the listeners and starts the tape, on the current tokio runtime.
    pub async fn start(options: VenueOptions) -> anyhow::Result<Self> {
        ensure!(!options.listen.is_empty(), "a venue needs at least one address to listen on");
        let (tape, protocol) = binance::open(&options.source)?;
        let tls = TlsAcceptor::from(server_config(&options.certificate_pem, &options.key_pem)?);
        let floor = Floor::new(tape, Arc::new(protocol), options.rate, options.limits, options.settle);
        let handshakes = Arc::new(Handshakes::default());
        let (mut tasks, mut addresses) = (JoinSet::new(), Vec::new());
        for address in options.listen {
            let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
            addresses.push(listener.local_addr()?);
            tasks.spawn(accept(listener, tls.clone(), Arc::clone(&floor), Arc::clone(&handshakes)));
        }
        let mut control_address = None;
        if let Some(address) = options.control {
            let listener = TcpListener::bind(address).await.with_context(|| format!("control on {address}"))?;
            control_address = Some(listener.local_addr()?);
            tasks.spawn(control::serve(listener, Arc::clone(&floor)));
        }
        tasks.spawn(driver::drive(Arc::clone(&floor)));
        Ok(Self { floor, addresses, control: control_address, tasks })
    }

    /// The address of the first TLS listener.
    pub fn addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The addresses of the TLS listeners.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the control listener.
    pub fn control_addr(&self) -> Option<SocketAddr> {
        self.control
    }

    /// What was played and heard so far.
    pub fn truth(&self) -> Truth {
        self.floor.truth()
    }

    /// The trades of a stream played so far, in order; `None` for a stream that isn't one of trades.
    pub fn trades(&self, stream: &str) -> Option<TradeHistory> {
        self.floor.history(stream).map(|(trades, _)| trades)
    }

    /// Does what a script says; returns how many connections were open.
    pub fn script(&self, command: &Command) -> usize {
        self.floor.script(command)
    }

    /// The open connections.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.floor.connections()
    }

    /// Closes all connections with code 1001, and ends.
    pub async fn stop(mut self) {
        self.script(&Command::Close { code: 1001, reason: String::new(), announce: false });
        for _ in 0..40 {
            if self.connections().is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        self.tasks.shutdown().await;
    }
}
