//! Validate (pure): turns a TickSink and what it refers to into a type that can't be wrong.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use tapekeeper_contract::settings::{
    BROKER_CREDENTIALS, BatchLimits, BatcherSettings, Broker, DATABASE_CREDENTIALS, Database, EXTRA_CA_FILE, ObjectName,
};
use tapekeeper_contract::tables::Table;
use tapekeeper_contract::{HumanDuration, production};
use tapekeeper_crds::conditions::{REFERENCES_RESOLVED, SPEC_VALID};
use tapekeeper_crds::workload::{RunState, Workload as Placement};
use tapekeeper_crds::{TickSink, TickSinkSpec};
use tapekeeper_runtime::credentials::Credentials;

use super::resolve::Resolved;
use crate::blocker::Blocker;
use crate::conditions::Finding;
use crate::controller::object_name;
use crate::external::database::{DatabaseName, SchemaError};
use crate::feed::validate::{accepted, owner_reference};
use crate::pipeline::validate::topology_of;
use crate::workload::MountedSecret;

/// A sink that can be rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidSink {
    /// Its name, the owner of its tables.
    pub name: ObjectName,
    /// The reference that its children carry.
    pub owner_reference: OwnerReference,
    /// The text of its batchers' settings file, which a batcher accepts.
    pub settings: String,
    /// The queues that the batchers consume.
    pub queues: Vec<String>,
    /// The broker's and the database's Secrets.
    pub secrets: [MountedSecret; 2],
    /// Batchers, none while it is paused.
    pub replicas: i32,
    /// Where they are placed.
    pub placement: Placement,
    /// The database.
    pub database: DatabaseName,
    /// For how long each table keeps its rows.
    pub retention: Vec<(Table, Option<HumanDuration>)>,
    /// How the database is reached.
    pub credentials: Credentials,
}

/// What validation found, and the sink when it can be rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// SpecValid.
    pub spec: Finding,
    /// ReferencesResolved.
    pub references: Finding,
    /// The sink, when both hold.
    pub sink: Option<ValidSink>,
}

/// Validates a sink.
#[must_use]
pub fn validate(sink: &TickSink, resolved: &Resolved, extra_ca: bool) -> Validated {
    let parsed = Blocker::from_violations(&sink.spec.violations()).and_then(|()| database_of(&sink.spec));
    let database = match parsed {
        Ok(database) => database,
        Err(blocker) => {
            let references = Finding::unknown(REFERENCES_RESOLVED, blocker.reason, "the spec is not valid");
            return Validated { spec: Finding::blocked(SPEC_VALID, &blocker), references, sink: None };
        }
    };
    let spec = Finding::holds(SPEC_VALID, "Valid", "the spec is valid");
    match valid_sink(sink, database, resolved, extra_ca) {
        Ok(valid) => {
            let references = Finding::holds(REFERENCES_RESOLVED, "Resolved", "the Pipeline and both Secrets are there");
            Validated { spec, references, sink: Some(valid) }
        }
        Err(blocker) => Validated { spec, references: Finding::blocked(REFERENCES_RESOLVED, &blocker), sink: None },
    }
}

fn valid_sink(sink: &TickSink, database: DatabaseName, resolved: &Resolved, extra_ca: bool) -> Result<ValidSink, Blocker> {
    let pipeline = resolved.pipeline.clone()?;
    Blocker::from_violations(&pipeline.spec.violations())?;
    let broker_secret = resolved.broker_secret.clone()?;
    broker_secret.broker()?;
    let database_secret = resolved.database_secret.clone()?;
    let credentials = database_secret.https()?;
    let (name, spec) = (object_name(sink), &sink.spec);
    let queues: Vec<_> = topology_of(&pipeline.spec).shard_queues().collect();
    let settings = BatcherSettings {
        environment: production::ENVIRONMENT.to_owned(),
        sink: name.clone(),
        broker: Broker { kind: pipeline.spec.broker.kind.clone(), credentials: BROKER_CREDENTIALS.into(), vhost: pipeline.spec.broker.vhost.clone() },
        queues: queues.clone(),
        database: Database { kind: spec.clickhouse.kind.clone(), credentials: DATABASE_CREDENTIALS.into(), name: spec.clickhouse.database.clone() },
        batch: BatchLimits { max_rows: spec.batch.max_rows, max_bytes: spec.batch.max_bytes.0, max_delay: spec.batch.max_delay.into() },
        extra_ca_certificates: extra_ca.then(|| EXTRA_CA_FILE.into()),
    };
    Ok(ValidSink {
        owner_reference: owner_reference(sink),
        settings: accepted(&settings)?,
        queues,
        secrets: [
            MountedSecret { name: broker_secret.name, version: broker_secret.version, folder: "secrets/broker" },
            MountedSecret { name: database_secret.name, version: database_secret.version, folder: "secrets/database" },
        ],
        replicas: if spec.state == RunState::Running { spec.replicas } else { 0 },
        placement: spec.workload.clone(),
        retention: retention_of(spec),
        database,
        credentials,
        name,
    })
}

/// The database of a sink.
///
/// # Errors
/// Its name can't be one.
pub fn database_of(spec: &TickSinkSpec) -> Result<DatabaseName, Blocker> {
    spec.clickhouse
        .database
        .parse::<DatabaseName>()
        .map_err(|error: SchemaError| Blocker::permanent(error.reason(), format!("spec.clickhouse.database: {error}")))
}

/// For how long each table keeps its rows.
#[must_use]
pub fn retention_of(spec: &TickSinkSpec) -> Vec<(Table, Option<HumanDuration>)> {
    let tables = &spec.tables;
    [(Table::Ticks, tables.ticks), (Table::Quotes, tables.quotes), (Table::FeedEvents, tables.feed_events)]
        .into_iter()
        .map(|(table, settings)| (table, settings.retention.map(HumanDuration::from)))
        .collect()
}
