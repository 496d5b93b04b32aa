//! ExchangeFeed: what is read from a venue, and into which Pipeline it goes.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tapekeeper_contract::settings::Channel;
use tapekeeper_contract::{Venue, production};

use crate::references::LocalReference;
use crate::rules;
use crate::values::Period;
use crate::violation::{Violation, Violations, repeated};
use crate::workload::{RunState, Workload};

/// How an instrument is written: `BASE/QUOTE`.
pub const SYMBOL_PATTERN: &str = "^[A-Z0-9]{1,24}/[A-Z0-9]{1,24}$";
/// Instruments of one feed, at most.
pub const MAX_SYMBOLS: usize = 2048;
/// Streams on one socket, at most.
pub const MAX_STREAMS: u32 = 1024;
const IDLE_TIMEOUT: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(600)];

/// Reads trades and quotes of a venue's instruments and publishes them to a Pipeline.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tapekeeper.dev",
    version = "v1alpha1",
    kind = "ExchangeFeed",
    plural = "exchangefeeds",
    shortname = "xf",
    category = "tapekeeper",
    namespaced,
    status = "ExchangeFeedStatus",
    derive = "PartialEq",
    doc = "Reads trades and quotes of a venue's instruments and publishes them to a Pipeline.",
    selectable = ".spec.venue",
    selectable = ".spec.pipelineRef.name",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Venue", type_ = "string", json_path = ".spec.venue"),
    printcolumn(name = "Ticks/s", type_ = "integer", json_path = ".status.ticksPerSecond"),
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".spec.pipelineRef.name", priority = "1"),
    printcolumn(name = "Instruments", type_ = "integer", json_path = ".status.instruments.confirmed", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::feed()))]
pub struct ExchangeFeedSpec {
    /// Always `production`.
    #[serde(default = "production_environment")]
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = rules::environment()))]
    pub environment: String,
    /// The venue. It can't be changed later.
    #[schemars(schema_with = "venue_schema", extend("x-kubernetes-validations" = rules::immutable("spec.venue")))]
    pub venue: Venue,
    /// What is read.
    pub instruments: Instruments,
    /// Which kinds of data are taken.
    #[serde(default = "all_channels")]
    #[schemars(schema_with = "channels_schema")]
    pub channels: Vec<Channel>,
    /// The Pipeline that it is published to, in the same namespace.
    pub pipeline_ref: LocalReference,
    /// How the venue is reached.
    #[serde(default)]
    pub connection: Connection,
    /// Whether the feed runs.
    #[serde(default)]
    pub state: RunState,
    /// How the connector's pod is sized and placed.
    #[serde(default)]
    pub workload: Workload,
}

/// Which instruments are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instruments {
    /// The instruments, each `BASE/QUOTE`, for example `BTC/USDT`.
    #[schemars(schema_with = "symbols_schema")]
    pub symbols: Vec<String>,
}

/// How a venue is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Another of the venue's own stream hosts, as `wss://HOST:PORT`. Unset: its usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub endpoint: Option<String>,
    /// Streams on one socket, at most. Unset, or beyond what the venue allows: the venue's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_streams: Option<u32>,
    /// A socket that brings nothing for so long is made anew.
    #[serde(default = "default_idle_timeout")]
    #[schemars(extend("x-kubernetes-validations" = rules::between("spec.connection.idleTimeout", "5s", "10m"), "pattern" = "^([0-9]{1,6}(ms|s|m|h))+$"))]
    pub idle_timeout: Period,
}

impl Default for Connection {
    fn default() -> Self {
        Self { endpoint: None, max_streams: None, idle_timeout: default_idle_timeout() }
    }
}

/// What the operator observed of a feed. The figures are a snapshot, taken anew when a condition changes or when they moved far; live ones are in `/metrics`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::without_defaults)]
pub struct ExchangeFeedStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The instruments' subscriptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruments: Option<InstrumentCounts>,
    /// The connector's sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<ConnectionCounts>,
    /// Trades and quotes per second when the snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticks_per_second: Option<i64>,
    /// Receipt time of the newest trade or quote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_tick: Option<Time>,
    /// Milliseconds from the venue's time to receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// When the snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// What is the case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
}

/// How many instruments are subscribed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentCounts {
    /// Asked for.
    pub requested: i32,
    /// The venue said yes.
    pub confirmed: i32,
    /// The venue said no.
    pub refused: i32,
}

/// How many sockets are up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionCounts {
    /// Opened.
    pub total: i32,
    /// Up.
    pub up: i32,
}

impl ExchangeFeedSpec {
    /// The rules that this spec breaks, all of them.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = Violations::default();
        violations.production(production::environment("spec.environment", &self.environment));
        if let Some(endpoint) = &self.connection.endpoint {
            violations.production(production::venue_endpoint("spec.connection.endpoint", self.venue, endpoint));
        }
        let symbols = &self.instruments.symbols;
        violations.refuse_unless((1..=MAX_SYMBOLS).contains(&symbols.len()), "spec.instruments.symbols", || {
            format!("{} instruments are not allowed: between 1 and {MAX_SYMBOLS} are", symbols.len())
        });
        for symbol in symbols.iter().filter(|symbol| !is_symbol(symbol)) {
            violations.refuse_unless(false, "spec.instruments.symbols", || {
                format!("`{symbol}` is not an instrument: write BASE/QUOTE in capitals, for example BTC/USDT")
            });
        }
        for symbol in repeated(symbols) {
            violations.refuse_unless(false, "spec.instruments.symbols", || format!("`{symbol}` stands there more than once"));
        }
        violations.refuse_unless(!self.channels.is_empty(), "spec.channels", || "at least one channel must be taken: Trades, Quotes".to_owned());
        for channel in repeated(&self.channels) {
            violations.refuse_unless(false, "spec.channels", || format!("`{channel:?}` stands there more than once"));
        }
        if let Some(streams) = self.connection.max_streams {
            violations.refuse_unless((1..=MAX_STREAMS).contains(&streams), "spec.connection.maxStreams", || {
                format!("`{streams}` is not allowed: between 1 and {MAX_STREAMS} are")
            });
        }
        let [min, max] = IDLE_TIMEOUT;
        violations.refuse_unless((min..=max).contains(&self.connection.idle_timeout.0), "spec.connection.idleTimeout", || {
            format!("`{}` is not allowed: between 5s and 10m are", self.connection.idle_timeout)
        });
        violations.into_vec()
    }
}

fn is_symbol(text: &str) -> bool {
    let part = |part: &str| (1..=24).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    text.split_once('/').is_some_and(|(base, quote)| part(base) && part(quote))
}

pub(crate) fn production_environment() -> String {
    production::ENVIRONMENT.to_owned()
}

fn all_channels() -> Vec<Channel> {
    vec![Channel::Trades, Channel::Quotes]
}

const fn default_idle_timeout() -> Period {
    Period::from_secs(30)
}

fn venue_schema(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = Venue::ALL.iter().map(|venue| venue.api_name()).collect();
    json_schema!({ "type": "string", "enum": names })
}

fn symbols_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_SYMBOLS,
        "x-kubernetes-list-type": "set",
        "items": { "type": "string", "pattern": SYMBOL_PATTERN, "maxLength": 49 }
    })
}

fn channels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 2,
        "x-kubernetes-list-type": "set",
        "items": { "type": "string", "enum": ["Trades", "Quotes"] }
    })
}
