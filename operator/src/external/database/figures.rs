//! How much of the tape the tables hold.

use serde::Deserialize;
use tapekeeper_contract::tables::Table;

use super::admin::DatabaseAdmin;
use super::error::DatabaseError;
use super::quoting::DatabaseName;

/// One table's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFigures {
    /// The table.
    pub table: Table,
    /// Rows.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes_on_disk: u64,
    /// Bytes before compression.
    pub bytes_uncompressed: u64,
    /// The oldest UTC day with rows, as `YYYYMMDD`.
    pub oldest_partition: Option<String>,
}

impl TableFigures {
    /// Bytes before compression per byte on disk (marks and checksums included), once there are any.
    #[must_use]
    pub fn compression_ratio(&self) -> Option<f64> {
        (self.bytes_on_disk > 0).then(|| self.bytes_uncompressed as f64 / self.bytes_on_disk as f64)
    }
}

#[derive(Deserialize)]
struct Row {
    table: String,
    rows: u64,
    bytes_on_disk: u64,
    bytes_uncompressed: u64,
    oldest_partition: String,
}

impl DatabaseAdmin {
    /// The figures of the tape's tables, in [`Table::ALL`]'s order; an empty or missing table counts nothing.
    ///
    /// # Errors
    /// [`DatabaseError`], when they can't be read.
    pub async fn figures(&self, database: &DatabaseName) -> Result<Vec<TableFigures>, DatabaseError> {
        let sql = "SELECT table, sum(p.rows) AS rows, sum(p.bytes_on_disk) AS bytes_on_disk, \
                   sum(p.data_uncompressed_bytes) AS bytes_uncompressed, minIf(p.partition, p.rows > 0) AS oldest_partition \
                   FROM system.parts AS p WHERE p.active AND p.database = {database:String} GROUP BY table";
        let rows: Vec<Row> = self.server.rows("read the figures", sql, &[("database", database.as_str())]).await?;
        let figures = Table::ALL.iter().map(|table| {
            let row = rows.iter().find(|row| row.table == table.name());
            TableFigures {
                table: *table,
                rows: row.map_or(0, |row| row.rows),
                bytes_on_disk: row.map_or(0, |row| row.bytes_on_disk),
                bytes_uncompressed: row.map_or(0, |row| row.bytes_uncompressed),
                oldest_partition: row.map(|row| row.oldest_partition.clone()).filter(|partition| !partition.is_empty()),
            }
        });
        Ok(figures.collect())
    }
}
