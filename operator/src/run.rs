//! Runs the controllers of every kind until the shutdown.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tapekeeper_crds::conditions::READY;
use tapekeeper_crds::{ExchangeFeed, Pipeline, TickSink};
use tapekeeper_runtime::health::{self, Heartbeat};
use tapekeeper_runtime::shutdown::Shutdown;
use tokio::sync::mpsc;

use crate::conditions;
use crate::context::Context;
use crate::controller::{self, Reconciled, Scope};
use crate::health::{OperatorProbe, WatchHealth};
use crate::installation::{FIELD_MANAGER, Installation};
use crate::metrics::Metrics;
use crate::observer::Observer;

const POD: &str = "Pod";
/// What is watched.
const KINDS: &[&str] = &[Pipeline::KIND, ExchangeFeed::KIND, TickSink::KIND, POD];
const INVENTORY: Duration = Duration::from_secs(15);
/// Objects whose verdict changed and whose reconcile was not begun yet.
const TRIGGERS: usize = 1_024;
const WORKER_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the operator until SIGTERM.
///
/// # Errors
/// There is no cluster to talk to, the port is taken, or a controller ended by itself.
pub async fn run(installation: Installation, scopes: Vec<Scope>, http_port: u16) -> Result<(), String> {
    let shutdown = Shutdown::on_signals();
    let client = Client::try_default().await.map_err(|error| format!("can't reach the Kubernetes API: {error}"))?;
    let mut registry = tapekeeper_runtime::metrics::registry("tapekeeper-operator");
    let metrics = Arc::new(Metrics::register(&mut registry));
    let watches = WatchHealth::default();
    let heartbeat = Heartbeat::new();
    let recorder = Recorder::new(client.clone(), Reporter { controller: FIELD_MANAGER.to_owned(), instance: std::env::var("HOSTNAME").ok() });
    // Without a configuration of its own, reqwest looks for the host's root certificates, and an image from scratch has none.
    let tls = tapekeeper_runtime::tls::client_config(None).map_err(|error| error.to_string())?;
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
        .timeout(WORKER_TIMEOUT)
        .no_proxy()
        .build()
        .map_err(|error| error.to_string())?;

    let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
    let mut stores = Stores::default();
    for scope in &scopes {
        let (feed_queue, feed_names) = mpsc::channel(TRIGGERS);
        let (sink_queue, sink_names) = mpsc::channel(TRIGGERS);
        let (pods, pod_watch) = watch_pods(&client, scope, &watches, &metrics, &shutdown);
        tasks.push(pod_watch);
        let observer = Arc::new(Observer::new(vec![pods], http.clone(), feed_queue, sink_queue, Arc::clone(&metrics), heartbeat.clone()));
        let context = Arc::new(Context::new(client.clone(), installation.clone(), recorder.clone(), Arc::clone(&observer), Arc::clone(&metrics)));

        let (pipelines, pipeline_store) = controller::controller::<Pipeline>(&client, scope, &watches, &context);
        let (feeds, feed_store) = controller::controller::<ExchangeFeed>(&client, scope, &watches, &context);
        let (sinks, sink_store) = controller::controller::<TickSink>(&client, scope, &watches, &context);

        let feeds = controller::with_children(feeds, &client, scope).reconcile_on(controller::triggers::<ExchangeFeed>(feed_names));
        let feeds = with_pipelines(feeds, &client, scope, feed_store.clone(), |feed: &ExchangeFeed| feed.spec.pipeline_ref.name.as_str());
        let sinks = controller::with_children(sinks, &client, scope).reconcile_on(controller::triggers::<TickSink>(sink_names));
        let sinks = with_pipelines(sinks, &client, scope, sink_store.clone(), |sink: &TickSink| sink.spec.pipeline_ref.name.as_str());

        tasks.push(Box::pin(controller::run(pipelines, Arc::clone(&context), watches.clone(), shutdown.clone())));
        tasks.push(Box::pin(controller::run(feeds, Arc::clone(&context), watches.clone(), shutdown.clone())));
        tasks.push(Box::pin(controller::run(sinks, Arc::clone(&context), watches.clone(), shutdown.clone())));
        let until = shutdown.clone();
        tasks.push(Box::pin(async move { observer.run(until).await }));
        stores.add(pipeline_store, feed_store, sink_store);
    }
    let probe = Arc::new(OperatorProbe { watches: watches.clone(), observer: heartbeat, kinds: KINDS, scopes: scopes.len() });
    tasks.push(Box::pin(stores.count(Arc::clone(&metrics), watches, shutdown.clone())));

    let listener = health::listen(http_port).await.map_err(|error| format!("can't listen on port {http_port}: {error}"))?;
    let drained = Shutdown::new();
    let server = tokio::spawn(health::serve(listener, probe, Arc::new(registry), drained.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?scopes, image = installation.image, "the operator runs");

    let finished = until_finished(tasks, &shutdown).await;
    drained.trigger();
    drop(server.await);
    finished
}

/// Waits for every task to end after the shutdown. One that ends before ends the process, which Kubernetes then starts anew.
async fn until_finished(tasks: Vec<BoxFuture<'static, ()>>, shutdown: &Shutdown) -> Result<(), String> {
    let mut running: futures::stream::FuturesUnordered<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut finished = Ok(());
    while let Some(ended) = running.next().await {
        if ended.is_err() || !shutdown.is_triggered() {
            finished = Err("a controller ended by itself".to_owned());
            shutdown.trigger();
        }
    }
    finished
}

/// A store of the pods that the operator's Deployments made. It is how workers are found, and why they don't come up.
fn watch_pods(
    client: &Client,
    scope: &Scope,
    watches: &WatchHealth,
    metrics: &Arc<Metrics>,
    shutdown: &Shutdown,
) -> (Store<DeserializeGuard<Pod>>, BoxFuture<'static, ()>) {
    let (reader, writer) = reflector::store::<DeserializeGuard<Pod>>();
    let (watches, metrics) = (watches.clone(), Arc::clone(metrics));
    let stream = watcher::watcher(scope.api::<DeserializeGuard<Pod>>(client), controller::managed_config())
        .default_backoff()
        .modify(|pod| pod.managed_fields_mut().clear())
        .reflect(writer)
        .take_until(shutdown.triggered());
    let drive = stream.for_each(move |event| {
        match event {
            Ok(event) => {
                watches.succeeded(POD);
                if matches!(event, watcher::Event::InitDone) {
                    watches.listed(POD);
                }
            }
            Err(error) => {
                tracing::warn!(kind = POD, %error, "the watch broke off");
                metrics.watch_error(POD);
                watches.failed(POD);
            }
        }
        std::future::ready(())
    });
    (reader, Box::pin(drive))
}

/// Reconciles the objects that refer to a Pipeline when the Pipeline changes.
fn with_pipelines<K: Reconciled>(
    controller: Controller<DeserializeGuard<K>>,
    client: &Client,
    scope: &Scope,
    store: Store<DeserializeGuard<K>>,
    pipeline_of: fn(&K) -> &str,
) -> Controller<DeserializeGuard<K>> {
    controller.watches(scope.api::<DeserializeGuard<Pipeline>>(client), controller::watch_config(), move |pipeline| {
        let refers = |object: &K| object.namespace() == pipeline.namespace() && pipeline_of(object) == pipeline.name_any();
        let state = store.state();
        state.iter().filter(|object| object.0.as_ref().is_ok_and(refers)).map(|object| ObjectRef::from_obj(&**object)).collect::<Vec<_>>()
    })
}

/// Every store, to count what there is.
#[derive(Default)]
struct Stores {
    pipelines: Vec<Store<DeserializeGuard<Pipeline>>>,
    feeds: Vec<Store<DeserializeGuard<ExchangeFeed>>>,
    sinks: Vec<Store<DeserializeGuard<TickSink>>>,
}

impl Stores {
    fn add(
        &mut self,
        pipelines: Store<DeserializeGuard<Pipeline>>,
        feeds: Store<DeserializeGuard<ExchangeFeed>>,
        sinks: Store<DeserializeGuard<TickSink>>,
    ) {
        self.pipelines.push(pipelines);
        self.feeds.push(feeds);
        self.sinks.push(sinks);
    }

    async fn count(self, metrics: Arc<Metrics>, watches: WatchHealth, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(INVENTORY);
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                _ = ticks.tick() => {}
            }
            count(&self.pipelines, &metrics, &watches);
            count(&self.feeds, &metrics, &watches);
            count(&self.sinks, &metrics, &watches);
        }
    }
}

fn count<K: Reconciled>(stores: &[Store<DeserializeGuard<K>>], metrics: &Metrics, watches: &WatchHealth) {
    let (mut ready, mut not_ready) = (0, 0);
    for object in stores.iter().flat_map(Store::state) {
        let is_ready = object.0.as_ref().is_ok_and(|object| conditions::is_true(object.conditions(), READY));
        *(if is_ready { &mut ready } else { &mut not_ready }) += 1;
    }
    metrics.inventory(K::KIND, ready, not_ready);
    watches.counted(K::KIND, usize::try_from(ready + not_ready).unwrap_or_default());
}
