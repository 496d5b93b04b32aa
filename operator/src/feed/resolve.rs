//! Resolve (client required): reads what an ExchangeFeed refers to, and what of it already runs.

use kube::Client;
use tapekeeper_crds::ExchangeFeed;

use crate::blocker::Blocker;
use crate::controller::object_name;
use crate::error::Error;
use crate::kubernetes::references::{self, PipelineView, SecretView};
use crate::workload::{Live, Role, apply};

/// What a feed refers to, and what of it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Its Pipeline.
    pub pipeline: Result<PipelineView, Blocker>,
    /// The Secret that its connector reaches the broker with: the Pipeline names it.
    pub broker_secret: Result<SecretView, Blocker>,
    /// Its connector.
    pub live: Live,
}

/// Reads what a feed refers to, and what of it runs.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server does not answer.
pub async fn resolve(feed: &ExchangeFeed, client: &Client) -> Result<Resolved, Error> {
    let name = object_name(feed);
    let live = apply::look(client, Role::Connector, &name).await?;
    let pipeline = references::pipeline(client, &name.namespace, &feed.spec.pipeline_ref.name).await?;
    let broker_secret = match &pipeline {
        Ok(pipeline) => references::secret(client, &name.namespace, &pipeline.spec.broker.secret_ref.name).await?,
        Err(blocker) => Err(blocker.clone()),
    };
    Ok(Resolved { pipeline, broker_secret, live })
}
