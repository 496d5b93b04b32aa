//! The kinds of database objects, and how each becomes what it should be.

use std::fmt;

use serde::Serialize;
use tapekeeper_contract::HumanDuration;

use super::error::SchemaError;
use super::observed::{ObservedColumn, ObservedDatabase, ObservedTable};
use super::ownership::Ownership;
use super::quoting::{DatabaseName, identifier, literal};
use super::retention;
use crate::external::difference::External;

/// The one engine. Replacing engines are no answer to duplicates: a view on one counts a row twice before the merge removes it.
const ENGINE: &str = "MergeTree";

/// An object that a TickSink wants.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "object", rename_all = "camelCase")]
pub enum DatabaseObject {
    /// A database.
    Database(Database),
    /// A table.
    Table(DesiredTable),
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Its name.
    pub name: DatabaseName,
    /// Its marker, if it has to be created.
    pub ownership: Ownership,
}

/// A table as it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredTable {
    /// Its database.
    pub database: DatabaseName,
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<DesiredColumn>,
    /// Its partition key.
    pub partition_by: String,
    /// Its sorting key, without parentheses.
    pub order_by: String,
    /// How long a row is kept; for ever when `None`.
    pub retention: Option<HumanDuration>,
    /// Its settings, in order.
    pub settings: Vec<(String, String)>,
    /// Its marker.
    pub ownership: Ownership,
}

/// A column as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredColumn {
    /// Its name.
    pub name: String,
    /// Its type, as ClickHouse shows it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its codecs, as ClickHouse shows them, without the word `CODEC`.
    pub codec: String,
    /// What it holds.
    pub comment: String,
}

/// An SQL statement with what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The object: `database market` or `table market.ticks`.
    pub object: String,
    /// What is done to it, for example `create` or `modify ttl`.
    pub what: String,
    /// The statement.
    pub sql: String,
}

impl External for Database {
    type World = ObservedDatabase;
    type Observed<'w> = &'w ObservedDatabase;
    type Operation = Statement;
    type Refusal = SchemaError;

    fn get<'w>(&self, world: &'w ObservedDatabase) -> Option<&'w ObservedDatabase> {
        world.exists.then_some(world)
    }

    fn create(&self, _: &ObservedDatabase) -> Result<Vec<Statement>, SchemaError> {
        let sql = format!("CREATE DATABASE IF NOT EXISTS {} COMMENT {}", identifier(self.name.as_str()), literal(&self.ownership.to_string()));
        Ok(vec![self.statement("create", sql)])
    }

    /// Any database will do: what matters is whose its tables are.
    fn update(&self, _: &ObservedDatabase) -> Result<Vec<Statement>, SchemaError> {
        Ok(Vec::new())
    }

    fn drop(&self, observed: &ObservedDatabase) -> Vec<Statement> {
        if Ownership::parse(&observed.comment).is_none_or(|marker| marker.owner != self.ownership.owner) {
            return Vec::new();
        }
        vec![self.statement("drop", format!("DROP DATABASE IF EXISTS {} SYNC", identifier(self.name.as_str())))]
    }
}

impl Database {
    fn statement(&self, what: &str, sql: String) -> Statement {
        Statement { object: format!("database {}", self.name), what: what.to_owned(), sql }
    }
}

impl External for DesiredTable {
    type World = ObservedDatabase;
    type Observed<'w> = &'w ObservedTable;
    type Operation = Statement;
    type Refusal = SchemaError;

    fn get<'w>(&self, world: &'w ObservedDatabase) -> Option<&'w ObservedTable> {
        world.tables.get(&self.name)
    }

    fn create(&self, _: &ObservedDatabase) -> Result<Vec<Statement>, SchemaError> {
        Ok(vec![self.statement("create", self.creation())])
    }

    fn update(&self, observed: &ObservedTable) -> Result<Vec<Statement>, SchemaError> {
        self.require_ours(observed)?;
        self.require_same_layout(observed)?;
        let mut statements = self.column_changes(observed)?;
        statements.extend(self.retention_change(observed));
        statements.extend(self.setting_change(observed));
        // Last, so that the version in the comment never runs ahead of the columns.
        if observed.comment != self.ownership.to_string() {
            statements.push(self.alter("modify comment", &format!("MODIFY COMMENT {}", literal(&self.ownership.to_string()))));
        }
        Ok(statements)
    }

    fn drop(&self, observed: &ObservedTable) -> Vec<Statement> {
        if Ownership::parse(&observed.comment).is_none_or(|marker| marker.owner != self.ownership.owner) {
            return Vec::new();
        }
        vec![self.statement("drop", format!("DROP TABLE IF EXISTS {} SYNC", self.qualified()))]
    }
}

impl DesiredTable {
    fn label(&self) -> String {
        format!("table {}.{}", self.database, self.name)
    }

    fn qualified(&self) -> String {
        format!("{}.{}", identifier(self.database.as_str()), identifier(&self.name))
    }

    fn statement(&self, what: &str, sql: String) -> Statement {
        Statement { object: self.label(), what: what.to_owned(), sql }
    }

    fn alter(&self, what: &str, change: &str) -> Statement {
        self.statement(what, format!("ALTER TABLE {} {change}", self.qualified()))
    }

