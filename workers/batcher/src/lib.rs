//! The batcher: shard queues of RabbitMQ in, tables of ClickHouse out, each envelope exactly once.
//!
//! ```text
//! queue 0 ─▶ consume ─┐            ┌─▶ insert (table, day) ─┐
//! queue 1 ─▶ consume ─┼─▶ session ─┤                        ├─▶ acknowledge, in the order of delivery
//! queue N ─▶ consume ─┘    batch   └─▶ insert (table, day) ─┘
//!              └─ lookup, for what may have been inserted before
//! ```
//!
//! - [`encode`] (pure): an envelope as rows of RowBinary, cut at the edges of tables and days;
//! - [`batch`] (pure): whole envelopes, collected into one block per table and day, with a token that depends on nothing but their ids;
//! - [`insert`]: a block is sent, with the same bytes and the same token, until the database has it;
//! - [`lookup`]: an envelope that may have been inserted before is looked up first;
//! - [`consume`], [`session`]: one connection to the broker. When it breaks, everything held goes with it and comes back from the queues;
//! - [`status`]: what the batcher knows of itself.
//!
//! Nothing is acknowledged before all its rows are in their tables, so a crash loses nothing; nothing that may be in a table is inserted without a look, so
//! it doubles nothing.

pub mod batch;
pub mod config;
pub mod consume;
pub mod encode;
pub mod insert;
pub mod lookup;
pub mod recent;
pub mod session;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use tapekeeper_contract::settings::{BatcherSettings, HTTP_PORT};
use tapekeeper_runtime::backoff::Backoff;
use tapekeeper_runtime::health;
use tapekeeper_runtime::metrics;
use tapekeeper_runtime::shutdown::Shutdown;
use tokio::net::TcpListener;

pub use config::{BatcherError, Config};
use session::{Session, SessionError};
use status::State;

/// The shortest and the longest wait between two sessions.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Runs a batcher, and its HTTP endpoint on [`HTTP_PORT`], until `shutdown` is raised and what was held is flushed.
///
/// # Errors
/// [`BatcherError`] when it can't start: forbidden settings, unreadable credentials, a port that is taken. A broker or a database that is down is none: the
/// batcher waits for it, and says so in `/readyz`.
pub async fn run(settings: BatcherSettings, shutdown: Shutdown) -> Result<(), BatcherError> {
    let listener = health::listen(HTTP_PORT).await.map_err(|source| BatcherError::Listen { port: HTTP_PORT, source })?;
    run_on(listener, settings, shutdown).await
}

/// As [`run`], with the HTTP endpoint on `listener`.
///
/// # Errors
/// As [`run`].
pub async fn run_on(listener: TcpListener, settings: BatcherSettings, shutdown: Shutdown) -> Result<(), BatcherError> {
    let config = Config::resolve(settings)?;
    let mut registry = metrics::registry("batcher");
    let state = Arc::new(State::new(&config.settings.sink, &mut registry));
    let drained = Shutdown::new();
    let probe: Arc<State> = Arc::clone(&state);
    let mut endpoint = tokio::spawn(health::serve(listener, probe, Arc::new(registry), drained.clone()));
    let result = tokio::select! {
        () = work(&config, &state, &shutdown) => Ok(()),
        ended = &mut endpoint => Err(BatcherError::Endpoint(ended.map_err(std::io::Error::other).and_then(|result| result).err())),
    };
    drained.trigger();
    if result.is_ok() {
        // Only the last answers are waited for, and the endpoint bounds that itself.
        drop(endpoint.await);
    }
    result
}

/// One session after the other until `shutdown` is raised.
async fn work(config: &Config, state: &Arc<State>, shutdown: &Shutdown) {
    let mut backoff = Backoff::new(RECONNECT.0, RECONNECT.1);
    let mut session = Session::new(config, Arc::clone(state));
    while !shutdown.is_triggered() {
        match session.run(shutdown).await {
            Ok(()) => break,
            Err(error) => {
                report(&error, state);
                if session.acknowledged_anything() {
                    backoff.reset();
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = shutdown.triggered() => {}
                }
            }
        }
    }
    state.stopped();
}

fn report(error: &SessionError, state: &State) {
    tracing::warn!(reason = error.reason(), %error, "the session with the broker ended: what was held comes back from the queues");
    state.session_ended(error.to_string());
}
