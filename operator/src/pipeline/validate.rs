//! Validate (pure): turns a Pipeline and its Secrets into a type that can't be wrong.

use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::topology::Topology;
use tapekeeper_crds::conditions::{REFERENCES_RESOLVED, SPEC_VALID};
use tapekeeper_crds::{Pipeline, PipelineSpec};
use tapekeeper_runtime::credentials::Credentials;

use super::resolve::Resolved;
use crate::blocker::Blocker;
use crate::conditions::Finding;
use crate::controller::object_name;
use crate::external::broker::TopologyOptions;

/// How often a message may be delivered before it goes to the dead letters. A batcher that restarts gives back what it held, so it must not be small.
const DELIVERY_LIMIT: u32 = 100;

/// A Pipeline that can be declared.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidPipeline {
    /// Its name, the owner of its objects.
    pub name: ObjectName,
    /// The virtual host.
    pub vhost: String,
    /// Its objects' names.
    pub topology: Topology,
    /// Their bounds.
    pub options: TopologyOptions,
    /// How the broker is managed.
    pub management: Credentials,
}

/// What validation found, and the Pipeline when it can be declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// SpecValid.
    pub spec: Finding,
    /// ReferencesResolved.
    pub references: Finding,
    /// The Pipeline, when both hold.
    pub pipeline: Option<ValidPipeline>,
}

/// Validates a Pipeline.
#[must_use]
pub fn validate(pipeline: &Pipeline, resolved: &Resolved) -> Validated {
    let spec = match Blocker::from_violations(&pipeline.spec.violations()) {
        Ok(()) => Finding::holds(SPEC_VALID, "Valid", "the spec is valid"),
        Err(blocker) => {
            let references = Finding::unknown(REFERENCES_RESOLVED, blocker.reason, "the spec is not valid");
            return Validated { spec: Finding::blocked(SPEC_VALID, &blocker), references, pipeline: None };
        }
    };
    match valid_pipeline(pipeline, resolved) {
        Ok(valid) => Validated { spec, references: Finding::holds(REFERENCES_RESOLVED, "Resolved", "both Secrets are there"), pipeline: Some(valid) },
        Err(blocker) => Validated { spec, references: Finding::blocked(REFERENCES_RESOLVED, &blocker), pipeline: None },
    }
}

fn valid_pipeline(pipeline: &Pipeline, resolved: &Resolved) -> Result<ValidPipeline, Blocker> {
    resolved.broker_secret.clone()?.broker()?;
    let management = resolved.management_secret.clone()?.https()?;
    Ok(ValidPipeline {
        name: object_name(pipeline),
        vhost: pipeline.spec.broker.vhost.clone(),
        topology: topology_of(&pipeline.spec),
        options: options_of(&pipeline.spec),
        management,
    })
}

/// The names of a Pipeline's objects.
#[must_use]
pub fn topology_of(spec: &PipelineSpec) -> Topology {
    Topology::new(&spec.exchange, spec.shards)
}

/// The bounds of a Pipeline's objects.
#[must_use]
pub fn options_of(spec: &PipelineSpec) -> TopologyOptions {
    TopologyOptions {
        replay_max_age: spec.replay.max_age.into(),
        replay_max_bytes: spec.replay.max_bytes.map(|bytes| bytes.0),
        dead_letter_max_age: spec.dead_letter.max_age.into(),
        delivery_limit: DELIVERY_LIMIT,
    }
}
