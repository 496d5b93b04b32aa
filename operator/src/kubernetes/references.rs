//! Reads what a spec refers to. Secrets are read by name, never watched: a watch would hold every Secret of the cluster in memory.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};
use tapekeeper_crds::conditions::TOPOLOGY_READY;
use tapekeeper_crds::{Pipeline, PipelineSpec};
use tapekeeper_runtime::credentials::Credentials;

use crate::blocker::Blocker;
use crate::conditions;
use crate::error::Error;

/// A Secret as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Its resource version.
    pub version: String,
    /// Its data. No log shows it.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for SecretView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretView").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

impl SecretView {
    /// What a broker's Secret says.
    ///
    /// # Errors
    /// A key is missing, or production only forbids the address.
    pub fn broker(&self) -> Result<Credentials, Blocker> {
        Ok(Credentials::broker_from(&format!("secret/{}", self.name), &self.data)?)
    }

    /// What the Secret of a management interface or of a database says.
    ///
    /// # Errors
    /// As [`SecretView::broker`].
    pub fn https(&self) -> Result<Credentials, Blocker> {
        Ok(Credentials::https_from(&format!("secret/{}", self.name), &self.data)?)
    }
}

/// A Pipeline as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineView {
    /// Its spec.
    pub spec: PipelineSpec,
    /// Whether the broker has its exchanges and queues.
    pub topology: Result<(), Blocker>,
}

/// Reads a Secret.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server does not answer. That there is no such Secret, or that it may not be read, is the inner error.
pub async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Result<SecretView, Blocker>, Error> {
    match Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await {
        Ok(Some(secret)) => Ok(Ok(SecretView {
            name: name.to_owned(),
            version: secret.resource_version().unwrap_or_default(),
            data: secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect(),
        })),
        Ok(None) => Ok(Err(secret_not_found(name))),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Err(Blocker::transient(
            "SecretForbidden",
            format!("the operator may not read Secret {name}: its role lacks `get` on Secrets in this namespace"),
        ))),
        Err(error) => Err(Error::kubernetes(format!("read Secret {name}"))(error)),
    }
}

fn secret_not_found(name: &str) -> Blocker {
    Blocker::transient("SecretNotFound", format!("there is no Secret {name} in this namespace"))
}

/// Reads a Pipeline.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server does not answer. That there is no such Pipeline, or that it can't be used, is the inner error.
pub async fn pipeline(client: &Client, namespace: &str, name: &str) -> Result<Result<PipelineView, Blocker>, Error> {
    let api: Api<DeserializeGuard<Pipeline>> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(Error::kubernetes(format!("read Pipeline {name}")))?;
    Ok(match found {
        None => Err(Blocker::transient("PipelineNotFound", format!("there is no Pipeline {name} in this namespace"))),
        Some(DeserializeGuard(Err(invalid))) => {
            Err(Blocker::transient("PipelineInvalid", format!("Pipeline {name} can't be read: {}", invalid.error)))
        }
        Some(DeserializeGuard(Ok(pipeline))) => Ok(view(pipeline)),
    })
}

fn view(pipeline: Pipeline) -> PipelineView {
    let name = pipeline.name_any();
    let conditions = pipeline.status.map(|status| status.conditions).unwrap_or_default();
    let topology = if conditions::is_true(&conditions, TOPOLOGY_READY) {
        Ok(())
    } else {
        let why = conditions::find(&conditions, TOPOLOGY_READY)
            .map_or_else(|| "it was not reconciled yet".to_owned(), |condition| condition.message.clone());
        Err(Blocker::transient("PipelineNotReady", format!("Pipeline {name} has no topology yet: {why}")))
    };
    PipelineView { spec: pipeline.spec, topology }
}
