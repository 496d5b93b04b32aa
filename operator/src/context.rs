//! What every reconcile needs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kube::Client;
use kube::runtime::events::Recorder;
use rustls::ClientConfig;
use tapekeeper_runtime::credentials::Credentials;
use tapekeeper_runtime::tls;

use crate::blocker::Blocker;
use crate::installation::Installation;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::retry::Attempts;

/// What every reconcile needs.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// What the installation says about every worker.
    pub installation: Installation,
    /// Tells Events. One for all reconciles, so that repeated ones are counted instead of multiplied.
    pub recorder: Recorder,
    /// Knows what the workers say.
    pub observer: Arc<Observer>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Counts what did not settle.
    pub attempts: Attempts,
    /// Objects that this version can't read and that were told so, by uid and generation.
    unreadable: Mutex<HashSet<(String, i64)>>,
}

impl Context {
    /// A context.
    #[must_use]
    pub fn new(client: Client, installation: Installation, recorder: Recorder, observer: Arc<Observer>, metrics: Arc<Metrics>) -> Self {
        Self { client, installation, recorder, observer, metrics, attempts: Attempts::default(), unreadable: Mutex::default() }
    }

    /// The TLS settings to reach whom `credentials` name: the public authorities, the installation's and the Secret's own.
    ///
    /// # Errors
    /// A certificate that can't be read.
    pub fn tls(&self, credentials: &Credentials) -> Result<Arc<ClientConfig>, Blocker> {
        let extra = tls::join_pem(self.installation.extra_ca.as_deref(), credentials.ca_pem.as_deref());
        tls::client_config(extra.as_deref()).map_err(|error| Blocker::permanent(error.reason(), error.to_string()))
    }

    /// Times a question to something outside of Kubernetes.
    ///
    /// # Errors
    /// Those of the question.
    pub async fn timed<T, E>(&self, target: &'static str, question: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let started = Instant::now();
        let answer = question.await;
        self.metrics.external(target, started.elapsed(), answer.is_ok());
        answer
    }

    /// Whether an object that this version can't read is told so for the first time.
    #[must_use]
    pub fn is_first_time_unreadable(&self, uid: &str, generation: i64) -> bool {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).insert((uid.to_owned(), generation))
    }
}
