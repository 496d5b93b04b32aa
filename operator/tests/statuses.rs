//! What is written to a status, and that nothing is written while nothing changed.

#![allow(clippy::unwrap_used)] // a test that can't go on fails

mod fixtures;

use std::time::Duration;

use fixtures::sink;
use jiff::Timestamp;
use tapekeeper_contract::status::{BatcherStatus, ConnectionStatus, ConnectorStatus, InstrumentStatus, Subscription, WorkerStatus};
use tapekeeper_contract::tables::Table;
use tapekeeper_crds::conditions::{PAUSED, READY, REFERENCES_RESOLVED, SCHEMA_READY, SPEC_VALID, TOPOLOGY_READY, WORKLOAD_AVAILABLE};
use tapekeeper_crds::feed::ExchangeFeedStatus;
use tapekeeper_crds::pipeline::PipelineStatus;
use tapekeeper_crds::sink::TickSinkStatus;
use tapekeeper_operator::blocker::Blocker;
use tapekeeper_operator::conditions::{Finding, Truth, find};
use tapekeeper_operator::external::broker::{BrokerFigures, BrokerReport, QueueFigures};
use tapekeeper_operator::external::database::{DatabaseReport, TableFigures};
use tapekeeper_operator::observer::Report;
use tapekeeper_operator::workload::Outcome;
use tapekeeper_operator::{feed, pipeline, sink};

const WINDOW: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn connector(last_tick: Option<i64>, rate: f64) -> ConnectorStatus {
    let instrument = |symbol: &str| InstrumentStatus { symbol: symbol.to_owned(), subscription: Subscription::Confirmed, last_tick: None };
    ConnectorStatus {
        instruments: vec![instrument("BTC/USDT"), instrument("ETH/USDT")],
        connections: vec![ConnectionStatus { id: 0, connected: true, since: None, reconnects: 0, streams: 4, last_error: None }],
        ticks_per_second: rate,
        last_tick: last_tick.map(|second| at(second).to_string()),
        lag_ms: Some(40),
        ..ConnectorStatus::default()
    }
}

fn answer(answered: i64, status: WorkerStatus) -> Vec<Report> {
    vec![Report { pod: "pod".to_owned(), answer: Some((at(answered), status)), error: None }]
}

fn reports(answered: i64, last_tick: Option<i64>, rate: f64) -> Vec<Report> {
    answer(answered, WorkerStatus::Connector(connector(last_tick, rate)))
}

fn flow(reports: &[Report], now: i64) -> (Truth, &'static str) {
    let finding = feed::status::flow(reports, WINDOW, at(now));
    (finding.truth, finding.reason)
}

#[test]
fn data_flow_while_the_newest_tick_is_young() {
    assert_eq!(flow(&[], 100), (Truth::Unknown, "AwaitingConnector"));
    assert_eq!(flow(&reports(100, None, 0.0), 100), (Truth::Unknown, "AwaitingFirstTick"));
    assert_eq!(flow(&reports(160, Some(100), 9.0), 160), (Truth::True, "Flowing"));
    assert_eq!(flow(&reports(161, Some(100), 9.0), 161), (Truth::False, "NoRecentTick"));
}

#[test]
fn an_answer_of_long_ago_says_nothing_about_now() {
    let mut old = reports(100, Some(100), 9.0);
    old[0].error = Some("no answer within 2 s".to_owned());
    assert_eq!(flow(&old, 150), (Truth::True, "Flowing"));
    assert_eq!(flow(&old, 161), (Truth::Unknown, "AwaitingConnector"));
}

#[test]
fn a_connector_that_is_not_well_or_an_instrument_that_is_refused_is_told() {
    let mut status = connector(Some(100), 9.0);
    status.instruments[1].subscription = Subscription::Refused;
    assert_eq!(feed::status::flow(&answer(100, WorkerStatus::Connector(status.clone())), WINDOW, at(100)).message, "the venue refused ETH/USDT");
    status.problem = Some("the broker confirms nothing".to_owned());
    assert_eq!(flow(&answer(100, WorkerStatus::Connector(status)), 100), (Truth::False, "ConnectorUnhealthy"));
}

