//! What the installation says about every worker: its image and what it must trust.

/// The field manager of Deployments and ConfigMaps.
pub const FIELD_MANAGER: &str = "tapekeeper-operator";
/// The field manager of statuses.
pub const STATUS_FIELD_MANAGER: &str = "tapekeeper-operator-status";

/// What the installation says about every worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The workers' image.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// Secrets to pull it with.
    pub pull_secrets: Vec<String>,
    /// PEM text of certificate authorities beside the public ones.
    pub extra_ca: Option<String>,
}
