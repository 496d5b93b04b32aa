//! Bytes on disk per row, once ClickHouse has merged a table into one part per partition.

use serde::Serialize;
use tapekeeper_e2e::Database;

/// A table on disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct OnDisk {
    /// What its rows come from.
    pub(crate) tape: &'static str,
    /// The table.
    pub(crate) table: &'static str,
    /// Its rows.
    pub(crate) rows: u64,
    /// Of its active parts, marks and indices included.
    pub(crate) bytes_on_disk: u64,
    /// Of its columns, not compressed.
    pub(crate) bytes_uncompressed: u64,
}

impl OnDisk {
    /// Bytes on disk for each row.
    pub(crate) fn per_row(&self) -> f64 {
        self.bytes_on_disk as f64 / self.rows.max(1) as f64
    }
}

/// Merges `ticks` and `quotes` of the database `name`, and looks.
pub(crate) async fn measure(database: &Database, name: &str, tape: &'static str) -> anyhow::Result<Vec<OnDisk>> {
    let mut tables = Vec::new();
    for table in ["ticks", "quotes"] {
        database.query(&format!("OPTIMIZE TABLE {name}.{table} FINAL")).await?;
        let of_parts = |what: &str| format!("SELECT sum({what}) FROM system.parts WHERE active AND database = '{name}' AND table = '{table}'");
        tables.push(OnDisk {
            tape,
            table,
            rows: database.count(&of_parts("rows")).await?,
            bytes_on_disk: database.count(&of_parts("bytes_on_disk")).await?,
            bytes_uncompressed: database.count(&of_parts("data_uncompressed_bytes")).await?,
        });
    }
    Ok(tables)
}
