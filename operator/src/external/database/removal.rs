//! Dropping a sink's tables and database.

use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::tables::Table;

use super::admin::DatabaseAdmin;
use super::error::DatabaseError;
use super::objects::DatabaseObject;
use super::ownership::Ownership;
use super::quoting::DatabaseName;
use super::schema::schema;
use super::server::Refused;
use crate::external::difference::External;
use crate::external::removal::{DropReport, Kept};

impl DatabaseAdmin {
    /// Drops the tables that carry the owner's marker, then the database, if it carries the marker and no table is left in it. The server's guard against dropping large
    /// tables (`max_table_size_to_drop`) is respected. Safe to call again.
    ///
    /// # Errors
    /// [`DatabaseError`], when the database can't be read or refuses.
    pub async fn drop_owned(&self, database: &DatabaseName, owner: &ObjectName) -> Result<DropReport, DatabaseError> {
        let mut report = DropReport::default();
        let observed = self.observe(database).await?;
        let every_table: Vec<_> = Table::ALL.iter().map(|table| (*table, None)).collect();
        let desired = schema(database, &every_table, owner);
        for object in &desired {
            let DatabaseObject::Table(table) = object else { continue };
            let Some(found) = table.get(&observed) else { continue };
            let label = format!("table {database}.{}", table.name);
            let statements = table.drop(found);
            if statements.is_empty() {
                report.kept.push(Kept { object: label, reason: Kept::NOT_OWNED, why: not_ours(&found.comment) });
                continue;
            }
            for statement in statements {
                self.carry_out_drop(&label, &statement.sql, &mut report).await?;
            }
        }

        let observed = self.observe(database).await?;
        for object in &desired {
            let DatabaseObject::Database(desired) = object else { continue };
            let Some(found) = desired.get(&observed) else { continue };
            let label = format!("database {database}");
            let statements = desired.drop(found);
            if statements.is_empty() {
                report.kept.push(Kept { object: label, reason: Kept::NOT_OWNED, why: not_ours(&found.comment) });
            } else if !found.tables.is_empty() {
                let why = format!("it still holds {}", found.tables.keys().cloned().collect::<Vec<_>>().join(", "));
                report.kept.push(Kept { object: label, reason: Kept::NOT_OWNED, why });
            } else {
                for statement in statements {
                    self.carry_out_drop(&label, &statement.sql, &mut report).await?;
                }
            }
        }
        Ok(report)
    }

    async fn carry_out_drop(&self, object: &str, sql: &str, report: &mut DropReport) -> Result<(), DatabaseError> {
        match self.server.execute(&format!("drop {object}"), sql).await {
            Ok(()) => {
                tracing::info!(object, "database object dropped");
                report.dropped.push(object.to_owned());
            }
            Err(Refused::Protected(why)) => report.kept.push(Kept { object: object.to_owned(), reason: Kept::PROTECTED, why }),
            Err(refused) => return Err(refused.into()),
        }
        Ok(())
    }
}

fn not_ours(comment: &str) -> String {
    Ownership::parse(comment).map_or_else(|| "it was not created by Tapekeeper".to_owned(), |marker| format!("it belongs to {}", marker.owner))
}
