//! Differences between a desired table and one as it exists.

use std::collections::BTreeMap;

use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::tables::Table;

use super::*;
use crate::external::database::observed::statements;
use crate::external::database::schema::schema;

const DAYS_90: HumanDuration = HumanDuration::from_secs(90 * 86_400);

fn owner(name: &str) -> ObjectName {
    ObjectName { namespace: "market".to_owned(), name: name.to_owned() }
}

fn desired(retention: Option<HumanDuration>) -> Vec<DatabaseObject> {
    schema(&"market".parse().unwrap(), &[(Table::Ticks, retention)], &owner("tape"))
}

fn ticks(desired: &[DatabaseObject]) -> &DesiredTable {
    match &desired[1] {
        DatabaseObject::Table(table) => table,
        DatabaseObject::Database(_) => panic!("the database comes first"),
    }
}

fn observed_column(column: &DesiredColumn) -> ObservedColumn {
    let DesiredColumn { name, kind, codec, comment } = column.clone();
    ObservedColumn { name, kind, codec, comment, default_kind: String::new() }
}

fn observed(desired: &[DatabaseObject]) -> ObservedDatabase {
    let table = ticks(desired);
    let mut settings: BTreeMap<String, String> = table.settings.iter().cloned().collect();
    settings.insert("index_granularity".to_owned(), "8192".to_owned());
    let found = ObservedTable {
        engine: ENGINE.to_owned(),
        sorting_key: table.order_by.clone(),
        partition_key: table.partition_by.clone(),
        ttl: table.retention.map(|kept| format!("toDateTime(timestamp) + toIntervalSecond({})", kept.as_secs())),
        settings,
        comment: table.ownership.to_string(),
        columns: table.columns.iter().map(observed_column).collect(),
    };
    ObservedDatabase { exists: true, comment: table.ownership.to_string(), tables: BTreeMap::from([(table.name.clone(), found)]) }
}

/// What ClickHouse does with a statement on the table of trades.
fn apply(world: &mut ObservedDatabase, table: &DesiredTable, statement: &Statement) {
    let column = |name: &str| table.columns.iter().find(|column| column.name == name).map(observed_column).unwrap();
    let found = world.tables.get_mut("ticks").unwrap();
    let existing = |found: &mut ObservedTable, name: &str| found.columns.iter().position(|column| column.name == name).unwrap();
    if let Some(name) = statement.what.strip_prefix("add column ") {
        let after = statement.sql.rsplit_once(" AFTER `").map(|(_, name)| name.trim_end_matches('`').to_owned());
        let place = after.map_or(0, |after| existing(found, &after) + 1);
        found.columns.insert(place, column(name));
    } else if let Some(name) = statement.what.strip_prefix("modify codec of ") {
        let place = existing(found, name);
        found.columns[place].codec = column(name).codec;
    } else if let Some(name) = statement.what.strip_prefix("modify comment of ") {
        let place = existing(found, name);
        found.columns[place].comment = column(name).comment;
    } else {
        match statement.what.as_str() {
            "modify ttl" => found.ttl = Some(format!("toDateTime(timestamp) + toIntervalDay({})", table.retention.unwrap().as_secs() / 86_400)),
            "remove ttl" => found.ttl = None,
            "modify settings" => found.settings.extend(table.settings.iter().cloned()),
            "modify comment" => found.comment = table.ownership.to_string(),
            other => panic!("not in the model: {other}"),
        }
    }
}

fn sql(desired: &[DatabaseObject], world: &ObservedDatabase) -> Vec<String> {
    statements(desired, world).unwrap().into_iter().map(|statement| statement.sql).collect()
}

#[test]
fn whatever_additive_drift_there_is_one_pass_repairs_it_and_the_next_finds_nothing() {
    let desired = desired(Some(DAYS_90));
    let table = ticks(&desired);
    let whole = observed(&desired);
    assert_eq!(sql(&desired, &whole), Vec::<String>::new());
    for missing in &table.columns {
        for drifted in &table.columns {
            for ttl in [None, Some("toDateTime(timestamp) + toIntervalDay(1)"), Some("timestamp + toIntervalDay(90)")] {
                let mut world = whole.clone();
                let found = world.tables.get_mut("ticks").unwrap();
                for column in found.columns.iter_mut().filter(|column| column.name == drifted.name) {
                    column.codec = "LZ4".to_owned();
                    column.comment = String::new();
                }
                found.columns.retain(|column| column.name != missing.name);
                found.ttl = ttl.map(str::to_owned);
                found.settings.clear();
                for statement in statements(&desired, &world).unwrap() {
                    apply(&mut world, table, &statement);
                }
                let mut repaired = whole.clone();
                let found = repaired.tables.get_mut("ticks").unwrap();
                found.settings.remove("index_granularity");
                found.ttl = Some("toDateTime(timestamp) + toIntervalDay(90)".to_owned());
                assert_eq!(world, repaired, "without {}, {} drifted, ttl {ttl:?}", missing.name, drifted.name);
                assert_eq!(sql(&desired, &world), Vec::<String>::new());
            }
        }
    }
}

