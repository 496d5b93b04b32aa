//! Reading a sink's database back, and making it as desired.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::ClientConfig;
use serde::Deserialize;
use tapekeeper_contract::tables::{SCHEMA_VERSION, Table};
use tapekeeper_runtime::credentials::Credentials;

use super::error::DatabaseError;
use super::objects::{DatabaseObject, Statement};
use super::observed::{ObservedColumn, ObservedDatabase, ObservedTable, engine_clauses, statements};
use super::quoting::DatabaseName;
use super::server::Server;

/// A ClickHouse server, for its schema.
#[derive(Debug, Clone)]
pub struct DatabaseAdmin {
    pub(super) server: Server,
}

/// What a pass over the database's objects did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseReport {
    /// The statements that were carried out.
    pub applied: Vec<Statement>,
    /// The version that the tables now have.
    pub schema_version: u32,
}

#[derive(Deserialize)]
struct DatabaseRow {
    comment: String,
}

#[derive(Deserialize)]
struct TableRow {
    name: String,
    engine: String,
    engine_full: String,
    sorting_key: String,
    partition_key: String,
    comment: String,
}

#[derive(Deserialize)]
struct ColumnRow {
    table: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    compression_codec: String,
    default_kind: String,
    comment: String,
}

impl DatabaseAdmin {
    /// The server behind these credentials. `tls` trusts the authority that signed its certificate.
    ///
    /// # Errors
    /// [`DatabaseError::Unreachable`] when no HTTP client can be made of the TLS configuration.
    pub fn new(credentials: &Credentials, tls: Arc<ClientConfig>) -> Result<Self, DatabaseError> {
        Ok(Self { server: Server::new(credentials, tls)? })
    }

    /// Reads back the database with its tables, and the columns of the tape's tables.
    ///
    /// # Errors
    /// [`DatabaseError`], when it can't be read.
    pub async fn observe(&self, database: &DatabaseName) -> Result<ObservedDatabase, DatabaseError> {
        let named = [("database", database.as_str())];
        let found: Vec<DatabaseRow> =
            self.server.rows("read the database", "SELECT comment FROM system.databases WHERE name = {database:String}", &named).await?;
        let Some(DatabaseRow { comment }) = found.into_iter().next() else { return Ok(ObservedDatabase::default()) };

        let sql = "SELECT name, engine, engine_full, sorting_key, partition_key, comment FROM system.tables WHERE database = {database:String} ORDER BY name";
        let tables: Vec<TableRow> = self.server.rows("read the tables", sql, &named).await?;
        let sql = format!(
            "SELECT table, name, type, compression_codec, default_kind, comment FROM system.columns \
             WHERE database = {{database:String}} AND table IN ({}) ORDER BY table, position",
            Table::ALL.iter().map(|table| format!("'{}'", table.name())).collect::<Vec<_>>().join(", ")
        );
        let mut columns: BTreeMap<String, Vec<ObservedColumn>> = BTreeMap::new();
        for row in self.server.rows::<ColumnRow>("read the columns", &sql, &named).await? {
            columns.entry(row.table.clone()).or_default().push(row.into());
        }
        let tables = tables.into_iter().map(|row| (row.name.clone(), row.with_columns(&mut columns))).collect();
        Ok(ObservedDatabase { exists: true, comment, tables })
    }

    /// Makes the objects as desired: reads back, then carries out only the statements that are needed.
    ///
    /// # Errors
    /// [`DatabaseError::Schema`] before anything is written; others as they come.
    pub async fn converge(&self, desired: &[DatabaseObject]) -> Result<DatabaseReport, DatabaseError> {
        let mut report = DatabaseReport { applied: Vec::new(), schema_version: SCHEMA_VERSION };
        let Some(database) = database_of(desired) else { return Ok(report) };
        let observed = self.observe(database).await?;
        for statement in statements(desired, &observed)? {
            let Statement { object, what, sql } = &statement;
            self.server.execute(&format!("{what} {object}"), sql).await?;
            tracing::info!(object, what, "database object written");
            report.applied.push(statement);
        }
        Ok(report)
    }
}

fn database_of(desired: &[DatabaseObject]) -> Option<&DatabaseName> {
    desired.first().map(|object| match object {
        DatabaseObject::Database(database) => &database.name,
        DatabaseObject::Table(table) => &table.database,
    })
}

impl TableRow {
    fn with_columns(self, columns: &mut BTreeMap<String, Vec<ObservedColumn>>) -> ObservedTable {
        let (ttl, settings) = engine_clauses(&self.engine_full);
        ObservedTable {
            columns: columns.remove(&self.name).unwrap_or_default(),
            engine: self.engine,
            sorting_key: self.sorting_key,
            partition_key: self.partition_key,
            ttl,
            settings,
            comment: self.comment,
        }
    }
}

impl From<ColumnRow> for ObservedColumn {
    fn from(row: ColumnRow) -> Self {
        let codec = row.compression_codec.strip_prefix("CODEC(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(&row.compression_codec);
        Self { codec: codec.to_owned(), name: row.name, kind: row.kind, default_kind: row.default_kind, comment: row.comment }
    }
}
