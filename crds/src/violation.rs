//! A rule of the API that a spec breaks. The same rules stand in the CRD as CEL; here they are for whoever reads a spec that no API server has checked.

use tapekeeper_contract::Forbidden;

/// A rule that a spec breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Production only forbids it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The value is not allowed.
    #[error("{field}: {why}")]
    NotAllowed {
        /// The field's path.
        field: String,
        /// The value, why it is refused and what is allowed.
        why: String,
    },
}

impl Violation {
    /// The field `field` is refused because of `why`.
    #[must_use]
    pub fn not_allowed(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::NotAllowed { field: field.into(), why: why.into() }
    }

    /// A word for conditions and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "Forbidden",
            Self::NotAllowed { .. } => "InvalidSpec",
        }
    }
}

/// Collects what several rules say.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<Violation>);

impl Violations {
    pub(crate) fn production<T>(&mut self, result: Result<T, Forbidden>) {
        if let Err(forbidden) = result {
            self.0.push(forbidden.into());
        }
    }

    pub(crate) fn refuse_unless(&mut self, holds: bool, field: &str, why: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation::not_allowed(field, why()));
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

/// The items of `list` that occur more than once, each once.
pub(crate) fn repeated<T: PartialEq>(list: &[T]) -> Vec<&T> {
    let mut repeated = Vec::new();
    for (index, item) in list.iter().enumerate() {
        if list[..index].contains(item) && !repeated.contains(&item) {
            repeated.push(item);
        }
    }
    repeated
}
