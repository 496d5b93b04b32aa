//! The CEL rules of the CRDs. The API server evaluates them, so that a manifest is refused before anything acts on it.

use schemars::Schema;
use serde_json::{Value, json};
use tapekeeper_contract::{Venue, production};

/// One CEL rule: `self` is the field it stands at.
fn rule(cel: impl Into<String>, message: impl Into<String>) -> Value {
    json!({ "rule": cel.into(), "message": message.into() })
}

/// `spec.environment`.
#[must_use]
pub fn environment() -> Value {
    only("spec.environment", production::ENVIRONMENT, "Tapekeeper runs in production only")
}

/// `spec.broker.kind`.
#[must_use]
pub fn broker_kind() -> Value {
    only("spec.broker.kind", production::BROKER_KIND, "ticks go through RabbitMQ only")
}

/// `spec.clickhouse.kind`.
#[must_use]
pub fn database_kind() -> Value {
    only("spec.clickhouse.kind", production::DATABASE_KIND, "the tape is kept in ClickHouse only")
}

fn only(field: &str, allowed: &str, why: &str) -> Value {
    json!([rule(format!("self == '{allowed}'"), format!("FORBIDDEN: {field}: {why}; the only value is `{allowed}`"))])
}

/// The whole of an ExchangeFeed's spec: an endpoint is one of the venue's own hosts, over TLS.
#[must_use]
pub fn feed() -> Value {
    Venue::ALL.iter().map(|venue| endpoint(*venue)).collect()
}

fn endpoint(venue: Venue) -> Value {
    let hosts = venue.stream_hosts();
    let pattern: Vec<_> = hosts.iter().map(|host| host.replace('.', "[.]")).collect();
    rule(
        format!(
            "self.venue != '{}' || !has(self.connection) || !has(self.connection.endpoint) || self.connection.endpoint.matches('^wss://({})(:[0-9]{{1,5}})?/?$')",
            venue.api_name(),
            pattern.join("|")
        ),
        format!("FORBIDDEN: spec.connection.endpoint: {venue} is read over wss:// from its own hosts only: {}", hosts.join(", ")),
    )
}

/// A field that is settled when the object is created.
#[must_use]
pub fn immutable(field: &str) -> Value {
    json!([settled(field)])
}

fn settled(field: &str) -> Value {
    rule("self == oldSelf", format!("{field} can't be changed: delete the object and create it anew"))
}

/// `spec.exchange` of a Pipeline: settled, and not a name that RabbitMQ keeps for itself.
#[must_use]
pub fn exchange() -> Value {
    json!([
        settled("spec.exchange"),
        rule("!self.startsWith('amq.')", "spec.exchange must not start with `amq.`: RabbitMQ keeps those names for itself")
    ])
}

/// `spec.clickhouse.database` of a TickSink: settled, and not one of ClickHouse's own.
#[must_use]
pub fn database() -> Value {
    json!([
        settled("spec.clickhouse.database"),
        rule("!(self.lowerAscii() in ['system', 'information_schema'])", "spec.clickhouse.database must not be one of ClickHouse's own databases"),
    ])
}

/// A duration between two bounds, written with `ms`, `s`, `m` or `h`.
#[must_use]
pub fn between(field: &str, min: &str, max: &str) -> Value {
    json!([rule(
        format!("duration(self) >= duration('{min}') && duration(self) <= duration('{max}')"),
        format!("{field} must be between {min} and {max}")
    )])
}

/// Takes an empty default out of a field's schema: an optional list or map that is absent needs none.
pub fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

/// Takes the defaults out of a status: the API server must not invent what nobody observed.
pub fn without_defaults(schema: &mut Schema) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            property.remove("default");
        }
    }
}