    fn creation(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| format!("    {column}")).collect();
        let settings: Vec<String> = self.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let ttl = self.retention.map(|kept| format!("TTL {}\n", retention::expression(kept))).unwrap_or_default();
        format!(
            "CREATE TABLE IF NOT EXISTS {}\n(\n{}\n)\nENGINE = {ENGINE}\nPARTITION BY {}\nORDER BY ({})\n{ttl}SETTINGS {}\nCOMMENT {}",
            self.qualified(),
            columns.join(",\n"),
            self.partition_by,
            self.order_by,
            settings.join(", "),
            literal(&self.ownership.to_string()),
        )
    }

    fn require_ours(&self, observed: &ObservedTable) -> Result<(), SchemaError> {
        match Ownership::parse(&observed.comment) {
            Some(marker) if marker.owner == self.ownership.owner => {
                if marker.schema > self.ownership.schema {
                    let (have, want) = (marker.schema.to_string(), self.ownership.schema.to_string());
                    return Err(self.destructive("", "schema version", have, want));
                }
                Ok(())
            }
            other => Err(SchemaError::NameConflict { object: self.label(), owner: other.map(|marker| marker.owner) }),
        }
    }

    fn require_same_layout(&self, observed: &ObservedTable) -> Result<(), SchemaError> {
        let fields = [
            ("engine", observed.engine.as_str(), ENGINE),
            ("sorting key", &observed.sorting_key, &self.order_by),
            ("partition key", &observed.partition_key, &self.partition_by),
        ];
        match fields.into_iter().find(|(_, have, want)| have != want) {
            Some((field, have, want)) => Err(self.destructive("", field, have.to_owned(), want.to_owned())),
            None => Ok(()),
        }
    }

    fn column_changes(&self, observed: &ObservedTable) -> Result<Vec<Statement>, SchemaError> {
        let mut statements = Vec::new();
        let mut before: Option<&DesiredColumn> = None;
        for column in &self.columns {
            match observed.columns.iter().find(|found| found.name == column.name) {
                None => {
                    let place = before.map_or_else(|| "FIRST".to_owned(), |before| format!("AFTER {}", identifier(&before.name)));
                    statements.push(self.alter(&format!("add column {}", column.name), &format!("ADD COLUMN IF NOT EXISTS {column} {place}")));
                }
                Some(found) => statements.extend(self.column_change(column, found)?),
            }
            before = Some(column);
        }
        // A column that somebody added stays theirs, as long as it says itself what the tape's rows hold in it.
        let ours = |found: &&ObservedColumn| self.columns.iter().any(|column| column.name == found.name);
        if let Some(extra) = observed.columns.iter().find(|found| !ours(found) && found.default_kind.is_empty()) {
            return Err(self.destructive(
                &format!(" column {}", extra.name),
                "default",
                "absent".to_owned(),
                "a DEFAULT of its own, or no such column".to_owned(),
            ));
        }
        Ok(statements)
    }

    fn column_change(&self, column: &DesiredColumn, found: &ObservedColumn) -> Result<Vec<Statement>, SchemaError> {
        let place = format!(" column {}", column.name);
        if found.kind != column.kind {
            return Err(self.destructive(&place, "type", found.kind.clone(), column.kind.clone()));
        }
        // A default is harmless, since every column is written. A computed column can't be written at all.
        if !matches!(found.default_kind.as_str(), "" | "DEFAULT") {
            return Err(self.destructive(&place, "kind", found.default_kind.clone(), "a plain column".to_owned()));
        }
        let mut statements = Vec::new();
        if found.codec != column.codec {
            let change = format!("MODIFY COLUMN {} CODEC({})", identifier(&column.name), column.codec);
            statements.push(self.alter(&format!("modify codec of {}", column.name), &change));
        }
        if found.comment != column.comment {
            let change = format!("COMMENT COLUMN {} {}", identifier(&column.name), literal(&column.comment));
            statements.push(self.alter(&format!("modify comment of {}", column.name), &change));
        }
        Ok(statements)
    }

    fn retention_change(&self, observed: &ObservedTable) -> Option<Statement> {
        match (self.retention, &observed.ttl) {
            (None, None) => None,
            (None, Some(_)) => Some(self.alter("remove ttl", "REMOVE TTL")),
            (Some(kept), Some(ttl)) if retention::parse(ttl) == Some(retention::seconds(kept)) => None,
            (Some(kept), _) => Some(self.alter("modify ttl", &format!("MODIFY TTL {}", retention::expression(kept)))),
        }
    }

    fn setting_change(&self, observed: &ObservedTable) -> Option<Statement> {
        let drifted: Vec<String> = self
            .settings
            .iter()
            .filter(|(name, value)| observed.settings.get(name) != Some(value))
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        (!drifted.is_empty()).then(|| self.alter("modify settings", &format!("MODIFY SETTING {}", drifted.join(", "))))
    }

    fn destructive(&self, place: &str, field: &str, have: String, want: String) -> SchemaError {
        SchemaError::DestructiveChange { object: format!("{}{place}", self.label()), field: field.to_owned(), have, want }
    }
}

impl fmt::Display for DesiredColumn {
    /// As in CREATE TABLE and ADD COLUMN. ClickHouse takes COMMENT only before CODEC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} COMMENT {} CODEC({})", identifier(&self.name), self.kind, literal(&self.comment), self.codec)
    }
}

impl fmt::Display for DatabaseObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(database) => write!(f, "database {}", database.name),
            Self::Table(table) => {
                write!(f, "{} ({} columns, kept ", table.label(), table.columns.len())?;
                match table.retention {
                    Some(kept) => write!(f, "{kept})"),
                    None => f.write_str("for ever)"),
                }
            }
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql)
    }
}

#[cfg(test)]
mod tests;
