//! What Kubernetes and the operator read over HTTP: `GET /healthz`, `/readyz`, `/status`, `/metrics`.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::metrics;
use crate::shutdown::Shutdown;

/// How long requests under way may still take when the server ends.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// What a process says of itself. Called on each request, so it must be quick and never wait.
pub trait Probe: Send + Sync + 'static {
    /// Whether the process makes progress. An error makes `/healthz` answer 503, upon which Kubernetes starts it anew: it is for a process that is wedged,
    /// never for a broker or a database that is down.
    ///
    /// # Errors
    /// Why it is wedged.
    fn live(&self) -> Result<(), String>;

    /// Whether the process does its work now. An error makes `/readyz` answer 503.
    ///
    /// # Errors
    /// Why it does not.
    fn ready(&self) -> Result<(), String>;

    /// The body of `/status`.
    fn status(&self) -> serde_json::Value;
}

/// Tells a loop that goes round from one that is wedged: the loop [beats](Self::beat) once a turn, the probe asks [how long ago](Self::check).
#[derive(Debug, Clone)]
pub struct Heartbeat {
    inner: Arc<Beats>,
}

#[derive(Debug)]
struct Beats {
    started: Instant,
    last_ms: AtomicU64,
}

impl Heartbeat {
    /// A heartbeat that has just beaten.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Arc::new(Beats { started: Instant::now(), last_ms: AtomicU64::new(0) }) }
    }

    /// The loop went round.
    pub fn beat(&self) {
        self.inner.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// How long ago it last did.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(self.inner.last_ms.load(Ordering::Relaxed)))
    }

    /// # Errors
    /// When the last beat is older than `limit`, with `name` as who is wedged.
    pub fn check(&self, name: &str, limit: Duration) -> Result<(), String> {
        let age = self.age();
        if age <= limit { Ok(()) } else { Err(format!("{name} made no progress for {} s", age.as_secs())) }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.inner.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

/// A listener on `port` of every address, of IPv6 and IPv4 where the machine has both.
///
/// # Errors
/// When the port is taken.
pub async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        bound => bound,
    }
}

#[derive(Clone)]
struct Served {
    probe: Arc<dyn Probe>,
    registry: Arc<Registry>,
}

/// Serves `probe` and `registry` on `listener` until `drained` is raised. That is not the flag that SIGTERM raises: a process that drains still answers, and
/// raises `drained` when it is done.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, probe: Arc<dyn Probe>, registry: Arc<Registry>, drained: Shutdown) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|State(served): State<Served>| async move { verdict(served.probe.live()) }))
        .route("/readyz", get(|State(served): State<Served>| async move { verdict(served.probe.ready()) }))
        .route("/status", get(|State(served): State<Served>| async move { Json(served.probe.status()) }))
        .route("/metrics", get(|State(served): State<Served>| async move { exposition(&served.registry) }))
        .with_state(Served { probe, registry });
    let server = axum::serve(listener, router).with_graceful_shutdown(drained.triggered());
    until_or_shortly_after(drained, server.into_future()).await.unwrap_or(Ok(()))
}

/// A client that keeps its connection open must not keep the process alive.
async fn until_or_shortly_after<T>(ended: Shutdown, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = async { ended.triggered().await; tokio::time::sleep(LAST_REQUESTS).await } => None,
    }
}

fn verdict(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

fn exposition(registry: &Registry) -> Response {
    match metrics::encode(registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Says {
        live: Mutex<Option<String>>,
        ready: Mutex<Option<String>>,
    }

    impl Probe for Says {
        fn live(&self) -> Result<(), String> {
            self.live.lock().unwrap().clone().map_or(Ok(()), Err)
        }

        fn ready(&self) -> Result<(), String> {
            self.ready.lock().unwrap().clone().map_or(Ok(()), Err)
        }

        fn status(&self) -> serde_json::Value {
            serde_json::json!({"role": "tester"})
        }
    }

    async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        let answer = reqwest_of_tests().get(format!("http://{address}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn reqwest_of_tests() -> reqwest::Client {
        crate::tls::http_client(crate::tls::client_config(None).unwrap(), Duration::from_secs(5)).unwrap()
    }

    #[tokio::test]
    async fn a_wedged_process_turns_healthz_red_and_one_that_waits_only_readyz() {
        let probe = Arc::new(Says::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let drained = Shutdown::new();
        let seen: Arc<Says> = Arc::clone(&probe);
        let server = tokio::spawn(serve(listener, seen, Arc::new(metrics::registry("tester")), drained.clone()));

        assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
        *probe.ready.lock().unwrap() = Some("the database is down".to_owned());
        assert_eq!(get(address, "/readyz").await, (503, "the database is down\n".to_owned()));
        assert_eq!(get(address, "/healthz").await.0, 200);
        *probe.live.lock().unwrap() = Some("wedged".to_owned());
        assert_eq!(get(address, "/healthz").await, (503, "wedged\n".to_owned()));
        assert_eq!(get(address, "/status").await, (200, r#"{"role":"tester"}"#.to_owned()));
        let (status, text) = get(address, "/metrics").await;
        assert!(status == 200 && text.contains("tapekeeper_build{service=\"tester\"") && text.ends_with("# EOF\n"), "{text}");

        drained.trigger();
        server.await.unwrap().unwrap();
    }

    #[test]
    fn a_heart_that_stopped_is_noticed() {
        let heart = Heartbeat::new();
        assert_eq!(heart.check("the inserter", Duration::from_secs(1)), Ok(()));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(heart.check("the inserter", Duration::from_millis(5)), Err("the inserter made no progress for 0 s".to_owned()));
        heart.beat();
        assert_eq!(heart.check("the inserter", Duration::from_millis(15)), Ok(()));
    }
}
