//! Validate (pure): turns an ExchangeFeed and what it refers to into a type that can't be wrong.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use tapekeeper_contract::production;
use tapekeeper_contract::settings::{BROKER_CREDENTIALS, Broker, ConnectorSettings, EXTRA_CA_FILE, ObjectName, Settings};
use tapekeeper_crds::ExchangeFeed;
use tapekeeper_crds::conditions::{REFERENCES_RESOLVED, SPEC_VALID};
use tapekeeper_crds::feed::MAX_STREAMS;
use tapekeeper_crds::workload::{RunState, Workload as Placement};

use super::resolve::Resolved;
use crate::blocker::Blocker;
use crate::conditions::Finding;
use crate::controller::object_name;
use crate::workload::MountedSecret;

/// A feed that can be rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidFeed {
    /// Its name.
    pub name: ObjectName,
    /// The reference that its children carry.
    pub owner_reference: OwnerReference,
    /// The text of its connector's settings file, which the connector accepts.
    pub settings: String,
    /// The broker's Secret.
    pub broker_secret: MountedSecret,
    /// One connector, or none while it is paused.
    pub replicas: i32,
    /// Where it is placed.
    pub placement: Placement,
}

/// What validation found, and the feed when it can be rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// SpecValid.
    pub spec: Finding,
    /// ReferencesResolved.
    pub references: Finding,
    /// The feed, when both hold.
    pub feed: Option<ValidFeed>,
}

/// Validates a feed.
#[must_use]
pub fn validate(feed: &ExchangeFeed, resolved: &Resolved, extra_ca: bool) -> Validated {
    let spec = match Blocker::from_violations(&feed.spec.violations()) {
        Ok(()) => Finding::holds(SPEC_VALID, "Valid", "the spec is valid"),
        Err(blocker) => {
            let references = Finding::unknown(REFERENCES_RESOLVED, blocker.reason, "the spec is not valid");
            return Validated { spec: Finding::blocked(SPEC_VALID, &blocker), references, feed: None };
        }
    };
    match valid_feed(feed, resolved, extra_ca) {
        Ok(valid) => Validated {
            spec,
            references: Finding::holds(REFERENCES_RESOLVED, "Resolved", "the Pipeline and the broker's Secret are there"),
            feed: Some(valid),
        },
        Err(blocker) => Validated { spec, references: Finding::blocked(REFERENCES_RESOLVED, &blocker), feed: None },
    }
}

fn valid_feed(feed: &ExchangeFeed, resolved: &Resolved, extra_ca: bool) -> Result<ValidFeed, Blocker> {
    let pipeline = resolved.pipeline.clone()?;
    Blocker::from_violations(&pipeline.spec.violations())?;
    let secret = resolved.broker_secret.clone()?;
    secret.broker()?;
    let name = object_name(feed);
    let spec = &feed.spec;
    let settings = ConnectorSettings {
        environment: production::ENVIRONMENT.to_owned(),
        feed: name.clone(),
        venue: spec.venue,
        endpoint: spec.connection.endpoint.clone().unwrap_or_else(|| spec.venue.default_endpoint().to_owned()),
        instruments: spec.instruments.symbols.clone(),
        channels: spec.channels.clone(),
        max_streams: spec.connection.max_streams.unwrap_or(MAX_STREAMS),
        idle_timeout: spec.connection.idle_timeout.into(),
        broker: Broker { kind: pipeline.spec.broker.kind.clone(), credentials: BROKER_CREDENTIALS.into(), vhost: pipeline.spec.broker.vhost.clone() },
        exchange: pipeline.spec.exchange.clone(),
        extra_ca_certificates: extra_ca.then(|| EXTRA_CA_FILE.into()),
    };
    Ok(ValidFeed {
        owner_reference: owner_reference(feed),
        settings: accepted(&settings)?,
        broker_secret: MountedSecret { name: secret.name, version: secret.version, folder: "secrets/broker" },
        replicas: i32::from(spec.state == RunState::Running),
        placement: spec.workload.clone(),
        name,
    })
}

/// The text of settings that the worker accepts.
pub(crate) fn accepted<S: Settings>(settings: &S) -> Result<String, Blocker> {
    settings.check().and_then(|()| settings.to_yaml()).map_err(|error| Blocker::permanent(error.reason(), error.to_string()))
}

/// The reference that children carry; an object from a file has no uid yet.
pub(crate) fn owner_reference<K: Resource<DynamicType = ()>>(object: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: object.meta().name.clone().unwrap_or_default(),
        uid: object.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
