//! Resolve (client required): reads what a TickSink refers to, and what of it already runs.

use kube::Client;
use tapekeeper_crds::TickSink;

use crate::blocker::Blocker;
use crate::controller::object_name;
use crate::error::Error;
use crate::kubernetes::references::{self, PipelineView, SecretView};
use crate::workload::{Live, Role, apply};

/// What a sink refers to, and what of it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Its Pipeline.
    pub pipeline: Result<PipelineView, Blocker>,
    /// The Secret that its batchers reach the broker with: the Pipeline names it.
    pub broker_secret: Result<SecretView, Blocker>,
    /// The Secret of the database.
    pub database_secret: Result<SecretView, Blocker>,
    /// Its batchers.
    pub live: Live,
}

/// Reads what a sink refers to, and what of it runs.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server does not answer.
pub async fn resolve(sink: &TickSink, client: &Client) -> Result<Resolved, Error> {
    let name = object_name(sink);
    let live = apply::look(client, Role::Batcher, &name).await?;
    let pipeline = references::pipeline(client, &name.namespace, &sink.spec.pipeline_ref.name).await?;
    let broker_secret = match &pipeline {
        Ok(pipeline) => references::secret(client, &name.namespace, &pipeline.spec.broker.secret_ref.name).await?,
        Err(blocker) => Err(blocker.clone()),
    };
    let database_secret = references::secret(client, &name.namespace, &sink.spec.clickhouse.secret_ref.name).await?;
    Ok(Resolved { pipeline, broker_secret, database_secret, live })
}
