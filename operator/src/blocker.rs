//! Why something can't go on: the word for conditions, the sentence for people, and whether waiting alone can cure it.

use tapekeeper_crds::Violation;
use tapekeeper_runtime::credentials::CredentialsError;

/// Why something can't go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// One word, the reason of a condition.
    pub reason: &'static str,
    /// A sentence, the message of a condition. Never a secret.
    pub message: String,
    /// Somebody must change something; until then trying again is in vain.
    pub permanent: bool,
}

impl Blocker {
    /// Something that passes by itself.
    #[must_use]
    pub fn transient(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), permanent: false }
    }

    /// Something that somebody must change.
    #[must_use]
    pub fn permanent(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), permanent: true }
    }

    /// The rules that a spec breaks, or nothing when it breaks none.
    ///
    /// # Errors
    /// The first rule's reason, with every rule in the message.
    pub fn from_violations(violations: &[Violation]) -> Result<(), Self> {
        let Some(first) = violations.first() else { return Ok(()) };
        let message = violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Err(Self::permanent(first.reason(), message))
    }
}

impl From<CredentialsError> for Blocker {
    fn from(error: CredentialsError) -> Self {
        Self::permanent(error.reason(), error.to_string())
    }
}
