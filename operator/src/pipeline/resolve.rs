//! Resolve (client required): reads the Secrets that a Pipeline refers to.

use kube::Client;
use tapekeeper_crds::Pipeline;

use crate::blocker::Blocker;
use crate::controller::object_name;
use crate::error::Error;
use crate::kubernetes::references::{self, SecretView};

/// The Secrets that a Pipeline refers to.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// What workers connect with.
    pub broker_secret: Result<SecretView, Blocker>,
    /// What the operator manages with.
    pub management_secret: Result<SecretView, Blocker>,
}

/// Reads them.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server does not answer.
pub async fn resolve(pipeline: &Pipeline, client: &Client) -> Result<Resolved, Error> {
    let namespace = object_name(pipeline).namespace;
    let broker = &pipeline.spec.broker;
    let (broker_secret, management_secret) = tokio::try_join!(
        references::secret(client, &namespace, &broker.secret_ref.name),
        references::secret(client, &namespace, &broker.management_secret_ref.name)
    )?;
    Ok(Resolved { broker_secret, management_secret })
}
