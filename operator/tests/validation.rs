//! One test per way in which a manifest or what it refers to can be wrong: the condition, its reason, and whether waiting helps.

#![allow(clippy::unwrap_used)] // a test that can't go on fails

mod fixtures;

use fixtures::{feed, feed_resolved, pipeline, pipeline_resolved, secret, sink, sink_resolved};
use tapekeeper_operator::blocker::Blocker;
use tapekeeper_operator::conditions::{Finding, Truth};
use tapekeeper_operator::{feed, pipeline, sink};

fn told(finding: &Finding) -> (Truth, &str, bool) {
    (finding.truth, finding.reason, finding.permanent)
}

fn feed_with(change: fn(&mut tapekeeper_crds::ExchangeFeed, &mut feed::resolve::Resolved)) -> feed::validate::Validated {
    let (mut manifest, mut resolved) = (feed(), feed_resolved());
    change(&mut manifest, &mut resolved);
    feed::validate::validate(&manifest, &resolved, false)
}

fn pipeline_with(change: fn(&mut tapekeeper_crds::Pipeline, &mut pipeline::resolve::Resolved)) -> pipeline::validate::Validated {
    let (mut manifest, mut resolved) = (pipeline(), pipeline_resolved());
    change(&mut manifest, &mut resolved);
    pipeline::validate::validate(&manifest, &resolved)
}

fn sink_with(change: fn(&mut tapekeeper_crds::TickSink, &mut sink::resolve::Resolved)) -> sink::validate::Validated {
    let (mut manifest, mut resolved) = (sink(), sink_resolved());
    change(&mut manifest, &mut resolved);
    sink::validate::validate(&manifest, &resolved, false)
}

#[test]
fn what_is_right_is_valid_and_resolved() {
    for [spec, references] in [feed_with(|_, _| {}).pair(), pipeline_with(|_, _| {}).pair(), sink_with(|_, _| {}).pair()] {
        assert_eq!((told(&spec), told(&references)), ((Truth::True, "Valid", false), (Truth::True, "Resolved", false)));
    }
}

#[test]
fn a_spec_that_leaves_production_is_forbidden_by_name() {
    for (validated, message) in [
        (feed_with(|feed, _| feed.spec.environment = "staging".to_owned()).pair(), "FORBIDDEN: spec.environment: `staging`"),
        (
            feed_with(|feed, _| feed.spec.connection.endpoint = Some("wss://localhost".to_owned())).pair(),
            "FORBIDDEN: spec.connection.endpoint: `localhost`",
        ),
        (pipeline_with(|pipeline, _| pipeline.spec.broker.kind = "Kafka".to_owned()).pair(), "FORBIDDEN: spec.broker.kind: `Kafka`"),
        (sink_with(|sink, _| sink.spec.clickhouse.kind = "SQLite".to_owned()).pair(), "FORBIDDEN: spec.clickhouse.kind: `SQLite`"),
    ] {
        let [spec, references] = validated;
        assert_eq!((told(&spec), references.truth), ((Truth::False, "Forbidden", true), Truth::Unknown));
        assert!(spec.message.starts_with(message), "{}", spec.message);
    }
}

#[test]
fn every_broken_rule_of_a_spec_is_told_at_once() {
    let [spec, _] = feed_with(|feed, _| {
        feed.spec.instruments.symbols.clear();
        feed.spec.channels.clear();
    })
    .pair();
    assert_eq!(told(&spec), (Truth::False, "InvalidSpec", true));
    assert!(spec.message.contains("spec.instruments.symbols: ") && spec.message.contains("spec.channels: "), "{}", spec.message);
}

#[test]
fn a_missing_reference_is_told_and_may_come() {
    for (validated, reason) in [
        (feed_with(|_, resolved| resolved.pipeline = Err(Blocker::transient("PipelineNotFound", "there is none"))).pair(), "PipelineNotFound"),
        (feed_with(|_, resolved| resolved.broker_secret = Err(Blocker::transient("SecretNotFound", "there is none"))).pair(), "SecretNotFound"),
        (
            pipeline_with(|_, resolved| resolved.management_secret = Err(Blocker::transient("SecretNotFound", "there is none"))).pair(),
            "SecretNotFound",
        ),
        (sink_with(|_, resolved| resolved.database_secret = Err(Blocker::transient("SecretNotFound", "there is none"))).pair(), "SecretNotFound"),
    ] {
        assert_eq!((told(&validated[0]), told(&validated[1])), ((Truth::True, "Valid", false), (Truth::False, reason, false)));
    }
}

#[test]
fn a_secret_that_leaves_production_is_forbidden_by_its_key() {
    for (validated, message) in [
        (
            feed_with(|_, resolved| resolved.broker_secret = Ok(secret("broker", "amqp://broker.example"))).pair(),
            "FORBIDDEN: secret/broker.uri: `amqp://`",
        ),
        (
            pipeline_with(|_, resolved| resolved.broker_secret = Ok(secret("broker", "amqps://me:pw@broker.example"))).pair(),
            "FORBIDDEN: secret/broker.uri: ",
        ),
        (
            pipeline_with(|_, resolved| resolved.management_secret = Ok(secret("management", "http://broker.example"))).pair(),
            "FORBIDDEN: secret/management.uri: `http://`",
        ),
        (
            sink_with(|_, resolved| resolved.database_secret = Ok(secret("clickhouse", "http://clickhouse.example"))).pair(),
            "FORBIDDEN: secret/clickhouse.uri: `http://`",
        ),
    ] {
        assert_eq!(told(&validated[1]), (Truth::False, "Forbidden", true));
        assert!(validated[1].message.starts_with(message) && !validated[1].message.contains("pw"), "{}", validated[1].message);
    }
}

#[test]
fn a_secret_without_a_key_is_told_by_the_key() {
    let [_, references] = feed_with(|_, resolved| drop(resolved.broker_secret.as_mut().unwrap().data.remove("password"))).pair();
    assert_eq!(references.truth, Truth::False);
    assert!(references.message.starts_with("secret/broker.password: missing"), "{}", references.message);
}

#[test]
fn a_pipeline_that_is_not_valid_is_no_reference_to_build_upon() {
    let [_, references] = feed_with(|_, resolved| resolved.pipeline.as_mut().unwrap().spec.shards = 0).pair();
    assert_eq!(told(&references), (Truth::False, "InvalidSpec", true));
}

trait Pair {
    fn pair(self) -> [Finding; 2];
}

macro_rules! pair {
    ($($validated:ty),*) => { $(impl Pair for $validated { fn pair(self) -> [Finding; 2] { [self.spec, self.references] } })* };
}
pair!(feed::validate::Validated, pipeline::validate::Validated, sink::validate::Validated);
