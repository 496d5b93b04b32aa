//! What a Pipeline wants of its broker.

use serde_json::json;
use tapekeeper_contract::HumanDuration;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::topology::Topology;

use super::objects::{Arguments, Binding, BrokerObject, DestinationKind, Exchange, OWNER_ARGUMENT, Policy, Queue};

/// What a Pipeline may say about its topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopologyOptions {
    /// How long a replay stream keeps what it was given.
    pub replay_max_age: HumanDuration,
    /// How much one replay stream keeps, at most.
    pub replay_max_bytes: Option<u64>,
    /// How long dead letters, and messages that no binding wanted, are kept.
    pub dead_letter_max_age: HumanDuration,
    /// After how many deliveries a message is a dead letter.
    pub delivery_limit: u32,
}

/// Each share of a hash exchange weighs the same.
const WEIGHT: &str = "1";
/// A stream forgets whole segments only. With the broker's default of 500 MB a quiet stream would keep a multiple of its maximal age.
const SEGMENT_BYTES: u64 = 100_000_000;
/// Above the catch-all policies that installations tend to have, which carry 0: only one policy applies to a stream.
const POLICY_PRIORITY: i64 = 10;

/// The broker objects of a Pipeline, in an order in which each finds what it refers to, and in which the topic exchange appears only when nothing published to it can vanish.
///
/// Retention is a policy rather than an argument: a stream's arguments can never be changed, so a later `replay.maxAge` would ask for a stream without its history.
#[must_use]
pub fn topology(names: &Topology, options: &TopologyOptions, owner: &ObjectName) -> Vec<BrokerObject> {
    let mine = Ownership(owner);
    let mut objects = Vec::new();

    let unrouted = names.unrouted();
    let kept_for_people = retention(options.dead_letter_max_age, None);
    objects.push(mine.policy(&unrouted, &format!("^{}$", literal(&unrouted)), kept_for_people.clone()));
    objects.extend(mine.stream_behind_fanout(&unrouted));

    let dead = names.dead_letters();
    objects.push(mine.policy(&dead, &format!("^{}$", literal(&dead)), kept_for_people));
    objects.extend(mine.stream_behind_fanout(&dead));

    let shards = names.shard_exchange();
    objects.push(mine.exchange(&shards, "x-consistent-hash", Arguments::new()));
    for queue in names.shard_queues() {
        objects.push(mine.queue(&queue, shard_arguments(&dead, options.delivery_limit)));
        objects.push(share(&shards, &queue));
    }

    let replay = names.replay_exchange();
    objects.push(mine.policy(&replay, &format!("^{}\\.[0-9]+$", literal(&replay)), retention(options.replay_max_age, options.replay_max_bytes)));
    objects.push(mine.exchange(&replay, "x-consistent-hash", Arguments::new()));
    for stream in names.replay_streams() {
        objects.push(mine.queue(&stream, stream_arguments()));
        objects.push(share(&replay, &stream));
    }

    objects.push(mine.exchange(names.exchange(), "topic", Arguments::from([("alternate-exchange".to_owned(), json!(unrouted))])));
    for destination in [shards, replay] {
        objects.push(BrokerObject::Binding(Binding {
            source: names.exchange().to_owned(),
            destination,
            destination_kind: DestinationKind::Exchange,
            routing_key: "#".to_owned(),
            sole: false,
        }));
    }
    objects
}

/// The name of the policy that gives `subject` its retention. A policy has no arguments, so its name is the marker.
pub(super) fn policy_name(owner: &ObjectName, subject: &str) -> String {
    format!("tapekeeper:{owner}:{subject}")
}

struct Ownership<'a>(&'a ObjectName);

impl Ownership<'_> {
    fn mark(&self, mut arguments: Arguments) -> Arguments {
        arguments.insert(OWNER_ARGUMENT.to_owned(), json!(self.0.to_string()));
        arguments
    }

    fn exchange(&self, name: &str, kind: &str, arguments: Arguments) -> BrokerObject {
        BrokerObject::Exchange(Exchange {
            name: name.to_owned(),
            kind: kind.to_owned(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: self.mark(arguments),
        })
    }

    fn queue(&self, name: &str, arguments: Arguments) -> BrokerObject {
        BrokerObject::Queue(Queue { name: name.to_owned(), durable: true, auto_delete: false, arguments: self.mark(arguments) })
    }

    fn policy(&self, subject: &str, pattern: &str, definition: Arguments) -> BrokerObject {
        BrokerObject::Policy(Policy {
            name: policy_name(self.0, subject),
            pattern: pattern.to_owned(),
            apply_to: "streams".to_owned(),
            definition,
            priority: POLICY_PRIORITY,
        })
    }

    fn stream_behind_fanout(&self, name: &str) -> [BrokerObject; 3] {
        [
            self.exchange(name, "fanout", Arguments::new()),
            self.queue(name, stream_arguments()),
            BrokerObject::Binding(Binding {
                source: name.to_owned(),
                destination: name.to_owned(),
                destination_kind: DestinationKind::Queue,
                routing_key: String::new(),
                sole: false,
            }),
        ]
    }
}

fn share(source: &str, destination: &str) -> BrokerObject {
    BrokerObject::Binding(Binding {
        source: source.to_owned(),
        destination: destination.to_owned(),
        destination_kind: DestinationKind::Queue,
        routing_key: WEIGHT.to_owned(),
        sole: true,
    })
}

