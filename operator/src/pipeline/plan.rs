//! Plan (pure and infallible): what the broker should have.

use super::validate::ValidPipeline;
use crate::external::broker::{BrokerObject, topology};

/// The broker's objects, in the order in which they are declared.
#[must_use]
pub fn plan(pipeline: &ValidPipeline) -> Vec<BrokerObject> {
    topology(&pipeline.topology, &pipeline.options, &pipeline.name)
}
