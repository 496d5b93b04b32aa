//! What a worker's Deployment and pods say: pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tapekeeper_crds::conditions::{PAUSED, WORKLOAD_AVAILABLE};

use super::apply::Outcome;
use crate::conditions::Finding;

/// WorkloadAvailable and Paused.
#[must_use]
pub fn findings(outcome: &Outcome, pods: &[Pod], paused: bool) -> [Finding; 2] {
    [available(outcome, pods, paused), pause(outcome, pods, paused)]
}

fn available(outcome: &Outcome, pods: &[Pod], paused: bool) -> Finding {
    let deployment = match outcome {
        Outcome::Refused(blocker) | Outcome::Waiting(blocker) => return Finding::blocked(WORKLOAD_AVAILABLE, blocker),
        _ if paused => return Finding::fails(WORKLOAD_AVAILABLE, "Paused", "spec.state is Paused"),
        Outcome::Kept(None) => return Finding::fails(WORKLOAD_AVAILABLE, "NotStarted", "there are no pods yet"),
        Outcome::Applied(deployment) | Outcome::Kept(Some(deployment)) => deployment,
    };
    let (wanted, available) = (replicas_wanted(deployment), replicas_available(deployment));
    if is_rolled_out(deployment) && available >= wanted {
        return Finding::holds(WORKLOAD_AVAILABLE, "Available", format!("{available} of {wanted} pods are available"));
    }
    if let Some((reason, message)) = pods.iter().find_map(trouble) {
        return Finding::fails(WORKLOAD_AVAILABLE, "PodsFailing", format!("{reason}: {message}"));
    }
    let message = if available >= wanted {
        "the pods are being replaced by new ones".to_owned()
    } else {
        format!("{available} of {wanted} pods are available")
    };
    Finding::fails(WORKLOAD_AVAILABLE, "PodsStarting", message)
}

fn pause(outcome: &Outcome, pods: &[Pod], paused: bool) -> Finding {
    if !paused {
        return Finding::fails(PAUSED, "Running", "");
    }
    let left = match outcome {
        Outcome::Applied(deployment) | Outcome::Kept(Some(deployment)) => deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0),
        _ => 0,
    };
    if left > 0 || !pods.is_empty() {
        return Finding::fails(PAUSED, "Pausing", "the pods drain and stop");
    }
    Finding::holds(PAUSED, "Paused", "spec.state is Paused, and no pod is left")
}

/// Pods that the Deployment should have.
#[must_use]
pub fn replicas_wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn replicas_available(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Whether the Deployment controller has seen the newest template, and every pod is of it.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let observed = status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0);
    observed && status.updated_replicas.unwrap_or(0) >= replicas_wanted(deployment)
}

/// Why a pod does not come up, when its container says so.
fn trouble(pod: &Pod) -> Option<(String, String)> {
    const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
    let statuses: &[ContainerStatus] = pod.status.as_ref()?.container_statuses.as_deref().unwrap_or_default();
    statuses.iter().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone().filter(|reason| !PASSING.contains(&reason.as_str()))?;
        let last_words = container.last_state.as_ref().and_then(|state| state.terminated.as_ref()).and_then(|terminated| terminated.message.clone());
        Some((reason, last_words.or_else(|| waiting.message.clone()).unwrap_or_default().trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocker::Blocker;
    use crate::conditions::Truth;
    use serde_json::json;

    fn deployment(wanted: i32, available: i32, observed: i64) -> Box<Deployment> {
        Box::new(
            serde_json::from_value(json!({
                "metadata": { "name": "binance-connector", "generation": 2 },
                "spec": { "replicas": wanted, "selector": {}, "template": {} },
                "status": { "observedGeneration": observed, "replicas": available, "updatedReplicas": available, "availableReplicas": available }
            }))
            .unwrap(),
        )
    }

    fn verdict(outcome: &Outcome, pods: &[Pod], paused: bool) -> [(Truth, &'static str); 2] {
        findings(outcome, pods, paused).map(|finding| (finding.truth, finding.reason))
    }

    #[test]
    fn a_workload_is_available_once_the_newest_template_is_rolled_out() {
        assert_eq!(verdict(&Outcome::Applied(deployment(1, 1, 2)), &[], false), [(Truth::True, "Available"), (Truth::False, "Running")]);
        assert_eq!(verdict(&Outcome::Applied(deployment(1, 1, 1)), &[], false)[0], (Truth::False, "PodsStarting"));
        assert_eq!(verdict(&Outcome::Applied(deployment(2, 1, 2)), &[], false)[0], (Truth::False, "PodsStarting"));
    }

    #[test]
    fn a_pause_is_over_when_the_last_pod_is_gone() {
        assert_eq!(verdict(&Outcome::Applied(deployment(0, 1, 2)), &[], true), [(Truth::False, "Paused"), (Truth::False, "Pausing")]);
        assert_eq!(verdict(&Outcome::Applied(deployment(0, 0, 2)), &[Pod::default()], true)[1], (Truth::False, "Pausing"));
        assert_eq!(verdict(&Outcome::Applied(deployment(0, 0, 2)), &[], true), [(Truth::False, "Paused"), (Truth::True, "Paused")]);
    }

    #[test]
    fn a_pod_that_does_not_come_up_says_why() {
        let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "status": { "containerStatuses": [{
            "name": "connector", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } },
            "lastState": { "terminated": { "exitCode": 1, "message": "FORBIDDEN: endpoint: …\n" } } }] } }))
        .unwrap();
        let [available, _] = findings(&Outcome::Applied(deployment(1, 0, 2)), &[pod], false);
        assert_eq!((available.reason, available.message.as_str()), ("PodsFailing", "CrashLoopBackOff: FORBIDDEN: endpoint: …"));
    }

    #[test]
    fn a_name_conflict_is_told_as_it_is() {
        let conflict = Blocker::permanent("NameConflict", "Deployment x exists");
        assert_eq!(findings(&Outcome::Refused(conflict.clone()), &[], false)[0], Finding::blocked(WORKLOAD_AVAILABLE, &conflict));
    }
}
