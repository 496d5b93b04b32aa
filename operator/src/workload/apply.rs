//! Applies a worker's objects, and keeps the last known good when there is nothing new that could be applied.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt};
use tapekeeper_contract::settings::ObjectName;

use super::naming::{self, Role};
use super::render::Rendered;
use crate::blocker::Blocker;
use crate::error::Error;
use crate::kubernetes::apply::{self, is_owned_by};

/// A worker's objects as they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// The pods.
    pub deployment: Option<Deployment>,
    /// The settings.
    pub config_map: Option<ConfigMap>,
}

/// What became of a worker's objects.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// They are as they should be.
    Applied(Box<Deployment>),
    /// They are left as they are, because nothing new could be rendered.
    Kept(Option<Box<Deployment>>),
    /// They are not there yet, and wait for something else.
    Waiting(Blocker),
    /// They could not be applied.
    Refused(Blocker),
}

/// Reads a worker's objects.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server refuses or does not answer.
pub async fn look(client: &Client, role: Role, owner: &ObjectName) -> Result<Live, Error> {
    let name = naming::child(role, &owner.name);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &owner.namespace);
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &owner.namespace);
    let (deployment, config_map) =
        tokio::try_join!(deployments.get_opt(&name), config_maps.get_opt(&name)).map_err(Error::kubernetes(format!("read {name}")))?;
    Ok(Live { deployment, config_map })
}

/// Applies a worker. A worker that does not run yet waits for `gate`; one that runs is not stopped because its gate shut.
pub async fn apply(client: &Client, rendered: &Rendered, live: &Live, owner_uid: &str, gate: &Result<(), Blocker>) -> Outcome {
    if let (None, Err(blocker)) = (&live.deployment, gate) {
        return Outcome::Waiting(blocker.clone());
    }
    let apply_all = async {
        apply::child(client, &rendered.config_map, live.config_map.as_ref(), owner_uid, "ConfigMap").await?;
        apply::child(client, &rendered.deployment, live.deployment.as_ref(), owner_uid, "Deployment").await
    };
    match apply_all.await {
        Ok(deployment) => Outcome::Applied(Box::new(deployment)),
        Err(error) => Outcome::Refused(Blocker::from(&error)),
    }
}

/// Keeps what runs. A pause is obeyed all the same: it needs nothing but the Deployment itself.
pub async fn keep(client: &Client, live: &Live, owner_uid: &str, paused: bool) -> Outcome {
    let Some(deployment) = live.deployment.as_ref().filter(|deployment| is_owned_by(*deployment, owner_uid)) else { return Outcome::Kept(None) };
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    if paused && replicas != 0 {
        let namespace = deployment.namespace().unwrap_or_default();
        if let Err(error) = apply::scale_to_nothing(client, &namespace, &deployment.name_any()).await {
            return Outcome::Refused(Blocker::from(&error));
        }
    }
    Outcome::Kept(Some(Box::new(deployment.clone())))
}
