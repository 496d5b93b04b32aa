//! What was read back from a database, and its difference to what is desired.

use std::collections::BTreeMap;

use super::error::SchemaError;
use super::objects::{DatabaseObject, Statement};
use crate::external::difference::Difference;

/// A database as it exists. The default is one that does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedDatabase {
    /// Whether it exists.
    pub exists: bool,
    /// Its COMMENT.
    pub comment: String,
    /// All of its tables, by name.
    pub tables: BTreeMap<String, ObservedTable>,
}

/// A table as it exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedTable {
    /// Its engine's name.
    pub engine: String,
    /// Its sorting key, without parentheses.
    pub sorting_key: String,
    /// Its partition key.
    pub partition_key: String,
    /// Its TTL expression.
    pub ttl: Option<String>,
    /// Its settings.
    pub settings: BTreeMap<String, String>,
    /// Its COMMENT.
    pub comment: String,
    /// Its columns, in order. Read for the tape's tables only.
    pub columns: Vec<ObservedColumn>,
}

/// A column as it exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its codecs, without the word `CODEC`; empty for the server's default.
    pub codec: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL`, or empty.
    pub default_kind: String,
    /// Its COMMENT.
    pub comment: String,
}

/// The clauses that `system.tables.engine_full` alone tells: the TTL expression and the settings.
///
/// The text is `MergeTree PARTITION BY … ORDER BY … [TTL …] [SETTINGS name = value, …]`, in this order.
#[must_use]
pub(super) fn engine_clauses(engine_full: &str) -> (Option<String>, BTreeMap<String, String>) {
    let (head, settings) = engine_full.rsplit_once(" SETTINGS ").unwrap_or((engine_full, ""));
    let ttl = head.split_once(" TTL ").map(|(_, ttl)| ttl.trim().to_owned());
    let settings = settings.split(", ").filter_map(|one| one.split_once(" = ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (ttl, settings)
}

/// The statements that make what exists as desired, in order; none when it already is.
///
/// # Errors
/// The first refusal. Nothing of the rest should be applied then: a schema is applied whole.
pub fn statements(desired: &[DatabaseObject], observed: &ObservedDatabase) -> Result<Vec<Statement>, SchemaError> {
    let mut difference = Difference::default();
    for object in desired {
        match object {
            DatabaseObject::Database(database) => difference.add(database, observed),
            DatabaseObject::Table(table) => difference.add(table, observed),
        }
    }
    match difference.refusals.into_iter().next() {
        Some(refusal) => Err(refusal),
        None => Ok(difference.operations.into_iter().map(|planned| planned.operation).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_clauses_are_read_from_its_full_text() {
        let full = "MergeTree PARTITION BY toYYYYMMDD(timestamp) ORDER BY (exchange, timestamp) TTL toDateTime(timestamp) + toIntervalDay(90) \
                    SETTINGS non_replicated_deduplication_window = 10000, storage_policy = 'hot', index_granularity = 8192";
        let settings = [("index_granularity", "8192"), ("non_replicated_deduplication_window", "10000"), ("storage_policy", "'hot'")];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(engine_clauses(full), (Some("toDateTime(timestamp) + toIntervalDay(90)".to_owned()), settings));
        assert_eq!(engine_clauses("MergeTree ORDER BY a"), (None, BTreeMap::new()));
    }
}
