//! The connector's process: settings become tasks, and the tasks end in order.

use std::sync::Arc;
use std::time::Duration;

use tapekeeper_contract::production::{self, Forbidden};
use tapekeeper_contract::settings::{ConnectorSettings, HTTP_PORT, Settings, SettingsError};
use tapekeeper_runtime::credentials::{Credentials, CredentialsError};
use tapekeeper_runtime::settings::{LoadError, extra_authorities};
use tapekeeper_runtime::shutdown::Shutdown;
use tapekeeper_runtime::tls::{self, TlsError};
use tapekeeper_runtime::{health, metrics};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connection::{Connection, Epochs, Feed, connect_limiter};
use crate::plan::Plan;
use crate::publish::{Publisher, Target};
use crate::socket::{Dial, Direct};
use crate::status::{Board, Metrics};
use crate::venues;

/// Envelopes that wait for the publisher, at most; beyond it, sockets are not read.
const WAITING: usize = 256;
/// After SIGTERM, what was read is confirmed within this time, or given up and counted.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// The connector can't run, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// A setting is refused.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file of the settings can't be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The broker's credentials can't be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificate authorities can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP endpoint can't be served.
    #[error("HTTP on port {HTTP_PORT}: {0}")]
    Http(#[source] std::io::Error),
    /// A task ended that should not have.
    #[error("a task of the connector ended by itself: {0}")]
    TaskEnded(String),
    /// The broker did not confirm everything in time.
    #[error("{unconfirmed} envelopes were still unconfirmed {} s after the connector was told to end", DRAIN_WITHIN.as_secs())]
    Undrained {
        /// How many.
        unconfirmed: u64,
    },
}

impl From<Forbidden> for ConnectorError {
    fn from(forbidden: Forbidden) -> Self {
        Self::Settings(forbidden.into())
    }
}

impl ConnectorError {
    /// A word for logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Settings(error) => error.reason(),
            Self::Load(error) => error.reason(),
            Self::Credentials(error) => error.reason(),
            Self::Tls(error) => error.reason(),
            Self::Http(_) => "HttpFailed",
            Self::TaskEnded(_) => "TaskEnded",
            Self::Undrained { .. } => "Undrained",
        }
    }

    /// Whether the settings, or files that they name, are at fault: starting again with the same can't help.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Settings(_) | Self::Load(_) | Self::Credentials(_) | Self::Tls(_))
    }
}

/// Reads the feed of `settings` and publishes it, until `shutdown`; then drains.
///
/// # Errors
/// [`ConnectorError`]: at start, when settings, credentials or authorities are refused; at the end, when not everything read was confirmed.
pub async fn run(settings: ConnectorSettings, shutdown: Shutdown) -> Result<(), ConnectorError> {
    let listener = health::listen(HTTP_PORT).await.map_err(ConnectorError::Http)?;
    run_on(settings, shutdown, listener, Arc::new(Direct)).await
}

/// [`run`], with the HTTP endpoint on `listener` and TCP connections to the venue made by `dial`. Production only holds all the same: the endpoint must be
/// the venue's own host, and prove it with a certificate.
///
/// # Errors
/// As [`run`].
pub async fn run_on(settings: ConnectorSettings, shutdown: Shutdown, listener: TcpListener, dial: Arc<dyn Dial>) -> Result<(), ConnectorError> {
    settings.check()?;
    let protocol = venues::protocol(settings.venue);
    let limits = protocol.limits();
    let plan = Plan::new(&settings, &limits)?;
    let endpoint = production::venue_endpoint("endpoint", settings.venue, &settings.endpoint)?;
    let credentials = Credentials::read_broker(&settings.broker.credentials)?;
    let extra_ca_pem = extra_authorities(settings.extra_ca_certificates.as_deref())?;
    let tls = tls::client_config(extra_ca_pem.as_deref())?;

    let mut registry = metrics::registry("connector");
    let board = Arc::new(Board::new(
        Metrics::new(&mut registry),
        settings.feed.to_string(),
        settings.venue.tape_name(),
        &plan.instruments,
        &plan.sockets.iter().map(|slots| slots.len() * plan.channels.len()).collect::<Vec<_>>(),
    ));
    let drained = Shutdown::new();
    let probe: Arc<Board> = Arc::clone(&board);
    let http = tokio::spawn(health::serve(listener, probe, Arc::new(registry), drained.clone()));

    let (sender, receiver) = mpsc::channel(WAITING);
    let target = Target {
        credentials,
        vhost: settings.broker.vhost.clone(),
        extra_ca_pem,
        exchange: settings.exchange.clone(),
        connection_name: format!("connector {}", settings.feed),
        tenant: settings.feed.namespace.clone(),
        venue: settings.venue.tape_name(),
    };
    let mut publisher = tokio::spawn(Publisher::new(target, &plan.instruments, receiver, Arc::clone(&board)).run());

    let feed = Arc::new(Feed {
        name: Arc::from(settings.feed.to_string()),
        protocol,
        endpoint,
        instruments: plan.instruments,
        channels: plan.channels,
        idle_timeout: settings.idle_timeout.0,
        dial,
        tls,
        connects: connect_limiter(&limits),
        epochs: Epochs::default(),
        board: Arc::clone(&board),
    });
    let mut connections = JoinSet::new();
    for (id, slots) in plan.sockets.into_iter().enumerate() {
        let connection = Connection { id, feed: Arc::clone(&feed), slots, drafts: sender.clone(), shutdown: shutdown.clone() };
        connections.spawn(connection.run());
    }
    // Once the connections are gone, the publisher knows that nothing more comes.
    drop(sender);

    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    let result = loop {
        tokio::select! {
            () = shutdown.triggered() => break drain(connections, publisher, &board).await,
            _ = every_second.tick() => board.sample(std::time::Instant::now()),
            ended = &mut publisher => break Err(task_ended("publisher", ended)),
            Some(ended) = connections.join_next() => if !shutdown.is_triggered() {
                break Err(task_ended("connection", ended));
            },
        }
    };
    drained.trigger();
    match http.await {
        Ok(served) => result.and(served.map_err(ConnectorError::Http)),
        Err(error) => result.and(Err(ConnectorError::TaskEnded(error.to_string()))),
    }
}

fn task_ended(name: &str, ended: Result<(), tokio::task::JoinError>) -> ConnectorError {
    ConnectorError::TaskEnded(format!("{name}: {}", ended.map_or_else(|error| error.to_string(), |()| "without a reason".to_owned())))
}

/// The sockets stop reading and hand on what they have; the publisher waits for the confirms.
async fn drain(mut connections: JoinSet<()>, publisher: tokio::task::JoinHandle<()>, board: &Board) -> Result<(), ConnectorError> {
    let abort = publisher.abort_handle();
    let draining = async {
        while connections.join_next().await.is_some() {}
        publisher.await
    };
    if let Ok(Ok(())) = tokio::time::timeout(DRAIN_WITHIN, draining).await {
        tracing::info!(confirmed = board.metrics.confirmed.get(), "drained: the broker has confirmed everything that was read");
        return Ok(());
    }
    abort.abort();
    let unconfirmed = u64::try_from(board.metrics.in_flight.get() + board.metrics.waiting.get()).unwrap_or(0);
    board.metrics.abandoned.inc_by(unconfirmed);
    Err(ConnectorError::Undrained { unconfirmed })
}