#[test]
fn the_window_is_twice_the_idle_timeout_and_a_minute_at_least() {
    assert_eq!([5, 30, 120].map(|seconds| feed::status::window(Duration::from_secs(seconds)).as_secs()), [60, 60, 240]);
}

fn feed_findings(reports: &[Report], now: i64) -> Vec<Finding> {
    vec![
        Finding::holds(SPEC_VALID, "Valid", ""),
        Finding::holds(REFERENCES_RESOLVED, "Resolved", ""),
        Finding::holds(WORKLOAD_AVAILABLE, "Available", ""),
        Finding::fails(PAUSED, "Running", ""),
        feed::status::flow(reports, WINDOW, at(now)),
    ]
}

fn decide(old: &ExchangeFeedStatus, rate: f64, now: i64) -> feed::status::Decision {
    let reports = reports(now, Some(now), rate);
    feed::status::decide(old, feed_findings(&reports, now), &reports, Some(1), at(now))
}

#[test]
fn a_feed_that_runs_is_written_once_again_when_its_rate_has_settled_and_then_never() {
    let first = decide(&ExchangeFeedStatus::default(), 3.0, 1_000);
    assert!(first.write && find(&first.status.conditions, READY).unwrap().status == "True");
    assert_eq!((first.status.ticks_per_second, first.settles_in), (Some(3), Some(Duration::from_secs(60))));
    assert!(!decide(&first.status, 800.0, 1_030).write);

    let settled = decide(&first.status, 812.4, 1_060);
    assert_eq!((settled.write, settled.status.ticks_per_second, settled.settles_in), (true, Some(812), None));
    for (rate, now) in [(500.0, 1_120), (1_600.0, 1_300), (410.0, 90_000)] {
        let later = decide(&settled.status, rate, now);
        assert!(!later.write, "{rate} at {now}");
        assert_eq!(later.status, settled.status);
    }
    assert!(decide(&settled.status, 10_000.0, 1_700).write);
}

#[test]
fn a_change_of_a_condition_is_written_with_the_figures_of_that_moment() {
    let running = decide(&ExchangeFeedStatus::default(), 800.0, 1_000).status;
    let silent = reports(1_100, Some(1_000), 0.0);
    let decision = feed::status::decide(&running, feed_findings(&silent, 1_100), &silent, Some(1), at(1_100));
    let ready = find(&decision.status.conditions, READY).unwrap();
    assert!(decision.write);
    assert_eq!((ready.status.as_str(), ready.reason.as_str(), ready.last_transition_time.0), ("False", "NoRecentTick", at(1_100)));
    assert_eq!((decision.status.ticks_per_second, decision.status.observed_at.as_ref().map(|time| time.0)), (Some(0), Some(at(1_100))));
    let again = reports(1_105, Some(1_000), 0.0);
    assert!(!feed::status::decide(&decision.status, feed_findings(&again, 1_105), &again, Some(1), at(1_105)).write);
}

#[test]
fn what_the_api_server_gives_back_is_not_written_again() {
    let status = decide(&ExchangeFeedStatus::default(), 800.0, 1_000).status;
    let stored: ExchangeFeedStatus = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
    assert_eq!(stored, status);
    assert!(!decide(&stored, 800.0, 2_000).write);
}

fn broker(messages: u64) -> pipeline::apply::Applied {
    let queue = QueueFigures {
        name: "crypto.ticks.shard.0".to_owned(),
        ready: messages,
        unacknowledged: 0,
        consumers: 1,
        publish_rate: 0.0,
        deliver_rate: 0.0,
    };
    let figures = BrokerFigures { queues: vec![queue], replay: vec![], dead_letters: 0, unrouted: 0 };
    pipeline::apply::Applied { topology: Ok(BrokerReport::default()), figures: Some(figures) }
}

