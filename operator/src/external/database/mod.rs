//! A TickSink's database and tables in ClickHouse.
//!
//! - [`schema`]: what is desired, from the contract's columns and the manifest's retentions;
//! - [`objects`]: the kinds, and how each is compared with what exists;
//! - [`observed`]: what `system.databases`, `system.tables` and `system.columns` tell;
//! - [`retention`]: TTL expressions;
//! - [`admin`]: reading back and carrying out, over HTTPS;
//! - [`removal`]: dropping what is ours.
//!
//! Changes are additive: a missing column is added, a codec, a setting, a comment or a retention is put right. Whatever would rewrite or lose rows is refused.

mod admin;
mod error;
mod figures;
mod objects;
mod observed;
mod ownership;
mod quoting;
mod removal;
mod retention;
mod schema;
mod server;

pub use admin::{DatabaseAdmin, DatabaseReport};
pub use error::{DatabaseError, SchemaError};
pub use figures::TableFigures;
pub use objects::{Database, DatabaseObject, DesiredColumn, DesiredTable, Statement};
pub use observed::{ObservedColumn, ObservedDatabase, ObservedTable, statements};
pub use ownership::Ownership;
pub use quoting::DatabaseName;
pub use schema::schema;
