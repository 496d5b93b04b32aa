//! What the controllers of all kinds share: the watch, what triggers a reconcile, and what follows from how it ended.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_crds::conditions::SPEC_VALID;
use tapekeeper_runtime::shutdown::Shutdown;

use crate::blocker::Blocker;
use crate::conditions::{self, Finding};
use crate::context::Context;
use crate::error::Error;
use crate::health::WatchHealth;
use crate::kubernetes::apply;
use crate::kubernetes::events::{self, Happened};
use crate::retry::{self, Ending};
use crate::workload::naming::MANAGED_BY;

/// Ends a watch after so long, so that a connection that died silently is noticed. Below the idle limits of common load balancers.
const WATCH_SECONDS: u32 = 200;
const AT_ONCE: u16 = 16;
/// Changes that come in such quick succession are one.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// A kind that the operator reconciles.
pub trait Reconciled:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Its name in metrics and logs.
    const KIND: &'static str;

    /// Brings what is there to what the spec says, as far as it can.
    fn reconcile(object: Arc<Self>, context: Arc<Context>) -> impl Future<Output = Result<Progress, Error>> + Send;

    /// Forgets what is kept in memory about an object that is gone.
    fn forget(object: &ObjectName, context: &Context);

    /// Its conditions.
    fn conditions(&self) -> &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition];
}

/// How far a reconcile came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How it ended.
    pub ending: Ending,
    /// What Ready says.
    pub reason: &'static str,
    /// Look again no later than this.
    pub within: Option<Duration>,
}

/// A namespace, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    Cluster,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// The API of a kind in this scope.
    #[must_use]
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::Cluster => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// How every watch is made.
#[must_use]
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// How a watch of what the operator itself made is made: it sees nothing else.
#[must_use]
pub fn managed_config() -> watcher::Config {
    watch_config().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1))
}

/// Whether the object is being deleted. Sources disagree whether a deletion raises the generation, so nothing here relies upon it.
fn deletion<K: Resource>(object: &K) -> Option<u64> {
    object.meta().deletion_timestamp.as_ref().map(|time| time.0.as_second().unsigned_abs())
}

/// A controller of a kind, with its store. Its own status writes do not trigger it.
pub fn controller<K: Reconciled>(
    client: &Client,
    scope: &Scope,
    health: &WatchHealth,
    context: &Arc<Context>,
) -> (Controller<DeserializeGuard<K>>, Store<DeserializeGuard<K>>) {
    let (reader, writer) = reflector::store::<DeserializeGuard<K>>();
    let (health, metrics) = (health.clone(), Arc::clone(&context.metrics));
    let forgetting = Arc::clone(context);
    let stream = watcher::watcher(scope.api::<DeserializeGuard<K>>(client), watch_config())
        .default_backoff()
        .inspect(move |event| match event {
            Ok(watcher::Event::Delete(object)) => {
                health.succeeded(K::KIND);
                let name = name_of(object);
                forgetting.attempts.forget(&attempts_key::<K>(&name));
                K::forget(&name, &forgetting);
            }
            Ok(watcher::Event::InitDone) => {
                health.succeeded(K::KIND);
                health.listed(K::KIND);
            }
            Ok(_) => health.succeeded(K::KIND),
            Err(error) => {
                tracing::warn!(kind = K::KIND, %error, "the watch broke off");
                metrics.watch_error(K::KIND);
                health.failed(K::KIND);
            }
        })
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation.combine(predicates::finalizers).combine(deletion), PredicateConfig::default());
    let controller = Controller::for_stream(stream, reader.clone()).with_config(Config::default().concurrency(AT_ONCE).debounce(DEBOUNCE));
    (controller, reader)
}

/// The controller, triggered by its children as well.
pub fn with_children<K: Reconciled>(controller: Controller<DeserializeGuard<K>>, client: &Client, scope: &Scope) -> Controller<DeserializeGuard<K>> {
    controller
        .owns(scope.api::<DeserializeGuard<Deployment>>(client), managed_config())
        .owns(scope.api::<DeserializeGuard<ConfigMap>>(client), managed_config())
}

/// The objects that a queue of names asks for.
pub fn triggers<K: Reconciled>(names: tokio::sync::mpsc::Receiver<ObjectName>) -> impl Stream<Item = ObjectRef<DeserializeGuard<K>>> {
    futures::stream::unfold(names, |mut names| async { names.recv().await.map(|name| (ObjectRef::new(&name.name).within(&name.namespace), names)) })
}