#[test]
fn a_pipeline_is_ready_with_its_topology_and_says_why_when_it_is_not() {
    let applied = broker(5);
    let first = pipeline::status::decide(&PipelineStatus::default(), vec![], Some(&applied), Some(1), at(1_000));
    assert_eq!((first.write, find(&first.status.conditions, READY).unwrap().status.as_str(), first.status.queued), (true, "True", Some(5)));
    assert!(!pipeline::status::decide(&first.status, vec![], Some(&broker(14)), Some(1), at(9_000)).write);
    assert!(pipeline::status::decide(&first.status, vec![], Some(&broker(900)), Some(1), at(9_000)).write);

    let down = pipeline::apply::Applied { topology: Err(Blocker::transient("BrokerUnreachable", "no route")), figures: None };
    let lost = pipeline::status::decide(&first.status, vec![], Some(&down), Some(1), at(2_000));
    assert_eq!(find(&lost.status.conditions, TOPOLOGY_READY).unwrap().reason, "BrokerUnreachable");
    assert_eq!(find(&lost.status.conditions, READY).unwrap().status, "False");
}

#[test]
fn a_binding_that_takes_ticks_away_from_the_shards_is_not_ready() {
    let mut applied = broker(0);
    applied.topology.as_mut().unwrap().intruders = vec!["crypto.ticks.shard -> queue mine".to_owned()];
    let finding = pipeline::status::topology(Some(&applied));
    assert_eq!((finding.truth, finding.reason), (Truth::False, "ForeignBindings"));
    assert!(finding.message.contains("queue mine"));
}

#[test]
fn a_sink_flows_when_every_queue_has_a_batcher_and_idly_when_nothing_comes() {
    let queues = ["q.0".to_owned(), "q.1".to_owned()];
    let batcher = |queues: &[&str], last_insert: Option<i64>| BatcherStatus {
        queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
        last_insert: last_insert.map(|second| at(second).to_string()),
        ..BatcherStatus::default()
    };
    let flow = |status: BatcherStatus| {
        let finding = sink::status::flow(&answer(1_000, WorkerStatus::Batcher(status)), &queues, at(1_000));
        (finding.truth, finding.reason)
    };
    assert_eq!(flow(batcher(&["q.0", "q.1"], Some(990))), (Truth::True, "Inserting"));
    assert_eq!(flow(batcher(&["q.0", "q.1"], None)), (Truth::True, "Idle"));
    assert_eq!(flow(batcher(&["q.1"], Some(990))), (Truth::False, "QueuesUnconsumed"));
    assert_eq!(
        flow(BatcherStatus { problem: Some("inserts fail".to_owned()), ..batcher(&["q.0", "q.1"], None) }),
        (Truth::False, "BatcherUnhealthy")
    );
}

#[test]
fn a_sink_keeps_the_figures_of_a_database_that_does_not_tell() {
    let figures = |rows| {
        vec![TableFigures {
            table: Table::Ticks,
            rows,
            bytes_on_disk: rows * 11,
            bytes_uncompressed: rows * 90,
            oldest_partition: Some("20261121".to_owned()),
        }]
    };
    let schema = || Some(Ok(DatabaseReport { applied: vec![], schema_version: 1 }));
    let told = sink::apply::Applied { schema: schema(), figures: Some(figures(1_000)), workload: Outcome::Kept(None) };
    let first = sink::status::decide(&TickSinkStatus::default(), vec![sink::status::schema(&told)], &told, &[], &sink(), at(1_000));
    assert_eq!((first.status.rows, first.status.bytes, first.status.schema_version), (Some(1_000), Some(11_000), Some(1)));
    assert_eq!(first.status.selector.as_deref(), Some("app.kubernetes.io/instance=tape,app.kubernetes.io/name=tapekeeper-batcher"));

    let silent = sink::apply::Applied {
        schema: Some(Err(Blocker::transient("DatabaseUnreachable", "no route"))),
        figures: None,
        workload: Outcome::Kept(None),
    };
    let lost = sink::status::decide(&first.status, vec![sink::status::schema(&silent)], &silent, &[], &sink(), at(2_000));
    assert_eq!((lost.status.rows, lost.status.schema_version), (Some(1_000), Some(1)));
    assert_eq!(find(&lost.status.conditions, SCHEMA_READY).unwrap().reason, "DatabaseUnreachable");
}
