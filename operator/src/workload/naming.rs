//! Names and labels of a worker's objects. They are a contract: a Deployment's selector can never be changed.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads a venue for an ExchangeFeed.
    Connector,
    /// Writes tables for a TickSink.
    Batcher,
}

impl Role {
    /// The subcommand of the worker's image, and the suffix of the objects' names.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Batcher => "batcher",
        }
    }

    const fn app(self) -> &'static str {
        match self {
            Self::Connector => "tapekeeper-connector",
            Self::Batcher => "tapekeeper-batcher",
        }
    }
}

/// Marks what the operator made, so that its watches see nothing else.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tapekeeper-operator");
const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
/// Pods add 17 characters to the name of their Deployment, and no label may be longer than 63.
const LONGEST: usize = 46;

/// The name of the Deployment and the ConfigMap of `owner`.
#[must_use]
pub fn child(role: Role, owner: &str) -> String {
    format!("{}-{}", instance(role, owner), role.command())
}

/// The owner's name as a label: itself when that is possible, else cut and made unique by a hash.
fn instance(role: Role, owner: &str) -> String {
    let room = LONGEST - role.command().len() - 1;
    if owner.len() <= room && !owner.contains('.') {
        return owner.to_owned();
    }
    let hash: String = Sha256::digest(owner.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = owner.chars().map(|c| if c == '.' { '-' } else { c }).take(room - hash.len() - 1).collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

/// The labels that select the pods of `owner`.
#[must_use]
pub fn selector(role: Role, owner: &str) -> BTreeMap<String, String> {
    [(NAME, role.app().to_owned()), (INSTANCE, instance(role, owner))].into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Whether a label is one of those that [`selector`] uses.
#[must_use]
pub fn is_selecting(label: &str) -> bool {
    label == NAME || label == INSTANCE
}

/// The labels of everything that is made for `owner`.
#[must_use]
pub fn labels(role: Role, owner: &str) -> BTreeMap<String, String> {
    let mut labels = selector(role, owner);
    for (key, value) in [MANAGED_BY, ("app.kubernetes.io/part-of", "tapekeeper"), ("app.kubernetes.io/component", role.command())] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// A selector as the scale subresource wants it.
#[must_use]
pub fn selector_text(role: Role, owner: &str) -> String {
    selector(role, owner).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_stays_and_a_long_or_dotted_one_is_cut_and_made_unique() {
        assert_eq!(child(Role::Connector, "binance"), "binance-connector");
        let long = child(Role::Batcher, &"a".repeat(253));
        assert_eq!(long.len(), LONGEST);
        assert_ne!(child(Role::Batcher, &"a".repeat(252)), long);
        assert_ne!(child(Role::Batcher, "a.b"), child(Role::Batcher, "a-b"));
        assert!(!child(Role::Batcher, "a.b").contains('.'));
    }

    #[test]
    fn the_selector_is_the_contract_that_it_was_from_the_first_version() {
        assert_eq!(selector_text(Role::Batcher, "tape"), "app.kubernetes.io/instance=tape,app.kubernetes.io/name=tapekeeper-batcher");
    }
}
