//! Server-side apply, with a look before each write: what already is as it should be is not written again.

use std::fmt::Debug;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tapekeeper_contract::settings::ObjectName;

use super::contained::is_contained;
use crate::error::Error;
use crate::installation::{FIELD_MANAGER, STATUS_FIELD_MANAGER};
use crate::workload::render::{RENDERED, checksum};

/// An object that the operator renders for another.
pub trait Child: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned {}
impl<K> Child for K where K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned {}

/// What an apply needs to send, and what tells whether it must.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The object, with the checksum of itself as an annotation.
    pub body: Value,
    checksum: String,
}

/// The object as it is sent.
///
/// # Errors
/// [`Error::Render`] when it can't be written as JSON.
pub fn intent<K: Child>(desired: &K) -> Result<Intent, Error> {
    let mut body = serde_json::to_value(desired).map_err(|error| Error::Render { what: "an object", why: error.to_string() })?;
    body["apiVersion"] = K::api_version(&()).into();
    body["kind"] = K::kind(&()).into();
    let checksum = checksum([body.to_string().as_str()].into_iter());
    body["metadata"]["annotations"][RENDERED] = checksum.as_str().into();
    Ok(Intent { body, checksum })
}

/// Whether `live` is not what `intent` says: rendered differently, or changed by somebody since.
#[must_use]
pub fn must_write<K: Child>(intent: &Intent, live: Option<&K>) -> bool {
    let Some(live) = live else { return true };
    let rendered_alike = live.annotations().get(RENDERED) == Some(&intent.checksum);
    // The wire form of a live object carries no kind of its own.
    let mut live = serde_json::to_value(live).unwrap_or_default();
    live["apiVersion"] = intent.body["apiVersion"].clone();
    live["kind"] = intent.body["kind"].clone();
    !rendered_alike || !is_contained(&intent.body, &live)
}

/// Whether `live` belongs to the owner with that uid. An object without a controller belongs to nobody, so not to that owner either.
#[must_use]
pub fn is_owned_by<K: Resource>(live: &K, owner_uid: &str) -> bool {
    live.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == owner_uid)
}

/// Applies `desired` unless `live` already says so.
///
/// # Errors
/// [`Error::NameConflict`] when the live object belongs to somebody else; [`Error::Kubernetes`] when the API server refuses or does not answer.
pub async fn child<K: Child>(client: &Client, desired: &K, live: Option<&K>, owner_uid: &str, kind: &'static str) -> Result<K, Error> {
    let name = desired.name_any();
    if live.is_some_and(|live| !is_owned_by(live, owner_uid)) {
        return Err(Error::NameConflict { kind, name });
    }
    let intent = intent(desired)?;
    if let Some(live) = live.filter(|_| !must_write(&intent, live)) {
        return Ok(live.clone());
    }
    let api: Api<K> = Api::namespaced(client.clone(), &desired.namespace().unwrap_or_default());
    tracing::info!(kind, name, namespace = desired.namespace(), created = live.is_none(), "applying");
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&intent.body))
        .await
        .map_err(Error::kubernetes(format!("apply {kind} {name}")))
}

/// Writes a status whole.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server refuses or does not answer.
pub async fn status<K>(client: &Client, object: &ObjectName, status: &impl Serialize) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let body = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": { "name": object.name }, "status": status });
    // Guarded, so that the answer about an object that this version can't read is no error.
    let api: Api<DeserializeGuard<K>> = Api::namespaced(client.clone(), &object.namespace);
    match api.patch_status(&object.name, &PatchParams::apply(STATUS_FIELD_MANAGER).force(), &Patch::Apply(&body)).await {
        Ok(_) => Ok(()),
        // It was deleted meanwhile: there is nobody left to tell.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::kubernetes(format!("write the status of {object}"))(error)),
    }
}

/// Scales a Deployment of ours to nothing and leaves the rest of it alone.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server refuses or does not answer.
pub async fn scale_to_nothing(client: &Client, namespace: &str, deployment: &str) -> Result<(), Error> {
    let resource = kube::api::ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let patch = json!({ "spec": { "replicas": 0 } });
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(deployment, &parameters, &Patch::Merge(&patch))
        .await
        .map(drop)
        .map_err(Error::kubernetes(format!("scale Deployment {deployment} to nothing")))
}
