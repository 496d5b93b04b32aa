//! Status (pure): what the database and the batchers said becomes conditions and figures, and only what is worth it is written.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tapekeeper_contract::status::{BatcherStatus, WorkerStatus};
use tapekeeper_crds::TickSink;
use tapekeeper_crds::conditions::{DATA_FLOWING, SCHEMA_READY};
use tapekeeper_crds::sink::{TableStatus, TickSinkStatus};

use super::apply::Applied;
use crate::conditions::{self, Finding, whole_seconds};
use crate::observer::Report;
use crate::snapshot::{self, Figure};
use crate::workload::{Outcome, Role, naming};

/// An answer older than this says nothing about now.
const STALE: Duration = Duration::from_secs(60);
/// After so long without an insert, there was nothing to insert.
const IDLE: Duration = Duration::from_secs(300);

/// SchemaReady.
#[must_use]
pub fn schema(applied: &Applied) -> Finding {
    match &applied.schema {
        None => Finding::unknown(SCHEMA_READY, "NotChecked", "the database was not asked, because a reference is missing or the spec is not valid"),
        Some(Err(blocker)) => Finding::blocked(SCHEMA_READY, blocker),
        Some(Ok(report)) => Finding::holds(SCHEMA_READY, "UpToDate", format!("the tables are of schema version {}", report.schema_version)),
    }
}

/// DataFlowing of a sink that is paused.
#[must_use]
pub fn paused() -> Finding {
    Finding::fails(DATA_FLOWING, "Paused", "spec.state is Paused")
}

/// DataFlowing: every queue has a consumer, and what comes is inserted. A sink to which nothing comes flows as well, idly.
#[must_use]
pub fn flow(reports: &[Report], queues: &[String], now: Timestamp) -> Finding {
    let batchers = batchers(reports, now);
    if batchers.is_empty() {
        let why = reports
            .iter()
            .find_map(|report| report.error.as_ref())
            .map_or_else(|| "the batchers have not answered yet".to_owned(), |error| format!("the batchers do not answer: {error}"));
        return Finding::unknown(DATA_FLOWING, "AwaitingBatchers", why);
    }
    if let Some(problem) = batchers.iter().find_map(|batcher| batcher.problem.clone()) {
        return Finding::fails(DATA_FLOWING, "BatcherUnhealthy", problem);
    }
    let unconsumed: Vec<_> =
        queues.iter().filter(|queue| !batchers.iter().any(|batcher| batcher.queues.contains(queue))).map(String::as_str).collect();
    if !unconsumed.is_empty() {
        return Finding::fails(DATA_FLOWING, "QueuesUnconsumed", format!("no batcher consumes {}", unconsumed.join(", ")));
    }
    match newest_insert(&batchers) {
        Some(newest) if age(newest, now) <= IDLE => Finding::holds(DATA_FLOWING, "Inserting", "every queue is consumed, and batches are inserted"),
        _ => Finding::holds(DATA_FLOWING, "Idle", "every queue is consumed, and nothing came for a while"),
    }
}

/// The verdict that the observer compares.
#[must_use]
pub fn verdict(reports: &[Report], queues: &[String], now: Timestamp) -> String {
    let finding = flow(reports, queues, now);
    format!("{:?} {}: {}", finding.truth, finding.reason, finding.message)
}

/// What is to be done about the status.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The findings with their summary.
    pub findings: Vec<Finding>,
    /// The status as it should be.
    pub status: TickSinkStatus,
    /// Whether it is worth a write.
    pub write: bool,
    /// When the snapshot may be replaced by a settled one.
    pub settles_in: Option<Duration>,
}

/// Decides about the status.
#[must_use]
pub fn decide(old: &TickSinkStatus, findings: Vec<Finding>, applied: &Applied, reports: &[Report], sink: &TickSink, now: Timestamp) -> Decision {
    let generation = sink.metadata.generation;
    let findings = conditions::summarise(findings, &[]);
    let conditions = conditions::merge(&old.conditions, &findings, generation, now);
    let changed = old.observed_generation != generation || !conditions::equal_but_for_time(&old.conditions, &conditions);
    let replicas = match &applied.workload {
        Outcome::Applied(deployment) | Outcome::Kept(Some(deployment)) => deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0),
        _ => 0,
    };
    let status = TickSinkStatus {
        observed_generation: generation,
        replicas: Some(replicas),
        selector: Some(naming::selector_text(Role::Batcher, sink.metadata.name.as_deref().unwrap_or_default())),
        last_insert: newest_insert(&batchers(reports, now)).map(|at| Time(whole_seconds(at))).or_else(|| old.last_insert.clone()),
        observed_at: Some(Time(whole_seconds(now))),
        conditions,
        ..tables(old, applied)
    };
    let scaled = old.replicas != status.replicas || old.selector != status.selector;
    let taken = conditions::taken(old.observed_at.as_ref(), &old.conditions);
    let write = changed || scaled || snapshot::is_outdated(taken, &moved(old, &status), now);
    let (status, taken) = if write {
        let taken = conditions::taken(status.observed_at.as_ref(), &status.conditions);
        (status, taken)
    } else {
        (old.clone(), taken)
    };
    Decision { findings, status, write, settles_in: snapshot::settles_in(taken, now) }
}

fn moved(old: &TickSinkStatus, new: &TickSinkStatus) -> [Figure; 3] {
    [Figure::Total(old.rows, new.rows), Figure::Total(old.bytes, new.bytes), Figure::Count(old.schema_version, new.schema_version)]
}

/// Rows and bytes as the database told, or as they were when it did not tell.
fn tables(old: &TickSinkStatus, applied: &Applied) -> TickSinkStatus {
    let schema_version = match &applied.schema {
        Some(Ok(report)) => Some(i64::from(report.schema_version)),
        _ => old.schema_version,
    };
    let Some(figures) = &applied.figures else {
        return TickSinkStatus { schema_version, rows: old.rows, bytes: old.bytes, tables: old.tables.clone(), ..TickSinkStatus::default() };
    };
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let tables: Vec<_> = figures
        .iter()
        .map(|table| TableStatus {
            name: table.table.name().to_owned(),
            rows: number(table.rows),
            bytes: number(table.bytes_on_disk),
            oldest_partition: table.oldest_partition.clone(),
        })
        .collect();
    TickSinkStatus {
        schema_version,
        rows: Some(tables.iter().map(|table| table.rows).sum()),
        bytes: Some(tables.iter().map(|table| table.bytes).sum()),
        tables,
        ..TickSinkStatus::default()
    }
}

fn batchers(reports: &[Report], now: Timestamp) -> Vec<&BatcherStatus> {
    let fresh = reports.iter().filter_map(|report| report.answer.as_ref()).filter(|(at, _)| age(*at, now) <= STALE);
    fresh
        .filter_map(|(_, status)| match status {
            WorkerStatus::Batcher(status) => Some(status),
            WorkerStatus::Connector(_) => None,
        })
        .collect()
}

fn newest_insert(batchers: &[&BatcherStatus]) -> Option<Timestamp> {
    batchers.iter().filter_map(|batcher| batcher.last_insert.as_deref()?.parse::<Timestamp>().ok()).max()
}

fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}