/// Runs a controller until the shutdown; reconciles that are under way are finished.
pub async fn run<K: Reconciled>(controller: Controller<DeserializeGuard<K>>, context: Arc<Context>, health: WatchHealth, shutdown: Shutdown) {
    controller
        .graceful_shutdown_on(shutdown.triggered())
        .run(reconcile::<K>, |object, error, context| after_error::<K>(&object, error, &context), context)
        .for_each(|result| {
            health.reconciled(K::KIND);
            if let Err(error) = result {
                tracing::debug!(kind = K::KIND, %error, "a reconcile did not run to its end");
            }
            std::future::ready(())
        })
        .await;
}

async fn reconcile<K: Reconciled>(object: Arc<DeserializeGuard<K>>, context: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let name = name_of(&*object);
    let progress = match &object.0 {
        Ok(object) => K::reconcile(Arc::new(object.clone()), Arc::clone(&context)).await?,
        Err(invalid) => unreadable::<K>(&name, invalid, &context).await?,
    };
    context.metrics.reconciled(K::KIND, progress.reason, started.elapsed());
    let attempts = context.attempts.note(&attempts_key::<K>(&name), object.meta().generation, progress.ending);
    let mut next = retry::next(progress.ending, attempts, rand::random());
    if let Some(within) = progress.within {
        next = next.min(within);
    }
    tracing::debug!(kind = K::KIND, %name, reason = progress.reason, next_s = next.as_secs(), "reconciled");
    Ok(Action::requeue(next))
}

fn after_error<K: Reconciled>(object: &DeserializeGuard<K>, error: &Error, context: &Context) -> Action {
    let name = name_of(object);
    context.metrics.failed(K::KIND, error.reason());
    tracing::warn!(kind = K::KIND, %name, reason = error.reason(), %error, "the reconcile broke off");
    if error.is_permanent() {
        return Action::requeue(retry::next(Ending::Stalled, 0, rand::random()));
    }
    let attempts = context.attempts.note(&attempts_key::<K>(&name), object.meta().generation, Ending::Failed);
    Action::requeue(retry::next(Ending::Failed, attempts, rand::random()))
}

/// Says of an object that this version can't read that its spec is not valid. Nothing else of it is touched.
async fn unreadable<K: Reconciled>(
    name: &ObjectName,
    invalid: &kube::core::error_boundary::InvalidObject,
    context: &Context,
) -> Result<Progress, Error> {
    let generation = invalid.metadata.generation;
    if context.is_first_time_unreadable(invalid.metadata.uid.as_deref().unwrap_or_default(), generation.unwrap_or(0)) {
        let blocker = Blocker::permanent("InvalidSpec", format!("the spec can't be read: {}", invalid.error));
        let findings = conditions::summarise(vec![Finding::blocked(SPEC_VALID, &blocker)], &[]);
        let conditions = conditions::merge(&[], &findings, generation, Timestamp::now());
        let status = serde_json::json!({ "observedGeneration": generation, "conditions": conditions });
        apply::status::<K>(&context.client, name, &status).await?;
        context.metrics.status_written(K::KIND);
    }
    Ok(Progress { ending: Ending::Stalled, reason: "InvalidSpec", within: None })
}

/// Writes a status, and tells the Event of its transition.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server refuses or does not answer.
pub async fn write_status<K: Reconciled>(
    object: &K,
    status: &impl Serialize,
    new: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    context: &Context,
) -> Result<(), Error> {
    apply::status::<K>(&context.client, &object_name(object), status).await?;
    context.metrics.status_written(K::KIND);
    if let Some(happened) = events::transition(object.conditions(), new) {
        tracing::info!(kind = K::KIND, name = %object_name(object), reason = happened.reason, message = happened.note, "Ready changed");
        tell(object, &happened, context).await;
    }
    Ok(())
}

/// Tells an Event about an object.
pub async fn tell<K: Reconciled>(object: &K, happened: &Happened, context: &Context) {
    events::publish(&context.recorder, &object.object_ref(&()), happened).await;
}

/// How a reconcile ended, from its findings.
#[must_use]
pub fn progress(findings: &[Finding], within: Option<Duration>) -> Progress {
    use tapekeeper_crds::conditions::{PAUSED, READY, STALLED};
    let is = |condition: &str| findings.iter().any(|finding| finding.condition == condition && finding.truth == conditions::Truth::True);
    let reason = findings.iter().find(|finding| finding.condition == READY).map_or("Unknown", |finding| finding.reason);
    let ending = if is(STALLED) {
        Ending::Stalled
    } else if is(READY) || (is(PAUSED) && reason == "Paused") {
        Ending::Settled
    } else {
        Ending::Waiting
    };
    Progress { ending, reason, within }
}

/// The namespaced name of an object.
#[must_use]
pub fn object_name<K: Resource>(object: &K) -> ObjectName {
    name_of(object)
}

fn name_of<K: Resource>(object: &K) -> ObjectName {
    ObjectName { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

fn attempts_key<K: Reconciled>(name: &ObjectName) -> String {
    format!("{}/{name}", K::KIND)
}
