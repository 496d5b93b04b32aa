//! Plan (pure and infallible): the tables and the Kubernetes objects of a TickSink.

use super::validate::ValidSink;
use crate::external::database::{DatabaseObject, schema};
use crate::installation::Installation;
use crate::workload::{Rendered, Role, Workload, render};

/// Everything of a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The database and its tables.
    pub schema: Vec<DatabaseObject>,
    /// The batchers.
    pub workload: Rendered,
}

/// Everything of a sink.
#[must_use]
pub fn plan(sink: &ValidSink, installation: &Installation) -> Planned {
    let workload = Workload {
        role: Role::Batcher,
        owner: sink.name.clone(),
        owner_reference: sink.owner_reference.clone(),
        settings: sink.settings.clone(),
        secrets: sink.secrets.to_vec(),
        replicas: sink.replicas,
        placement: sink.placement.clone(),
    };
    Planned { schema: schema(&sink.database, &sink.retention, &sink.name), workload: render::render(&workload, installation) }
}