#[test]
fn a_missing_column_is_added_where_it_belongs() {
    let desired = desired(None);
    let mut world = observed(&desired);
    world.tables.get_mut("ticks").unwrap().columns.retain(|column| !matches!(column.name.as_str(), "volume" | "side"));
    assert_eq!(
        sql(&desired, &world),
        [
            "ALTER TABLE `market`.`ticks` ADD COLUMN IF NOT EXISTS `volume` Decimal(38, 18) COMMENT 'Size in the base currency' CODEC(ZSTD(1)) AFTER `price`",
            "ALTER TABLE `market`.`ticks` ADD COLUMN IF NOT EXISTS `side` Enum8('buy' = 1, 'sell' = 2) COMMENT 'The taker side' CODEC(ZSTD(1)) AFTER `volume`",
        ]
    );
}

#[test]
fn a_changed_retention_is_one_statement() {
    let world = observed(&desired(Some(DAYS_90)));
    let longer = desired(Some(HumanDuration::from_secs(365 * 86_400)));
    assert_eq!(sql(&longer, &world), ["ALTER TABLE `market`.`ticks` MODIFY TTL toDateTime(timestamp) + INTERVAL 365 DAY"]);
    assert_eq!(sql(&desired(None), &world), ["ALTER TABLE `market`.`ticks` REMOVE TTL"]);
    assert_eq!(
        sql(&desired(Some(DAYS_90)), &observed(&desired(None))),
        ["ALTER TABLE `market`.`ticks` MODIFY TTL toDateTime(timestamp) + INTERVAL 90 DAY"]
    );
}

#[test]
fn what_would_lose_rows_is_refused_with_field_have_and_want() {
    let desired = desired(None);
    let refusal = |change: fn(&mut ObservedTable)| {
        let mut world = observed(&desired);
        change(world.tables.get_mut("ticks").unwrap());
        statements(&desired, &world).unwrap_err()
    };
    let destructive = |object: &str, field: &str, have: &str, want: &str| SchemaError::DestructiveChange {
        object: object.to_owned(),
        field: field.to_owned(),
        have: have.to_owned(),
        want: want.to_owned(),
    };
    let table = "table market.ticks";
    assert_eq!(refusal(|table| table.engine = "ReplacingMergeTree".to_owned()), destructive(table, "engine", "ReplacingMergeTree", "MergeTree"));
    assert_eq!(
        refusal(|table| table.sorting_key = "timestamp".to_owned()),
        destructive(table, "sorting key", "timestamp", "exchange, symbol, timestamp, trade_id")
    );
    assert_eq!(
        refusal(|table| table.partition_key = "toYYYYMM(timestamp)".to_owned()),
        destructive(table, "partition key", "toYYYYMM(timestamp)", "toYYYYMMDD(timestamp)")
    );
    assert_eq!(
        refusal(|table| table.columns[4].kind = "Float64".to_owned()),
        destructive("table market.ticks column price", "type", "Float64", "Decimal(38, 18)")
    );
    assert_eq!(
        refusal(|table| table.columns[4].default_kind = "MATERIALIZED".to_owned()),
        destructive("table market.ticks column price", "kind", "MATERIALIZED", "a plain column")
    );
    assert_eq!(refusal(|table| table.comment = "tapekeeper owner=market/tape schema=2".to_owned()), destructive(table, "schema version", "2", "1"));
    let extra = ObservedColumn { name: "note".to_owned(), kind: "String".to_owned(), ..ObservedColumn::default() };
    let mut world = observed(&desired);
    world.tables.get_mut("ticks").unwrap().columns.push(extra.clone());
    assert_eq!(statements(&desired, &world).unwrap_err().reason(), "DestructiveChange");
    world.tables.get_mut("ticks").unwrap().columns[18].default_kind = "DEFAULT".to_owned();
    assert_eq!(sql(&desired, &world), Vec::<String>::new());
}

#[test]
fn a_table_of_somebody_else_is_a_conflict_and_a_database_of_theirs_is_not() {
    let desired = desired(None);
    let conflict = |owner: Option<&str>| SchemaError::NameConflict { object: "table market.ticks".to_owned(), owner: owner.map(str::to_owned) };
    let mut world = observed(&desired);
    world.tables.get_mut("ticks").unwrap().comment = "our own trades".to_owned();
    assert_eq!(statements(&desired, &world), Err(conflict(None)));
    world.tables.get_mut("ticks").unwrap().comment = Ownership::new(&owner("other"), 1).to_string();
    assert_eq!(statements(&desired, &world), Err(conflict(Some("market/other"))));
    world.tables.clear();
    world.comment = "our own database".to_owned();
    let objects: Vec<String> = statements(&desired, &world).unwrap().into_iter().map(|statement| statement.object).collect();
    assert_eq!(objects, ["table market.ticks"]);
}

#[test]
fn only_what_carries_the_marker_is_dropped() {
    let desired = desired(None);
    let mut world = observed(&desired);
    let table = ticks(&desired);
    let drops = |world: &ObservedDatabase| table.drop(&world.tables["ticks"]).into_iter().map(|statement| statement.sql).collect::<Vec<_>>();
    assert_eq!(drops(&world), ["DROP TABLE IF EXISTS `market`.`ticks` SYNC"]);
    world.tables.get_mut("ticks").unwrap().comment = Ownership::new(&owner("other"), 1).to_string();
    assert_eq!(drops(&world), Vec::<String>::new());
}
