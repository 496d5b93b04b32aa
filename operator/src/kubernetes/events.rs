//! Events, on transitions only.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder};
use tapekeeper_crds::conditions::{PAUSED, READY, STALLED};

use crate::conditions::{find, is_true};

/// An Event's text can't be longer than this.
const LONGEST_NOTE: usize = 1_000;

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// It needs somebody's attention.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

/// What the step from one list of conditions to the next is worth telling: the change of Ready's status or reason.
#[must_use]
pub fn transition(old: &[Condition], new: &[Condition]) -> Option<Happened> {
    let ready = find(new, READY)?;
    let before = find(old, READY);
    if before.is_some_and(|before| before.status == ready.status && before.reason == ready.reason) {
        return None;
    }
    let was_ready = before.is_some_and(|before| before.status == "True");
    // Pods that start, drain or are asked for the first time are on their way, and nobody need look.
    let on_its_way = is_true(new, PAUSED) || matches!(ready.reason.as_str(), "Pausing" | "PodsStarting") || ready.reason.starts_with("Awaiting");
    let warning = ready.status != "True" && !on_its_way && (was_ready || is_true(new, STALLED));
    Some(Happened { warning, reason: ready.reason.clone(), note: ready.message.clone() })
}

/// Tells it. An Event that can't be written is a line in the log and nothing more.
pub async fn publish(recorder: &Recorder, object: &ObjectReference, happened: &Happened) {
    let event = Event {
        type_: if happened.warning { EventType::Warning } else { EventType::Normal },
        reason: happened.reason.clone(),
        note: Some(happened.note.chars().take(LONGEST_NOTE).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, object).await {
        tracing::warn!(%error, reason = happened.reason, "can't publish an Event");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::{Finding, merge};
    use jiff::Timestamp;

    fn ready(findings: &[Finding]) -> Vec<Condition> {
        merge(&[], findings, None, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_event_tells_of_a_transition_and_is_silent_otherwise() {
        let starting = ready(&[Finding::fails(READY, "Starting", "pods start")]);
        let running = ready(&[Finding::holds(READY, "Ready", "all is well")]);
        let broken = ready(&[Finding::fails(READY, "NoRecentTick", "silence")]);
        assert_eq!(transition(&[], &starting), Some(Happened { warning: false, reason: "Starting".into(), note: "pods start".into() }));
        assert_eq!(transition(&starting, &running), Some(Happened { warning: false, reason: "Ready".into(), note: "all is well".into() }));
        assert_eq!(transition(&running, &broken), Some(Happened { warning: true, reason: "NoRecentTick".into(), note: "silence".into() }));
        assert_eq!(transition(&running, &ready(&[Finding::fails(READY, "PodsStarting", "new pods")])).map(|happened| happened.warning), Some(false));
        assert_eq!(transition(&running, &running), None);
    }
}
