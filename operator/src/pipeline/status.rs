//! Status (pure): what the broker said becomes conditions and figures, and only what is worth it is written.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tapekeeper_crds::conditions::TOPOLOGY_READY;
use tapekeeper_crds::pipeline::{PipelineStatus, QueueStatus};

use super::apply::Applied;
use crate::conditions::{self, Finding, whole_seconds};
use crate::external::broker::BrokerFigures;
use crate::snapshot::{self, Figure};

/// TopologyReady.
#[must_use]
pub fn topology(applied: Option<&Applied>) -> Finding {
    match applied.map(|applied| &applied.topology) {
        None => Finding::unknown(TOPOLOGY_READY, "NotChecked", "the broker was not asked, because a reference is missing or the spec is not valid"),
        Some(Err(blocker)) => Finding::blocked(TOPOLOGY_READY, blocker),
        Some(Ok(report)) if !report.intruders.is_empty() => Finding::fails(
            TOPOLOGY_READY,
            "ForeignBindings",
            format!("bindings of others take ticks away from the shards; remove them: {}", report.intruders.join(", ")),
        ),
        Some(Ok(_)) => Finding::holds(TOPOLOGY_READY, "Declared", "exchanges, queues, streams and bindings are as the spec says"),
    }
}

/// What is to be done about the status.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The findings with their summary.
    pub findings: Vec<Finding>,
    /// The status as it should be.
    pub status: PipelineStatus,
    /// Whether it is worth a write.
    pub write: bool,
    /// When the snapshot may be replaced by a settled one.
    pub settles_in: Option<Duration>,
}

/// Decides about the status.
#[must_use]
pub fn decide(old: &PipelineStatus, mut findings: Vec<Finding>, applied: Option<&Applied>, generation: Option<i64>, now: Timestamp) -> Decision {
    findings.push(topology(applied));
    let findings = conditions::summarise(findings, &[]);
    let conditions = conditions::merge(&old.conditions, &findings, generation, now);
    let changed = old.observed_generation != generation || !conditions::equal_but_for_time(&old.conditions, &conditions);
    let figures = applied.and_then(|applied| applied.figures.as_ref()).map(figures).unwrap_or_default();
    let status = PipelineStatus { observed_generation: generation, conditions, observed_at: Some(Time(whole_seconds(now))), ..figures };
    let taken = conditions::taken(old.observed_at.as_ref(), &old.conditions);
    let write = changed || snapshot::is_outdated(taken, &moved(old, &status), now);
    let (status, taken) = if write {
        let taken = conditions::taken(status.observed_at.as_ref(), &status.conditions);
        (status, taken)
    } else {
        (old.clone(), taken)
    };
    Decision { findings, status, write, settles_in: snapshot::settles_in(taken, now) }
}

fn moved(old: &PipelineStatus, new: &PipelineStatus) -> [Figure; 4] {
    let consumers = |status: &PipelineStatus| Some(status.queues.iter().map(|queue| i64::from(queue.consumers)).sum());
    [
        Figure::Total(old.queued, new.queued),
        Figure::Total(old.dead_letters, new.dead_letters),
        Figure::Total(old.unrouted, new.unrouted),
        Figure::Count(consumers(old), consumers(new)),
    ]
}

fn figures(figures: &BrokerFigures) -> PipelineStatus {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let queues: Vec<_> = figures
        .queues
        .iter()
        .map(|queue| QueueStatus {
            name: queue.name.clone(),
            messages: number(queue.ready + queue.unacknowledged),
            consumers: i32::try_from(queue.consumers).unwrap_or(i32::MAX),
        })
        .collect();
    PipelineStatus {
        queued: Some(queues.iter().map(|queue| queue.messages).sum()),
        queues,
        dead_letters: Some(number(figures.dead_letters)),
        unrouted: Some(number(figures.unrouted)),
        ..PipelineStatus::default()
    }
}
