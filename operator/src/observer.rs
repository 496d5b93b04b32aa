//! Reads the `/status` of the workers' pods, every few seconds while an object is not ready and seldom at rest, and asks for a reconcile when the verdict on an object changes.
//! What it reads stays in memory: nothing is written here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use tapekeeper_contract::settings::{HTTP_PORT, ObjectName};
use tapekeeper_contract::status::WorkerStatus;
use tapekeeper_runtime::health::Heartbeat;
use tapekeeper_runtime::shutdown::Shutdown;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::workload::{Role, naming};

const TICK: Duration = Duration::from_secs(5);
const AT_REST: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pods are listed within this, or go on unlisted.
const LISTING: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 16;
/// A worker's answer is larger than this only when something is wrong with it.
const LARGEST_ANSWER: usize = 4 << 20;
/// An object that no reconcile asked about for so long is gone.
const FORGOTTEN: Duration = Duration::from_secs(1_200);

/// What is known of one worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its pod.
    pub pod: String,
    /// Its newest answer, and when it came.
    pub answer: Option<(Timestamp, WorkerStatus)>,
    /// Why the newest question was not answered.
    pub error: Option<String>,
}

/// What the reports mean, in a text that changes only when a reconcile has something to do.
pub type Verdict = Arc<dyn Fn(&[Report], Timestamp) -> String + Send + Sync>;
/// An object that has workers.
pub type Key = (Role, ObjectName);

struct Watched {
    verdict: Verdict,
    last_verdict: Option<String>,
    settled: bool,
    expected_at: Instant,
    polled_at: Option<Instant>,
    reports: BTreeMap<String, Report>,
}

/// See the module.
pub struct Observer {
    stores: Vec<Store<DeserializeGuard<Pod>>>,
    http: reqwest::Client,
    watched: Mutex<HashMap<Key, Watched>>,
    feeds: mpsc::Sender<ObjectName>,
    sinks: mpsc::Sender<ObjectName>,
    metrics: Arc<Metrics>,
    heartbeat: Heartbeat,
}

impl Observer {
    /// Watches nothing yet. What changed goes to `feeds` and `sinks`.
    #[must_use]
    pub fn new(
        stores: Vec<Store<DeserializeGuard<Pod>>>,
        http: reqwest::Client,
        feeds: mpsc::Sender<ObjectName>,
        sinks: mpsc::Sender<ObjectName>,
        metrics: Arc<Metrics>,
        heartbeat: Heartbeat,
    ) -> Self {
        Self { stores, http, watched: Mutex::default(), feeds, sinks, metrics, heartbeat }
    }

    /// From now on the workers of `key` are asked. `settled` says whether the object is as it should be, so that it is asked seldom; `acted_upon` is what the
    /// reconcile that calls this knew.
    pub fn expect(&self, key: Key, settled: bool, verdict: Verdict, acted_upon: &[Report], now: Timestamp) {
        let last_verdict = Some(verdict(acted_upon, now));
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = watched.entry(key).or_insert_with(|| Watched {
            verdict: Arc::clone(&verdict),
            last_verdict: None,
            settled,
            expected_at: Instant::now(),
            polled_at: None,
            reports: BTreeMap::new(),
        });
        entry.expected_at = Instant::now();
        entry.settled = settled;
        entry.last_verdict = last_verdict;
        for report in acted_upon {
            entry.reports.entry(report.pod.clone()).or_insert_with(|| report.clone());
        }
        entry.verdict = verdict;
    }

    /// The workers of `key` are not asked any more.
    pub fn forget(&self, key: &Key) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// What is known of the workers of `key`. Workers that were never asked are asked now: an operator that starts must not take running workers for silent ones.
    pub async fn reports(&self, key: &Key) -> Vec<Report> {
        let listed = futures::future::join_all(self.stores.iter().map(Store::wait_until_ready));
        if tokio::time::timeout(LISTING, listed).await.is_err() {
            tracing::warn!("the pods were not listed in time");
        }
        let known = self.known(key);
        if !known.is_empty() {
            return known;
        }
        let asked =
            self.addresses().remove(&label_key(key)).unwrap_or_default().into_iter().map(async |(pod, address)| match self.ask(&address).await {
                Ok(status) => Report { pod, answer: Some((Timestamp::now(), status)), error: None },
                Err(error) => Report { pod, answer: None, error: Some(error) },
            });
        futures::future::join_all(asked).await
    }

