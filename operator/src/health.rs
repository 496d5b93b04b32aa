//! Whether the operator makes progress: its liveness hangs on the watches and on the reconciles, not on the process being there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tapekeeper_runtime::health::{Heartbeat, Probe};

/// A watch that has been failing for so long will not come back by itself.
const BROKEN: Duration = Duration::from_secs(600);
/// Every object is reconciled at least every five minutes, so with objects there, silence of three times that is a standstill.
const STANDSTILL: Duration = Duration::from_secs(900);
/// The observer goes round every few seconds, and no question takes long.
const OBSERVER: Duration = Duration::from_secs(300);

#[derive(Debug, Default, Clone, Copy)]
struct Watch {
    failing_since: Option<Instant>,
    reconciled_at: Option<Instant>,
    objects: usize,
    listed: usize,
}

/// What is known of the watches. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct WatchHealth(Arc<Mutex<HashMap<&'static str, Watch>>>);

impl WatchHealth {
    fn update(&self, kind: &'static str, change: impl FnOnce(&mut Watch)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default());
    }

    /// Something came through the watch.
    pub fn succeeded(&self, kind: &'static str) {
        self.update(kind, |watch| watch.failing_since = None);
    }

    /// A watch of the kind has listed what there is for the first time, or again.
    pub fn listed(&self, kind: &'static str) {
        self.update(kind, |watch| watch.listed += 1);
    }

    /// Whether every kind of `kinds` was listed by as many watches as there are `scopes`.
    ///
    /// It is counted here because a store of kube wakes only one of those who wait for it, and its controller already does.
    #[must_use]
    pub fn all_listed(&self, kinds: &[&'static str], scopes: usize) -> bool {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().all(|kind| watches.get(kind).is_some_and(|watch| watch.listed >= scopes))
    }

    /// The watch broke off.
    pub fn failed(&self, kind: &'static str) {
        self.update(kind, |watch| watch.failing_since = Some(watch.failing_since.unwrap_or_else(Instant::now)));
    }

    /// A reconcile ended, one way or the other.
    pub fn reconciled(&self, kind: &'static str) {
        self.update(kind, |watch| watch.reconciled_at = Some(Instant::now()));
    }

    /// So many objects there are.
    pub fn counted(&self, kind: &'static str, objects: usize) {
        self.update(kind, |watch| {
            if watch.objects == 0 {
                // The clock starts when there is something to reconcile.
                watch.reconciled_at = Some(Instant::now());
            }
            watch.objects = objects;
        });
    }

    /// # Errors
    /// The watch or the controller that does not get on.
    pub fn check(&self, now: Instant) -> Result<(), String> {
        for (kind, watch) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(since) = watch.failing_since.filter(|since| now.duration_since(*since) > BROKEN) {
                return Err(format!("the watch of {kind} has been failing for {} s", now.duration_since(since).as_secs()));
            }
            if let Some(at) = watch.reconciled_at.filter(|at| watch.objects > 0 && now.duration_since(*at) > STANDSTILL) {
                return Err(format!("no {kind} was reconciled for {} s", now.duration_since(at).as_secs()));
            }
        }
        Ok(())
    }
}

/// What `/healthz`, `/readyz` and `/status` say.
pub struct OperatorProbe {
    /// The watches.
    pub watches: WatchHealth,
    /// The observer's rounds.
    pub observer: Heartbeat,
    /// The kinds that are watched.
    pub kinds: &'static [&'static str],
    /// How many scopes each of them is watched in.
    pub scopes: usize,
}

impl OperatorProbe {
    fn synced(&self) -> bool {
        self.watches.all_listed(self.kinds, self.scopes)
    }
}

impl Probe for OperatorProbe {
    fn live(&self) -> Result<(), String> {
        self.observer.check("the observer", OBSERVER)?;
        self.watches.check(Instant::now())
    }

    fn ready(&self) -> Result<(), String> {
        if self.synced() { Ok(()) } else { Err("the watches have not listed everything yet".to_owned()) }
    }

    fn status(&self) -> Value {
        let synced = self.synced();
        let watches = self.watches.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds: serde_json::Map<_, _> = watches
            .iter()
            .map(|(kind, watch)| ((*kind).to_owned(), json!({ "objects": watch.objects, "watching": watch.failing_since.is_none() })))
            .collect();
        json!({ "role": "operator", "synced": synced, "kinds": kinds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_ready_when_every_kind_was_listed_in_every_scope() {
        let (health, kinds) = (WatchHealth::default(), ["Pipeline", "Pod"]);
        health.listed("Pipeline");
        assert!(!health.all_listed(&kinds, 1));
        health.listed("Pod");
        assert!(health.all_listed(&kinds, 1));
        assert!(!health.all_listed(&kinds, 2));
    }

    #[test]
    fn a_watch_that_fails_for_long_or_a_controller_at_a_standstill_is_not_alive() {
        let later = Instant::now() + Duration::from_secs(1_000);
        let health = WatchHealth::default();
        health.counted("Pipeline", 0);
        assert_eq!(health.check(later), Ok(()));
        health.failed("Pipeline");
        assert!(health.check(later).unwrap_err().starts_with("the watch of Pipeline has been failing"));
        health.succeeded("Pipeline");
        assert_eq!(health.check(later), Ok(()));
        health.counted("Pipeline", 1);
        assert!(health.check(later).unwrap_err().starts_with("no Pipeline was reconciled"));
    }
}
