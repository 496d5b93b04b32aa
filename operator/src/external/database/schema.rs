//! What a TickSink wants of its database.

use tapekeeper_contract::HumanDuration;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::tables::{self, DEDUPLICATION_WINDOW, SCHEMA_VERSION, Table};

use super::objects::{Database, DatabaseObject, DesiredColumn, DesiredTable};
use super::ownership::Ownership;
use super::quoting::DatabaseName;

/// The database objects of a TickSink: the database, then a table per entry of `retention`.
#[must_use]
pub fn schema(database: &DatabaseName, retention: &[(Table, Option<HumanDuration>)], owner: &ObjectName) -> Vec<DatabaseObject> {
    let ownership = Ownership::new(owner, SCHEMA_VERSION);
    let mut objects = vec![DatabaseObject::Database(Database { name: database.clone(), ownership: ownership.clone() })];
    objects.extend(retention.iter().map(|(table, retention)| DatabaseObject::Table(desired_table(database, *table, *retention, ownership.clone()))));
    objects
}

fn desired_table(database: &DatabaseName, table: Table, retention: Option<HumanDuration>, ownership: Ownership) -> DesiredTable {
    DesiredTable {
        database: database.clone(),
        name: table.name().to_owned(),
        columns: table.columns().iter().map(desired_column).collect(),
        partition_by: table.partition_by().to_owned(),
        order_by: table.order_by().to_owned(),
        retention,
        settings: settings(),
        ownership,
    }
}

fn desired_column(column: &tables::Column) -> DesiredColumn {
    DesiredColumn { name: column.name.to_owned(), kind: column.kind.to_owned(), codec: column.codec.to_owned(), comment: column.comment.to_owned() }
}

/// Settings of every table.
///
/// A changed retention has to hold for old parts too. ClickHouse computes a part's expiry when it writes the part, and never again when `materialize_ttl_after_modify` is off: a longer
/// retention would still drop old days at the old date, and a shorter one would keep them. With it on, parts are rewritten whole, unless `materialize_ttl_recalculate_only`
/// has it read the timestamps alone and leave the rows' files as they are. So that is set, together with `ttl_only_drop_parts`: an expired day goes as a whole, without a merge.
fn settings() -> Vec<(String, String)> {
    [
        ("non_replicated_deduplication_window", DEDUPLICATION_WINDOW.to_string()),
        ("ttl_only_drop_parts", "1".to_owned()),
        ("materialize_ttl_recalculate_only", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::observed::{ObservedDatabase, statements};
    use super::*;

    #[test]
    fn the_table_of_trades_is_created_like_this() {
        let owner = ObjectName { namespace: "market".to_owned(), name: "tape".to_owned() };
        let kept = Some(HumanDuration::from_secs(90 * 86_400));
        let desired = schema(&"market".parse().unwrap(), &[(Table::Ticks, kept), (Table::FeedEvents, None)], &owner);
        let plan = statements(&desired, &ObservedDatabase::default()).unwrap();
        let sql: Vec<&str> = plan.iter().map(|statement| statement.sql.as_str()).collect();
        similar_asserts::assert_eq!(
            sql,
            [
                "CREATE DATABASE IF NOT EXISTS `market` COMMENT 'tapekeeper owner=market/tape schema=1'",
                "CREATE TABLE IF NOT EXISTS `market`.`ticks`
(
    `exchange` LowCardinality(String) COMMENT 'The venue, for example binance' CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) COMMENT 'BASE/QUOTE' CODEC(ZSTD(1)),
    `timestamp` DateTime64(6, 'UTC') COMMENT 'When the venue matched the trade' CODEC(Delta(8), ZSTD(1)),
    `trade_id` UInt64 COMMENT 'The venue\\'s own id' CODEC(Delta(8), ZSTD(1)),
    `price` Decimal(38, 18) COMMENT 'Price in the quote currency' CODEC(ZSTD(1)),
    `volume` Decimal(38, 18) COMMENT 'Size in the base currency' CODEC(ZSTD(1)),
    `side` Enum8('buy' = 1, 'sell' = 2) COMMENT 'The taker side' CODEC(ZSTD(1)),
    `bid_price` Nullable(Decimal(38, 18)) COMMENT 'The prevailing best bid, when quotes are taken too' CODEC(ZSTD(1)),
    `bid_volume` Nullable(Decimal(38, 18)) COMMENT 'Its size' CODEC(ZSTD(1)),
    `ask_price` Nullable(Decimal(38, 18)) COMMENT 'The prevailing best ask' CODEC(ZSTD(1)),
    `ask_volume` Nullable(Decimal(38, 18)) COMMENT 'Its size' CODEC(ZSTD(1)),
    `received` DateTime64(6, 'UTC') COMMENT 'When the socket read returned' CODEC(Delta(8), ZSTD(1)),
    `published` DateTime64(6, 'UTC') COMMENT 'When the envelope was handed to the broker' CODEC(Delta(8), ZSTD(1)),
    `flags` UInt32 COMMENT 'Bits: 1 the venue gave no time, so timestamp is the receipt time' CODEC(ZSTD(1)),
    `feed` LowCardinality(String) COMMENT 'namespace/name of the ExchangeFeed' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'The connection of the feed that brought it' CODEC(Delta(8), ZSTD(1)),
    `sequence` UInt64 COMMENT 'The envelope\\'s number within its epoch' CODEC(Delta(8), ZSTD(1)),
    `position` UInt16 COMMENT 'The row\\'s place in its envelope' CODEC(Delta(2), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(timestamp)
ORDER BY (exchange, symbol, timestamp, trade_id)
TTL toDateTime(timestamp) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1
COMMENT 'tapekeeper owner=market/tape schema=1'",
                "CREATE TABLE IF NOT EXISTS `market`.`feed_events`
(
    `exchange` LowCardinality(String) COMMENT 'The venue, for example binance' CODEC(ZSTD(1)),
    `symbol` LowCardinality(String) COMMENT 'BASE/QUOTE' CODEC(ZSTD(1)),
    `timestamp` DateTime64(6, 'UTC') COMMENT 'When it happened' CODEC(Delta(8), ZSTD(1)),
    `event` LowCardinality(String) COMMENT 'connected or disconnected' CODEC(ZSTD(1)),
    `detail` String COMMENT 'Why' CODEC(ZSTD(1)),
    `received` DateTime64(6, 'UTC') COMMENT 'When the socket read returned' CODEC(Delta(8), ZSTD(1)),
    `published` DateTime64(6, 'UTC') COMMENT 'When the envelope was handed to the broker' CODEC(Delta(8), ZSTD(1)),
    `feed` LowCardinality(String) COMMENT 'namespace/name of the ExchangeFeed' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'The connection of the feed that brought it' CODEC(Delta(8), ZSTD(1)),
    `sequence` UInt64 COMMENT 'The envelope\\'s number within its epoch' CODEC(Delta(8), ZSTD(1)),
    `position` UInt16 COMMENT 'The row\\'s place in its envelope' CODEC(Delta(2), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(timestamp)
ORDER BY (exchange, symbol, timestamp)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1
COMMENT 'tapekeeper owner=market/tape schema=1'",
            ]
        );
    }
}