    fn known(&self, key: &Key) -> Vec<Report> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.get(key).map(|watched| watched.reports.values().cloned().collect()).unwrap_or_default()
    }

    /// The pods of `key` that are there.
    #[must_use]
    pub fn pods(&self, (role, owner): &Key) -> Vec<Pod> {
        let selector = naming::selector(*role, &owner.name);
        let is_theirs = |pod: &Pod| {
            pod.namespace().as_deref() == Some(owner.namespace.as_str()) && selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
        };
        self.stores.iter().flat_map(Store::state).filter_map(|pod| pod.0.as_ref().ok().filter(|pod| is_theirs(pod)).cloned()).collect()
    }

    /// Runs until the shutdown.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                _ = ticks.tick() => self.round().await,
            }
            self.heartbeat.beat();
        }
    }

    async fn round(&self) {
        let due = self.due(Instant::now());
        if due.is_empty() {
            return;
        }
        let addresses = self.addresses();
        let questions = due.into_iter().flat_map(|key| {
            let pods = addresses.get(&label_key(&key)).cloned().unwrap_or_default();
            let names: Vec<_> = pods.iter().map(|(pod, _)| pod.clone()).collect();
            self.retain(&key, &names);
            pods.into_iter().map(move |(pod, address)| (key.clone(), pod, address))
        });
        let questions: Vec<_> = questions.collect();
        futures::stream::iter(questions)
            .map(|(key, pod, address)| async move {
                let started = Instant::now();
                let answer = self.ask(&address).await;
                self.metrics.external("worker", started.elapsed(), answer.is_ok());
                (key, pod, answer)
            })
            .buffer_unordered(AT_ONCE)
            .for_each(|(key, pod, answer)| {
                self.remember(&key, pod, answer);
                std::future::ready(())
            })
            .await;
        self.judge();
    }

    fn due(&self, now: Instant) -> Vec<Key> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, entry| now.duration_since(entry.expected_at) < FORGOTTEN);
        let is_due =
            |entry: &Watched| entry.polled_at.is_none_or(|at| now.duration_since(at) + TICK / 2 >= if entry.settled { AT_REST } else { TICK });
        watched
            .iter_mut()
            .filter(|(_, entry)| is_due(entry))
            .map(|(key, entry)| {
                entry.polled_at = Some(now);
                key.clone()
            })
            .collect()
    }

    /// The running pods, by their namespace and the labels of their owner: names and addresses.
    fn addresses(&self) -> HashMap<OwnerLabels, Vec<(String, String)>> {
        let mut addresses: HashMap<OwnerLabels, Vec<_>> = HashMap::new();
        for pod in self.stores.iter().flat_map(Store::state) {
            let Ok(pod) = &pod.0 else { continue };
            let Some(address) = running_address(pod) else { continue };
            let labels = pod.labels().iter().filter(|(key, _)| naming::is_selecting(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
            addresses.entry((pod.namespace().unwrap_or_default(), labels)).or_default().push((pod.name_any(), address));
        }
        addresses
    }

    async fn ask(&self, address: &str) -> Result<WorkerStatus, String> {
        let question = async {
            let response = self.http.get(format!("http://{address}:{HTTP_PORT}/status")).send().await?.error_for_status()?;
            response.bytes().await
        };
        let body = tokio::time::timeout(TIMEOUT, question).await.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?;
        let body = body.map_err(|error| error.without_url().to_string())?;
        if body.len() > LARGEST_ANSWER {
            return Err(format!("an answer of {} bytes", body.len()));
        }
        serde_json::from_slice(&body).map_err(|error| format!("an answer that is not a status: {error}"))
    }

    fn retain(&self, key: &Key, pods: &[String]) {
        if let Some(entry) = self.watched.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            entry.reports.retain(|pod, _| pods.contains(pod));
        }
    }

    fn remember(&self, key: &Key, pod: String, answer: Result<WorkerStatus, String>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = watched.get_mut(key) else { return };
        let report = entry.reports.entry(pod.clone()).or_insert(Report { pod, answer: None, error: None });
        match answer {
            Ok(status) => (report.answer, report.error) = (Some((Timestamp::now(), status)), None),
            Err(error) => report.error = Some(error),
        }
    }

    /// Asks for a reconcile of each object whose verdict changed. When the queue is full, the next round asks again.
    fn judge(&self) {
        let now = Timestamp::now();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for ((role, owner), entry) in watched.iter_mut() {
            let reports: Vec<_> = entry.reports.values().cloned().collect();
            let verdict = (entry.verdict)(&reports, now);
            if entry.last_verdict.as_ref() == Some(&verdict) {
                continue;
            }
            let queue = match role {
                Role::Connector => &self.feeds,
                Role::Batcher => &self.sinks,
            };
            if queue.try_send(owner.clone()).is_ok() {
                tracing::debug!(%owner, verdict, "the verdict changed");
                entry.last_verdict = Some(verdict);
            }
        }
    }
}

/// A namespace, and the labels that select the pods of one object in it.
type OwnerLabels = (String, BTreeMap<String, String>);

fn label_key((role, owner): &Key) -> OwnerLabels {
    (owner.namespace.clone(), naming::selector(*role, &owner.name))
}

fn running_address(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let running = pod.metadata.deletion_timestamp.is_none() && status.phase.as_deref() == Some("Running");
    let address = status.pod_ip.clone().filter(|address| running && !address.is_empty())?;
    Some(if address.contains(':') { format!("[{address}]") } else { address })
}
