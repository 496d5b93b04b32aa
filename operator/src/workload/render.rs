//! Renders a worker's Deployment and ConfigMap: pure and infallible.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, ConfigMapProjection, Container, ContainerPort, HTTPGetAction, KeyToPath, LocalObjectReference, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, SeccompProfile, SecretProjection, SecurityContext, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest, Sha256};
use tapekeeper_contract::settings::{EXTRA_CA_FILE, HTTP_PORT, ObjectName, SETTINGS_FILE};
use tapekeeper_crds::workload::Workload as Placement;

use super::naming::{self, Role};
use crate::installation::Installation;

/// The annotation that tells the operator whether a child still is what it rendered last.
pub const RENDERED: &str = "tapekeeper.dev/rendered";
/// Rolls the pods when the settings change.
pub const SETTINGS_CHECKSUM: &str = "tapekeeper.dev/settings-checksum";
/// Rolls the pods when a Secret is rotated.
pub const SECRETS_CHECKSUM: &str = "tapekeeper.dev/secrets-checksum";
/// A worker drains for up to 30 s when it is told to stop; the rest is for the container runtime.
const GRACE_SECONDS: i64 = 45;
const USER: i64 = 65_532;
const FOLDER: &str = "/etc/tapekeeper";

/// A Secret that is mounted into the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedSecret {
    /// Its name.
    pub name: String,
    /// Its resource version: another one rolls the pods.
    pub version: String,
    /// The folder into which it is mounted, below `/etc/tapekeeper`.
    pub folder: &'static str,
}

/// Everything about a worker that can vary.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// What it does.
    pub role: Role,
    /// For whom.
    pub owner: ObjectName,
    /// The reference to it that its children carry.
    pub owner_reference: OwnerReference,
    /// The text of its settings file.
    pub settings: String,
    /// Its Secrets.
    pub secrets: Vec<MountedSecret>,
    /// Its pods.
    pub replicas: i32,
    /// Where they are placed.
    pub placement: Placement,
}

/// A worker's objects, ready to be applied in this order: what is mounted comes before the pods that mount it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The settings, and the certificate authorities of the installation.
    pub config_map: ConfigMap,
    /// The pods.
    pub deployment: Deployment,
}

/// Renders a worker.
#[must_use]
pub fn render(workload: &Workload, installation: &Installation) -> Rendered {
    let name = naming::child(workload.role, &workload.owner.name);
    let metadata = || ObjectMeta {
        name: Some(name.clone()),
        namespace: Some(workload.owner.namespace.clone()),
        labels: Some(naming::labels(workload.role, &workload.owner.name)),
        owner_references: Some(vec![workload.owner_reference.clone()]),
        ..ObjectMeta::default()
    };
    let config_map = ConfigMap { metadata: metadata(), data: Some(files(workload, installation)), ..ConfigMap::default() };
    let deployment = Deployment {
        metadata: metadata(),
        spec: Some(DeploymentSpec {
            replicas: Some(workload.replicas),
            selector: LabelSelector { match_labels: Some(naming::selector(workload.role, &workload.owner.name)), ..LabelSelector::default() },
            strategy: Some(strategy(workload.role)),
            revision_history_limit: Some(3),
            template: template(workload, installation, &name),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    Rendered { config_map, deployment }
}

fn files(workload: &Workload, installation: &Installation) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([(file_name(SETTINGS_FILE), workload.settings.clone())]);
    if let Some(pem) = &installation.extra_ca {
        files.insert(file_name(EXTRA_CA_FILE), pem.clone());
    }
    files
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// Two connectors at once would publish every tick twice; batchers share their queues, one active consumer for each.
fn strategy(role: Role) -> DeploymentStrategy {
    match role {
        Role::Connector => DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None },
        Role::Batcher => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment { max_surge: Some(IntOrString::Int(1)), max_unavailable: Some(IntOrString::Int(0)) }),
        },
    }
}

fn template(workload: &Workload, installation: &Installation, name: &str) -> PodTemplateSpec {
    let placement = &workload.placement;
    let mut annotations = placement.pod_annotations.clone();
    annotations
        .insert(SETTINGS_CHECKSUM.to_owned(), checksum(files(workload, installation).iter().flat_map(|(file, text)| [file.as_str(), text.as_str()])));
    annotations
        .insert(SECRETS_CHECKSUM.to_owned(), checksum(workload.secrets.iter().flat_map(|secret| [secret.name.as_str(), secret.version.as_str()])));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(naming::labels(workload.role, &workload.owner.name)),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(workload, installation)],
            volumes: Some(vec![volume(workload, name)]),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            image_pull_secrets: absent_when_empty(installation.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()),
            node_selector: Some(placement.node_selector.clone()).filter(|map| !map.is_empty()),
            tolerations: absent_when_empty(placement.tolerations.clone()),
            affinity: placement.affinity.clone(),
            priority_class_name: placement.priority_class_name.clone(),
            ..PodSpec::default()
        }),
    }
}

fn container(workload: &Workload, installation: &Installation) -> Container {
    let probe = |path: &str, period| Probe {
        http_get: Some(HTTPGetAction { path: Some(path.to_owned()), port: IntOrString::String("http".to_owned()), ..HTTPGetAction::default() }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(3),
        ..Probe::default()
    };
    Container {
        name: workload.role.command().to_owned(),
        image: Some(installation.image.clone()),
        image_pull_policy: Some(installation.pull_policy.clone()),
        args: Some(vec![workload.role.command().to_owned()]),
        ports: Some(vec![ContainerPort {
            name: Some("http".to_owned()),
            container_port: i32::from(HTTP_PORT),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: workload.placement.resources.clone(),
        liveness_probe: Some(Probe { initial_delay_seconds: Some(5), ..probe("/healthz", 10) }),
        readiness_probe: Some(probe("/readyz", 5)),
        volume_mounts: Some(vec![VolumeMount {
            name: "tapekeeper".to_owned(),
            mount_path: FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// One volume for settings and Secrets: a Secret can't be mounted below a ConfigMap, which is read-only.
fn volume(workload: &Workload, name: &str) -> Volume {
    let config_map = VolumeProjection {
        config_map: Some(ConfigMapProjection { name: name.to_owned(), ..ConfigMapProjection::default() }),
        ..VolumeProjection::default()
    };
    let secrets = workload.secrets.iter().flat_map(|secret| {
        let source = |keys: &[&str], optional| VolumeProjection {
            secret: Some(SecretProjection {
                name: secret.name.clone(),
                items: Some(
                    keys.iter().map(|key| KeyToPath { key: (*key).to_owned(), path: format!("{}/{key}", secret.folder), mode: None }).collect(),
                ),
                optional,
            }),
            ..VolumeProjection::default()
        };
        [source(&["uri", "username", "password"], None), source(&["ca.crt"], Some(true))]
    });
    Volume {
        name: "tapekeeper".to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(0o440), sources: Some(std::iter::once(config_map).chain(secrets).collect()) }),
        ..Volume::default()
    }
}

fn absent_when_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// A checksum of texts, each with its length, so that no two lists run together.
pub(crate) fn checksum<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
