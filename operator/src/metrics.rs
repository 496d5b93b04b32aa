//! The operator's own metrics.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Managed {
    kind: &'static str,
    ready: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    target: &'static str,
    outcome: &'static str,
}

/// The metrics. Cloning is cheap and shares them.
#[derive(Clone)]
pub struct Metrics {
    reconciliations: Family<Reconciled, Counter>,
    errors: Family<Reconciled, Counter>,
    durations: Family<OfKind, Histogram>,
    managed: Family<Managed, Gauge>,
    external: Family<Asked, Histogram>,
    watch_errors: Family<OfKind, Counter>,
    status_writes: Family<OfKind, Counter>,
}

fn seconds() -> Histogram {
    Histogram::new([0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Metrics {
    /// Registers the metrics.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciliations: Family::default(),
            errors: Family::default(),
            durations: Family::new_with_constructor(seconds),
            managed: Family::default(),
            external: Family::new_with_constructor(seconds),
            watch_errors: Family::default(),
            status_writes: Family::default(),
        };
        registry.register("operator_reconciliations", "Reconciles that ran to their end, by what Ready says", metrics.reconciliations.clone());
        registry.register("operator_reconcile_errors", "Reconciles that broke off", metrics.errors.clone());
        registry.register_with_unit("operator_reconcile_duration", "How long a reconcile took", Unit::Seconds, metrics.durations.clone());
        registry.register("operator_managed_objects", "Objects, by what Ready says", metrics.managed.clone());
        registry.register_with_unit(
            "operator_external_request_duration",
            "How long brokers, databases and workers took to answer",
            Unit::Seconds,
            metrics.external.clone(),
        );
        registry.register("operator_watch_errors", "Watches that broke off and were begun anew", metrics.watch_errors.clone());
        registry.register("operator_status_writes", "Statuses that were written", metrics.status_writes.clone());
        metrics
    }

    /// A reconcile ran to its end.
    pub fn reconciled(&self, kind: &'static str, reason: &'static str, took: Duration) {
        self.reconciliations.get_or_create(&Reconciled { kind, reason }).inc();
        self.durations.get_or_create(&OfKind { kind }).observe(took.as_secs_f64());
    }

    /// A reconcile broke off.
    pub fn failed(&self, kind: &'static str, reason: &'static str) {
        self.errors.get_or_create(&Reconciled { kind, reason }).inc();
    }

    /// A broker, a database or a worker was asked.
    pub fn external(&self, target: &'static str, took: Duration, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.external.get_or_create(&Asked { target, outcome }).observe(took.as_secs_f64());
    }

    /// So many objects of a kind are ready, not ready, or unknown.
    pub fn inventory(&self, kind: &'static str, ready: i64, not_ready: i64) {
        self.managed.get_or_create(&Managed { kind, ready: "true" }).set(ready);
        self.managed.get_or_create(&Managed { kind, ready: "false" }).set(not_ready);
    }

    /// A watch broke off.
    pub fn watch_error(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&OfKind { kind }).inc();
    }

    /// A status was written.
    pub fn status_written(&self, kind: &'static str) {
        self.status_writes.get_or_create(&OfKind { kind }).inc();
    }
}
