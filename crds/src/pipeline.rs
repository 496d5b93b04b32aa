//! Pipeline: the broker objects that ticks go through, all named after one exchange.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tapekeeper_contract::production;
use tapekeeper_contract::topology::DEFAULT_EXCHANGE;

use crate::feed::production_environment;
use crate::references::LocalReference;
use crate::rules;
use crate::values::{ByteSize, Period};
use crate::violation::{Violation, Violations};
use crate::workload::DeletionPolicy;

/// Shards of one Pipeline, at most.
pub const MAX_SHARDS: u16 = 64;
const MIN_AGE: Duration = Duration::from_secs(60);
const MAX_AGE: Duration = Duration::from_secs(10 * 366 * 86_400);
/// A stream is cut in segments of this size; a smaller bound would keep nothing.
const MIN_REPLAY_BYTES: u64 = 1 << 20;

/// Declares the exchanges, queues and streams of a RabbitMQ that ticks go through.
#[derive(Debug, Clone, PartialEq, Eq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tapekeeper.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    plural = "pipelines",
    shortname = "pl",
    category = "tapekeeper",
    namespaced,
    status = "PipelineStatus",
    derive = "PartialEq",
    doc = "Declares the exchanges, queues and streams of a RabbitMQ that ticks go through.",
    selectable = ".spec.exchange",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Exchange", type_ = "string", json_path = ".spec.exchange"),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".spec.shards"),
    printcolumn(name = "Queued", type_ = "integer", json_path = ".status.queued", priority = "1"),
    printcolumn(name = "Dead", type_ = "integer", json_path = ".status.deadLetters", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSpec {
    /// Always `production`.
    #[serde(default = "production_environment")]
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = rules::environment()))]
    pub environment: String,
    /// The broker.
    pub broker: Broker,
    /// The topic exchange that connectors publish to; every other name begins with it. It can't be changed later.
    #[serde(default = "default_exchange")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z0-9._-]+$"), extend("x-kubernetes-validations" = rules::exchange()))]
    pub exchange: String,
    /// Over how many queues the instruments are spread, and how many batchers can work at once. It can't be changed later.
    #[serde(default = "default_shards")]
    #[schemars(range(min = 1, max = 64), extend("x-kubernetes-validations" = rules::immutable("spec.shards")))]
    pub shards: u16,
    /// The streams from which the recent past can be read again.
    #[serde(default)]
    pub replay: Replay,
    /// Messages that nobody could take.
    #[serde(default)]
    pub dead_letter: DeadLetter,
    /// What becomes of exchanges, queues and streams when the Pipeline is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// The broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Broker {
    /// Always `RabbitMQ`.
    #[serde(default = "broker_kind")]
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = rules::broker_kind()))]
    pub kind: String,
    /// The Secret that workers connect with: `uri` (amqps://HOST:PORT), `username`, `password` and, for an authority of one's own, `ca.crt`.
    pub secret_ref: LocalReference,
    /// The virtual host. It must exist, and it can't be changed later.
    #[serde(default = "default_vhost")]
    #[schemars(length(min = 1, max = 255), extend("x-kubernetes-validations" = rules::immutable("spec.broker.vhost")))]
    pub vhost: String,
    /// The Secret that the operator manages with: `uri` (https://HOST:PORT of the management interface), `username`, `password` and perhaps `ca.crt`.
    pub management_secret_ref: LocalReference,
}

/// How much of the recent past is kept for reading again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// For how long.
    #[serde(default = "default_replay_age")]
    pub max_age: Period,
    /// And how many bytes per stream, at most. Unset: as many as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
}

impl Default for Replay {
    fn default() -> Self {
        Self { max_age: default_replay_age(), max_bytes: None }
    }
}

/// How long what nobody could take is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// For how long.
    #[serde(default = "default_dead_letter_age")]
    pub max_age: Period,
}

impl Default for DeadLetter {
    fn default() -> Self {
        Self { max_age: default_dead_letter_age() }
    }
}

/// What the operator observed of a Pipeline. The figures are a snapshot, taken anew when a condition changes or when they moved far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::without_defaults)]
pub struct PipelineStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The shard queues, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueStatus>,
    /// Messages in all shard queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<i64>,
    /// Messages among the dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
    /// Messages that no binding wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrouted: Option<i64>,
    /// When the snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// What is the case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
}

/// One shard queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// Its name.
    pub name: String,
    /// Messages in it.
    pub messages: i64,
    /// Consumers attached to it, active and standing by.
    pub consumers: i32,
}

impl PipelineSpec {
    /// The rules that this spec breaks, all of them.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = Violations::default();
        violations.production(production::environment("spec.environment", &self.environment));
        violations.production(production::broker_kind("spec.broker.kind", &self.broker.kind));
        violations.refuse_unless((1..=255).contains(&self.broker.vhost.len()), "spec.broker.vhost", || {
            "a virtual host's name has 1 to 255 bytes".to_owned()
        });
        violations.refuse_unless(is_exchange_name(&self.exchange), "spec.exchange", || {
            format!("`{}` is not allowed: 1 to 128 letters, digits, dots, dashes and underscores are", self.exchange)
        });
        violations.refuse_unless(!self.exchange.starts_with("amq."), "spec.exchange", || {
            format!("`{}` is not allowed: RabbitMQ keeps names that start with `amq.` for itself", self.exchange)
        });
        violations.refuse_unless((1..=MAX_SHARDS).contains(&self.shards), "spec.shards", || {
            format!("`{}` is not allowed: between 1 and {MAX_SHARDS} are", self.shards)
        });
        for (field, age) in [("spec.replay.maxAge", self.replay.max_age), ("spec.deadLetter.maxAge", self.dead_letter.max_age)] {
            violations.refuse_unless((MIN_AGE..=MAX_AGE).contains(&age.0), field, || format!("`{age}` is not allowed: between 1m and 3660d are"));
        }
        if let Some(bytes) = self.replay.max_bytes {
            violations.refuse_unless(bytes.0 >= MIN_REPLAY_BYTES, "spec.replay.maxBytes", || format!("`{bytes}` is not allowed: at least 1Mi is"));
        }
        violations.into_vec()
    }
}

fn is_exchange_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn broker_kind() -> String {
    production::BROKER_KIND.to_owned()
}

fn default_vhost() -> String {
    "/".to_owned()
}

fn default_exchange() -> String {
    DEFAULT_EXCHANGE.to_owned()
}

const fn default_shards() -> u16 {
    4
}

const fn default_replay_age() -> Period {
    Period::from_secs(86_400)
}

const fn default_dead_letter_age() -> Period {
    Period::from_secs(7 * 86_400)
}
