//! TickSink: the tables that keep the tape, and the batchers that write them.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tapekeeper_contract::production;

use crate::feed::production_environment;
use crate::references::LocalReference;
use crate::rules;
use crate::values::{ByteSize, Period};
use crate::violation::{Violation, Violations};
use crate::workload::{DeletionPolicy, RunState, Workload};

/// Batcher pods of one sink, at most.
pub const MAX_REPLICAS: i32 = 16;
/// Rows of one batch, at most.
pub const MAX_ROWS: u64 = 1_000_000;
const BATCH_BYTES: [u64; 2] = [64 << 10, 1 << 30];
const BATCH_DELAY: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(60)];
/// Retention drops whole days, so less than one would keep less than it says.
const MIN_RETENTION: Duration = Duration::from_secs(86_400);
const MAX_RETENTION: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Keeps the ticks of a Pipeline in the tables of a ClickHouse.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tapekeeper.dev",
    version = "v1alpha1",
    kind = "TickSink",
    plural = "ticksinks",
    shortname = "ts",
    category = "tapekeeper",
    namespaced,
    status = "TickSinkStatus",
    derive = "PartialEq",
    doc = "Keeps the ticks of a Pipeline in the tables of a ClickHouse.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    selectable = ".spec.pipelineRef.name",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Database", type_ = "string", json_path = ".spec.clickhouse.database"),
    printcolumn(name = "Rows", type_ = "integer", json_path = ".status.rows"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas", priority = "1"),
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".spec.pipelineRef.name", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TickSinkSpec {
    /// Always `production`.
    #[serde(default = "production_environment")]
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = rules::environment()))]
    pub environment: String,
    /// The Pipeline whose ticks are kept, in the same namespace.
    pub pipeline_ref: LocalReference,
    /// The database.
    pub clickhouse: ClickHouse,
    /// When a batch is inserted: at the first of these.
    #[serde(default)]
    pub batch: Batch,
    /// The tables.
    #[serde(default)]
    pub tables: Tables,
    /// Batcher pods. One at a time works on a shard; the others stand by and share the shards.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: i32,
    /// Whether the batchers run. Paused, the ticks wait in the queues.
    #[serde(default)]
    pub state: RunState,
    /// How the batchers' pods are sized and placed.
    #[serde(default)]
    pub workload: Workload,
    /// What becomes of the database's tables when the sink is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClickHouse {
    /// Always `ClickHouse`.
    #[serde(default = "database_kind")]
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = rules::database_kind()))]
    pub kind: String,
    /// The Secret to connect with: `uri` (https://HOST:PORT of the HTTP interface), `username`, `password` and, for an authority of one's own, `ca.crt`.
    pub secret_ref: LocalReference,
    /// The database that holds the tables; it is created when it is missing. It can't be changed later.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"), extend("x-kubernetes-validations" = rules::database()))]
    pub database: String,
}

/// When a batch is inserted: at the first of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Rows.
    #[serde(default = "default_rows")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_rows: u64,
    /// Bytes of encoded rows.
    #[serde(default = "default_bytes")]
    pub max_bytes: ByteSize,
    /// Time since its first row.
    #[serde(default = "default_delay")]
    #[schemars(extend("x-kubernetes-validations" = rules::between("spec.batch.maxDelay", "1ms", "1m"), "pattern" = "^([0-9]{1,6}(ms|s|m|h))+$"))]
    pub max_delay: Period,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_rows: default_rows(), max_bytes: default_bytes(), max_delay: default_delay() }
    }
}

/// The tables of the tape.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tables {
    /// A row per trade.
    #[serde(default)]
    pub ticks: TableSettings,
    /// A row per change of the best bid or ask.
    #[serde(default)]
    pub quotes: TableSettings,
    /// A row per connect and disconnect of a feed.
    #[serde(default)]
    pub feed_events: TableSettings,
}

/// One table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableSettings {
    /// For how long rows are kept, by whole days. Unset: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Period>,
}

/// What the operator observed of a sink. The figures are a snapshot, taken anew when a condition changes or when they moved far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::without_defaults)]
pub struct TickSinkStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Batcher pods that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The labels of the batchers' pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The version of the tables' schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<i64>,
    /// Rows in all tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Bytes of all tables on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// The tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableStatus>,
    /// When the newest batch was inserted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_insert: Option<Time>,
    /// When the snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// What is the case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableStatus {
    /// Its name.
    pub name: String,
    /// Rows.
    pub rows: i64,
    /// Bytes on disk.
    pub bytes: i64,
    /// Its oldest partition, a UTC day such as `20261121`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_partition: Option<String>,
}

impl TickSinkSpec {
    /// The rules that this spec breaks, all of them.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = Violations::default();
        violations.production(production::environment("spec.environment", &self.environment));
        violations.production(production::database_kind("spec.clickhouse.kind", &self.clickhouse.kind));
        let database = self.clickhouse.database.as_str();
        violations.refuse_unless(is_identifier(database), "spec.clickhouse.database", || {
            format!("`{database}` is not allowed: a letter or underscore, then letters, digits and underscores are, 63 at most")
        });
        violations.refuse_unless(
            !matches!(database.to_ascii_lowercase().as_str(), "system" | "information_schema"),
            "spec.clickhouse.database",
            || format!("`{database}` is not allowed: it is one of ClickHouse's own databases"),
        );
        violations.refuse_unless((1..=MAX_ROWS).contains(&self.batch.max_rows), "spec.batch.maxRows", || {
            format!("`{}` is not allowed: between 1 and {MAX_ROWS} are", self.batch.max_rows)
        });
        let [min, max] = BATCH_BYTES;
        violations.refuse_unless((min..=max).contains(&self.batch.max_bytes.0), "spec.batch.maxBytes", || {
            format!("`{}` is not allowed: between 64Ki and 1Gi are", self.batch.max_bytes)
        });
        let [min, max] = BATCH_DELAY;
        violations.refuse_unless((min..=max).contains(&self.batch.max_delay.0), "spec.batch.maxDelay", || {
            format!("`{}` is not allowed: between 1ms and 1m are", self.batch.max_delay)
        });
        violations.refuse_unless((1..=MAX_REPLICAS).contains(&self.replicas), "spec.replicas", || {
            format!("`{}` is not allowed: between 1 and {MAX_REPLICAS} are; to stop the batchers, set spec.state to Paused", self.replicas)
        });
        let tables = [("ticks", self.tables.ticks), ("quotes", self.tables.quotes), ("feedEvents", self.tables.feed_events)];
        for (table, retention) in tables.into_iter().filter_map(|(table, settings)| settings.retention.map(|retention| (table, retention))) {
            violations.refuse_unless((MIN_RETENTION..=MAX_RETENTION).contains(&retention.0), &format!("spec.tables.{table}.retention"), || {
                format!("`{retention}` is not allowed: between 1d and 36600d are")
            });
        }
        violations.into_vec()
    }
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 63
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn database_kind() -> String {
    production::DATABASE_KIND.to_owned()
}

const fn one() -> i32 {
    1
}

const fn default_rows() -> u64 {
    50_000
}

const fn default_bytes() -> ByteSize {
    ByteSize(32 << 20)
}

const fn default_delay() -> Period {
    Period::from_secs(1)
}