/// At-least-once dead-lettering keeps a message in its queue until the dead-letter stream has it; RabbitMQ grants it only together with `reject-publish`.
fn shard_arguments(dead: &str, delivery_limit: u32) -> Arguments {
    Arguments::from([
        ("x-queue-type".to_owned(), json!("quorum")),
        ("x-single-active-consumer".to_owned(), json!(true)),
        ("x-delivery-limit".to_owned(), json!(delivery_limit)),
        ("x-overflow".to_owned(), json!("reject-publish")),
        ("x-dead-letter-exchange".to_owned(), json!(dead)),
        ("x-dead-letter-strategy".to_owned(), json!("at-least-once")),
    ])
}

fn stream_arguments() -> Arguments {
    Arguments::from([("x-queue-type".to_owned(), json!("stream"))])
}

fn retention(max_age: HumanDuration, max_bytes: Option<u64>) -> Arguments {
    let mut definition = Arguments::from([
        // RabbitMQ reads whole seconds, and takes 0 for "drop at once".
        ("max-age".to_owned(), json!(format!("{}s", max_age.as_secs().max(1)))),
        ("stream-max-segment-size-bytes".to_owned(), json!(SEGMENT_BYTES)),
    ]);
    if let Some(bytes) = max_bytes {
        definition.insert("max-length-bytes".to_owned(), json!(bytes));
    }
    definition
}

/// `name` as a regular expression that matches nothing else.
fn literal(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len() * 2);
    for character in name.chars() {
        if character.is_ascii_punctuation() && !matches!(character, '_' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipelines_topology_is_this_and_in_this_order() {
        let options = TopologyOptions {
            replay_max_age: HumanDuration::from_secs(7 * 86_400),
            replay_max_bytes: Some(50_000_000_000),
            dead_letter_max_age: HumanDuration::from_secs(30 * 86_400),
            delivery_limit: 20,
        };
        let owner = ObjectName { namespace: "market".to_owned(), name: "main".to_owned() };
        let lines: Vec<String> = topology(&Topology::new("crypto.ticks", 2), &options, &owner).iter().map(ToString::to_string).collect();
        let shard = "x-dead-letter-exchange=crypto.ticks.dead, x-dead-letter-strategy=at-least-once, x-delivery-limit=20, x-overflow=reject-publish, \
                     x-queue-type=quorum, x-single-active-consumer=true, x-tapekeeper-owner=market/main";
        let segment = "stream-max-segment-size-bytes=100000000";
        similar_asserts::assert_eq!(
            lines,
            [
                &format!(
                    "policy tapekeeper:market/main:crypto.ticks.unrouted (streams matching ^crypto\\.ticks\\.unrouted$: max-age=2592000s, {segment})"
                ),
                "exchange crypto.ticks.unrouted (fanout; x-tapekeeper-owner=market/main)",
                "queue crypto.ticks.unrouted (x-queue-type=stream, x-tapekeeper-owner=market/main)",
                "binding crypto.ticks.unrouted -> queue crypto.ticks.unrouted (key ``)",
                &format!("policy tapekeeper:market/main:crypto.ticks.dead (streams matching ^crypto\\.ticks\\.dead$: max-age=2592000s, {segment})"),
                "exchange crypto.ticks.dead (fanout; x-tapekeeper-owner=market/main)",
                "queue crypto.ticks.dead (x-queue-type=stream, x-tapekeeper-owner=market/main)",
                "binding crypto.ticks.dead -> queue crypto.ticks.dead (key ``)",
                "exchange crypto.ticks.shard (x-consistent-hash; x-tapekeeper-owner=market/main)",
                &format!("queue crypto.ticks.shard.0 ({shard})"),
                "binding crypto.ticks.shard -> queue crypto.ticks.shard.0 (key `1`)",
                &format!("queue crypto.ticks.shard.1 ({shard})"),
                "binding crypto.ticks.shard -> queue crypto.ticks.shard.1 (key `1`)",
                &format!(
                    "policy tapekeeper:market/main:crypto.ticks.replay (streams matching ^crypto\\.ticks\\.replay\\.[0-9]+$: \
                     max-age=604800s, max-length-bytes=50000000000, {segment})"
                ),
                "exchange crypto.ticks.replay (x-consistent-hash; x-tapekeeper-owner=market/main)",
                "queue crypto.ticks.replay.0 (x-queue-type=stream, x-tapekeeper-owner=market/main)",
                "binding crypto.ticks.replay -> queue crypto.ticks.replay.0 (key `1`)",
                "queue crypto.ticks.replay.1 (x-queue-type=stream, x-tapekeeper-owner=market/main)",
                "binding crypto.ticks.replay -> queue crypto.ticks.replay.1 (key `1`)",
                "exchange crypto.ticks (topic; alternate-exchange=crypto.ticks.unrouted, x-tapekeeper-owner=market/main)",
                "binding crypto.ticks -> exchange crypto.ticks.shard (key `#`)",
                "binding crypto.ticks -> exchange crypto.ticks.replay (key `#`)",
            ]
        );
    }

    #[test]
    fn a_name_becomes_a_pattern_that_matches_only_itself() {
        assert_eq!(literal("crypto.ticks-a_b+(c)"), "crypto\\.ticks-a_b\\+\\(c\\)");
    }
}
