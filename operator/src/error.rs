//! What a reconcile can fail with, beyond what it reports as a condition.

use crate::blocker::Blocker;

/// A reconcile that could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API refused or did not answer.
    #[error("can't {what}: {source}")]
    Kubernetes {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// An object of that name exists and belongs to somebody else.
    #[error("{kind} {name} exists and does not belong to this object: the operator does not adopt it; rename or delete one of them")]
    NameConflict {
        /// The kind of the object in the way.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A value could not be written as JSON, which is a defect of the operator.
    #[error("can't render {what}: {why}")]
    Render {
        /// What was rendered.
        what: &'static str,
        /// Why it failed.
        why: String,
    },
}

impl Error {
    /// `what` failed on the Kubernetes API.
    pub fn kubernetes(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Kubernetes { what, source: Box::new(source) }
    }

    /// A word for metrics, events and conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Kubernetes { source, .. } => match &**source {
                kube::Error::Api(status) if status.code == 403 => "KubernetesForbidden",
                kube::Error::Api(status) if status.code == 409 => "KubernetesConflict",
                kube::Error::Api(status) if status.code == 422 || status.code == 400 => "KubernetesRefused",
                _ => "KubernetesUnavailable",
            },
            Self::NameConflict { .. } => "NameConflict",
            Self::Render { .. } => "RenderFailed",
        }
    }

    /// Whether only a change of the manifest or of the cluster can cure it.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Kubernetes { source, .. } => matches!(&**source, kube::Error::Api(status) if status.code == 422 || status.code == 400),
            Self::NameConflict { .. } | Self::Render { .. } => true,
        }
    }
}

impl From<&Error> for Blocker {
    fn from(error: &Error) -> Self {
        Self { reason: error.reason(), message: error.to_string(), permanent: error.is_permanent() }
    }
}
