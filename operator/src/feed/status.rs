//! Status (pure): what the connector said becomes conditions and figures, and only what is worth it is written.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tapekeeper_contract::status::{ConnectorStatus, Subscription, WorkerStatus};
use tapekeeper_crds::conditions::DATA_FLOWING;
use tapekeeper_crds::feed::{ConnectionCounts, ExchangeFeedStatus, InstrumentCounts};

use crate::conditions::{self, Finding, whole_seconds};
use crate::observer::Report;
use crate::snapshot::{self, Figure};

/// An answer older than this says nothing about now.
const STALE: Duration = Duration::from_secs(60);

/// How old the newest tick of a feed may be while its data still flow: twice what makes its socket anew, and never less than a minute.
#[must_use]
pub fn window(idle_timeout: Duration) -> Duration {
    (idle_timeout * 2).max(Duration::from_secs(60))
}

/// DataFlowing of a feed that is paused.
#[must_use]
pub fn paused() -> Finding {
    Finding::fails(DATA_FLOWING, "Paused", "spec.state is Paused")
}

/// DataFlowing. Its text moves only when it means something else, so that it can be compared.
#[must_use]
pub fn flow(reports: &[Report], window: Duration, now: Timestamp) -> Finding {
    let connectors = connectors(reports, now);
    if connectors.is_empty() {
        let why = reports
            .iter()
            .find_map(|report| report.error.as_ref())
            .map_or_else(|| "the connector has not answered yet".to_owned(), |error| format!("the connector does not answer: {error}"));
        return Finding::unknown(DATA_FLOWING, "AwaitingConnector", why);
    }
    if let Some(problem) = connectors.iter().find_map(|connector| connector.problem.clone()) {
        return Finding::fails(DATA_FLOWING, "ConnectorUnhealthy", problem);
    }
    let refused: Vec<_> = connectors
        .iter()
        .flat_map(|connector| &connector.instruments)
        .filter(|instrument| instrument.subscription == Subscription::Refused)
        .map(|instrument| instrument.symbol.as_str())
        .collect();
    if !refused.is_empty() {
        return Finding::fails(DATA_FLOWING, "InstrumentsRefused", format!("the venue refused {}", refused.join(", ")));
    }
    let Some(newest) = newest_tick(&connectors) else { return Finding::unknown(DATA_FLOWING, "AwaitingFirstTick", "no tick has come yet") };
    if age(newest, now) > window {
        return Finding::fails(
            DATA_FLOWING,
            "NoRecentTick",
            format!("the newest tick came at {}, and nothing since for more than {} s", whole_seconds(newest), window.as_secs()),
        );
    }
    Finding::holds(DATA_FLOWING, "Flowing", "ticks come in")
}

/// The verdict that the observer compares.
#[must_use]
pub fn verdict(reports: &[Report], window: Duration, now: Timestamp) -> String {
    let finding = flow(reports, window, now);
    format!("{:?} {}: {}", finding.truth, finding.reason, finding.message)
}

/// What is to be done about the status.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The findings with their summary.
    pub findings: Vec<Finding>,
    /// The status as it should be.
    pub status: ExchangeFeedStatus,
    /// Whether it is worth a write.
    pub write: bool,
    /// When the snapshot may be replaced by a settled one.
    pub settles_in: Option<Duration>,
}

/// Decides about the status.
#[must_use]
pub fn decide(old: &ExchangeFeedStatus, findings: Vec<Finding>, reports: &[Report], generation: Option<i64>, now: Timestamp) -> Decision {
    let findings = conditions::summarise(findings, &[]);
    let conditions = conditions::merge(&old.conditions, &findings, generation, now);
    let status =
        figures(&connectors(reports, now), ExchangeFeedStatus { observed_generation: generation, conditions, ..ExchangeFeedStatus::default() }, now);
    let changed = old.observed_generation != generation || !conditions::equal_but_for_time(&old.conditions, &status.conditions);
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

fn moved(old: &ExchangeFeedStatus, new: &ExchangeFeedStatus) -> [Figure; 4] {
    let confirmed = |status: &ExchangeFeedStatus| status.instruments.map(|counts| i64::from(counts.confirmed));
    let up = |status: &ExchangeFeedStatus| status.connections.map(|counts| i64::from(counts.up));
    [
        Figure::Rate(old.ticks_per_second, new.ticks_per_second),
        Figure::Total(old.lag_ms, new.lag_ms),
        Figure::Count(confirmed(old), confirmed(new)),
        Figure::Count(up(old), up(new)),
    ]
}

fn figures(connectors: &[&ConnectorStatus], status: ExchangeFeedStatus, now: Timestamp) -> ExchangeFeedStatus {
    let observed_at = Some(Time(whole_seconds(now)));
    if connectors.is_empty() {
        return ExchangeFeedStatus { observed_at, ..status };
    }
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let instruments = || connectors.iter().flat_map(|connector| &connector.instruments);
    let subscribed = |subscription| count(instruments().filter(|instrument| instrument.subscription == subscription).count());
    let sockets = || connectors.iter().flat_map(|connector| &connector.connections);
    #[allow(clippy::cast_possible_truncation)] // a rate far below 2^63
    let ticks_per_second = connectors.iter().map(|connector| connector.ticks_per_second).sum::<f64>().round() as i64;
    ExchangeFeedStatus {
        instruments: Some(InstrumentCounts {
            requested: count(instruments().count()),
            confirmed: subscribed(Subscription::Confirmed),
            refused: subscribed(Subscription::Refused),
        }),
        connections: Some(ConnectionCounts { total: count(sockets().count()), up: count(sockets().filter(|socket| socket.connected).count()) }),
        ticks_per_second: Some(ticks_per_second),
        last_tick: newest_tick(connectors).map(|tick| Time(whole_seconds(tick))),
        lag_ms: connectors.iter().filter_map(|connector| connector.lag_ms).max(),
        observed_at,
        ..status
    }
}

fn connectors(reports: &[Report], now: Timestamp) -> Vec<&ConnectorStatus> {
    let fresh = reports.iter().filter_map(|report| report.answer.as_ref()).filter(|(at, _)| age(*at, now) <= STALE);
    fresh
        .filter_map(|(_, status)| match status {
            WorkerStatus::Connector(status) => Some(status),
            WorkerStatus::Batcher(_) => None,
        })
        .collect()
}

fn newest_tick(connectors: &[&ConnectorStatus]) -> Option<Timestamp> {
    connectors.iter().filter_map(|connector| connector.last_tick.as_deref()?.parse::<Timestamp>().ok()).max()
}

fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}
