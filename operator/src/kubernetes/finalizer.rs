//! The finalizer: only on objects that have something outside of Kubernetes to release, and never for longer than its deadline.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tapekeeper_crds::workload::DeletionPolicy;

use crate::error::Error;
use crate::installation::FIELD_MANAGER;

/// The finalizer's name.
pub const NAME: &str = "tapekeeper.dev/release";
/// How long after the deletion the operator tries to release. Then it lets go.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// What is to be done about the finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: reconcile as usual.
    Reconcile,
    /// Put it on, then reconcile.
    Add,
    /// Take it off: the policy changed, or there is nothing to release.
    Remove,
    /// The object is being deleted: release what it has outside, then take it off.
    Release {
        /// The deadline has passed: take it off even if the release fails.
        overdue: bool,
    },
    /// The object is being deleted and is none of our business any more.
    Ignore,
}

/// What is to be done about the finalizer of an object.
#[must_use]
pub fn step(present: bool, deleted_at: Option<Timestamp>, policy: DeletionPolicy, now: Timestamp) -> Step {
    match (present, deleted_at, policy) {
        (true, Some(_), DeletionPolicy::Retain) | (true, None, DeletionPolicy::Retain) => Step::Remove,
        (true, Some(at), DeletionPolicy::Delete) => {
            Step::Release { overdue: Duration::try_from(now.duration_since(at)).unwrap_or_default() >= DEADLINE }
        }
        (false, Some(_), _) => Step::Ignore,
        (false, None, DeletionPolicy::Delete) => Step::Add,
        _ => Step::Reconcile,
    }
}

/// Whether the object carries the finalizer.
#[must_use]
pub fn is_present<K: Resource>(object: &K) -> bool {
    object.finalizers().iter().any(|name| name == NAME)
}

/// Puts the finalizer on or takes it off, and leaves those of others alone.
///
/// # Errors
/// [`Error::Kubernetes`] when somebody else changed the object at the same time, or the API server refuses or does not answer.
pub async fn set<K>(client: &Client, object: &K, present: bool) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut finalizers: Vec<_> = object.finalizers().iter().filter(|name| *name != NAME).cloned().collect();
    if present {
        finalizers.push(NAME.to_owned());
    }
    // The resource version makes the API server refuse when the list was changed meanwhile.
    let patch = json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": finalizers } });
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let api: Api<DeserializeGuard<K>> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    match api.patch(&object.name_any(), &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::kubernetes("change the finalizer")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeletionPolicy::{Delete, Retain};

    #[test]
    fn the_finalizer_follows_the_policy_and_has_a_deadline() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (present, deleted_at, policy, expected) in [
            (false, None, Retain, Step::Reconcile),
            (false, None, Delete, Step::Add),
            (true, None, Delete, Step::Reconcile),
            (true, None, Retain, Step::Remove),
            (true, Some(at(0)), Retain, Step::Remove),
            (true, Some(at(0)), Delete, Step::Release { overdue: true }),
            (true, Some(at(900)), Delete, Step::Release { overdue: false }),
            (false, Some(at(0)), Delete, Step::Ignore),
            (false, Some(at(0)), Retain, Step::Ignore),
        ] {
            assert_eq!(step(present, deleted_at, policy, at(1_000)), expected, "{present} {deleted_at:?} {policy:?}");
        }
    }
}
