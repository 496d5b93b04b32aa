//! A TickSink's database objects on a real ClickHouse.

#![expect(clippy::unwrap_used, reason = "without its ground a test can only end")]

use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use tapekeeper_contract::HumanDuration;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::tables::{SCHEMA_VERSION, Table};
use tapekeeper_operator::external::Kept;
use tapekeeper_operator::external::database::{
    DatabaseAdmin, DatabaseError, DatabaseName, DatabaseObject, SchemaError, TableFigures, schema, statements,
};
use tapekeeper_runtime::credentials::{Credentials, Secret};
use tapekeeper_runtime::tls;
use tapekeeper_test_ground::{ClickHouse, ClickHouseOptions};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// The server that the tests under way share: gone with the last of them.
static SERVER: Mutex<Weak<ClickHouse>> = Mutex::const_new(Weak::new());

const NINETY_DAYS: Option<HumanDuration> = Some(HumanDuration::from_secs(90 * 86_400));

/// A database of a test's own.
struct Ground {
    server: Arc<ClickHouse>,
    admin: DatabaseAdmin,
    database: DatabaseName,
}

fn on_a_server<F: Future<Output = ()>>(database: &str, test: impl FnOnce(Ground) -> F) {
    RUNTIME.block_on(async {
        let mut shared = SERVER.lock().await;
        let server = match shared.upgrade() {
            Some(server) => server,
            None => {
                let server = Arc::new(ClickHouse::start(ClickHouseOptions::default()).await.unwrap());
                *shared = Arc::downgrade(&server);
                server
            }
        };
        drop(shared);
        let tls = tls::client_config(Some(server.authority().ca_pem())).unwrap();
        let admin = DatabaseAdmin::new(&credentials(&server), tls).unwrap();
        test(Ground { server, admin, database: database.parse().unwrap() }).await;
    });
}

fn credentials(server: &ClickHouse) -> Credentials {
    Credentials {
        uri: server.https_uri().parse().unwrap(),
        username: server.user().to_owned(),
        password: Secret::new(server.password()),
        ca_pem: None,
    }
}

fn owner() -> ObjectName {
    ObjectName { namespace: "market".to_owned(), name: "tape".to_owned() }
}

impl Ground {
    fn desired(&self, retention: Option<HumanDuration>) -> Vec<DatabaseObject> {
        schema(&self.database, &[(Table::Ticks, retention), (Table::Quotes, retention), (Table::FeedEvents, None)], &owner())
    }

    /// What one pass did, as `object: what`, after seeing that a second pass does nothing.
    async fn converge_for_good(&self, retention: Option<HumanDuration>) -> Vec<String> {
        let desired = self.desired(retention);
        let report = self.admin.converge(&desired).await.unwrap();
        assert_eq!(report.schema_version, SCHEMA_VERSION);
        assert_eq!(self.admin.converge(&desired).await.unwrap().applied, []);
        let prefix = format!("{}.", self.database);
        report.applied.into_iter().map(|statement| format!("{}: {}", statement.object.replace(&prefix, ""), statement.what)).collect()
    }

    async fn somebody(&self, sql: &str) -> String {
        self.server.query(&sql.replace("DB", self.database.as_str())).await.unwrap()
    }

    async fn insert_trades(&self, days_ago: u32, rows: u32) {
        self.somebody(&format!(
            "INSERT INTO DB.ticks (exchange, symbol, timestamp, trade_id, price, volume, side) \
             SELECT 'binance', 'BTC/USDT', toStartOfDay(now('UTC')) - INTERVAL {days_ago} DAY, number, 100, 1, 'buy' FROM numbers({rows})"
        ))
        .await;
    }
}

#[test]
fn a_schema_is_created_once_and_then_left_alone() {
    on_a_server("created", async |ground| {
        let desired = ground.desired(NINETY_DAYS);
        assert_eq!(
            ground.converge_for_good(NINETY_DAYS).await,
            ["database created: create", "table ticks: create", "table quotes: create", "table feed_events: create"]
        );
        let observed = ground.admin.observe(&ground.database).await.unwrap();
        assert_eq!(statements(&desired, &observed), Ok(vec![]));
        ground.insert_trades(0, 3).await;
        assert_eq!(ground.somebody("SELECT count(), sum(price) FROM DB.ticks").await, "3\t300\n");
    });
}

#[test]
fn a_changed_retention_is_one_statement_and_holds_for_old_days_too() {
    on_a_server("kept", async |ground| {
        ground.converge_for_good(NINETY_DAYS).await;
        ground.insert_trades(0, 10).await;
        ground.insert_trades(40, 10).await;
        let expiry = "SELECT partition, dateDiff('day', now('UTC'), delete_ttl_info_max), rows FROM system.parts \
                      WHERE active AND rows > 0 AND database = 'DB' AND table = 'ticks' ORDER BY partition";
        let days = |text: &str| text.lines().map(|line| line.split('\t').nth(1).unwrap().parse::<i64>().unwrap()).collect::<Vec<_>>();
        assert_eq!(days(&ground.somebody(expiry).await), [50, 90]);

        let a_year = Some(HumanDuration::from_secs(365 * 86_400));
        assert_eq!(ground.converge_for_good(a_year).await, ["table ticks: modify ttl", "table quotes: modify ttl"]);
        let mut found = Vec::new();
        for _ in 0..100 {
            found = days(&ground.somebody(expiry).await);
            if found == [325, 365] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(found, [325, 365], "a longer retention saves the old day");

        let a_month = Some(HumanDuration::from_secs(30 * 86_400));
        assert_eq!(ground.converge_for_good(a_month).await, ["table ticks: modify ttl", "table quotes: modify ttl"]);
        let mut rows = String::new();
        for _ in 0..200 {
            rows = ground.somebody("SELECT count() FROM DB.ticks").await;
            if rows == "10\n" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(rows, "10\n", "a shorter one lets it go");

        assert_eq!(ground.converge_for_good(None).await, ["table ticks: remove ttl", "table quotes: remove ttl"]);
    });
}

#[test]
fn what_somebody_dropped_or_changed_is_repaired_and_what_they_added_stays() {
    on_a_server("repaired", async |ground| {
        ground.converge_for_good(NINETY_DAYS).await;
        ground.insert_trades(0, 5).await;
        for change in [
            "ALTER TABLE DB.ticks DROP COLUMN bid_volume",
            "ALTER TABLE DB.ticks MODIFY COLUMN price REMOVE CODEC",
            "ALTER TABLE DB.ticks COMMENT COLUMN flags 'what?'",
            "ALTER TABLE DB.ticks ADD COLUMN desk String DEFAULT 'spot' AFTER symbol",
            "ALTER TABLE DB.ticks RESET SETTING non_replicated_deduplication_window",
            "ALTER TABLE DB.ticks MODIFY COMMENT 'tapekeeper owner=market/tape schema=0'",
            "DROP TABLE DB.quotes SYNC",
        ] {
            ground.somebody(change).await;
        }
        assert_eq!(
            ground.converge_for_good(NINETY_DAYS).await,
            [
                "table ticks: modify codec of price",
                "table ticks: add column bid_volume",
                "table ticks: modify comment of flags",
                "table ticks: modify settings",
                "table ticks: modify comment",
                "table quotes: create",
            ]
        );
        let columns = ground
            .somebody("SELECT groupArray(name) FROM system.columns WHERE database = 'DB' AND table = 'ticks' AND position BETWEEN 1 AND 11")
            .await;
        assert_eq!(columns, "['exchange','symbol','desk','timestamp','trade_id','price','volume','side','bid_price','bid_volume','ask_price']\n");
        assert_eq!(ground.somebody("SELECT count(), any(desk) FROM DB.ticks").await, "5\tspot\n");
    });
}

#[test]
fn a_destructive_change_is_refused_and_nothing_is_written() {
    on_a_server("refused", async |ground| {
        ground.somebody("CREATE DATABASE DB").await;
        ground
            .somebody(
                "CREATE TABLE DB.ticks (exchange String, timestamp DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY (exchange, timestamp) \
                 COMMENT 'tapekeeper owner=market/tape schema=1'",
            )
            .await;
        let refusal = ground.admin.converge(&ground.desired(None)).await.unwrap_err();
        let expected = SchemaError::DestructiveChange {
            object: "table refused.ticks".to_owned(),
            field: "sorting key".to_owned(),
            have: "exchange, timestamp".to_owned(),
            want: "exchange, symbol, timestamp, trade_id".to_owned(),
        };
        assert_eq!(refusal, DatabaseError::Schema(expected));
        assert!(refusal.is_permanent());
        assert_eq!(ground.somebody("SELECT groupArray(name) FROM system.tables WHERE database = 'DB'").await, "['ticks']\n");
    });
}

#[test]
fn a_table_of_somebody_else_is_a_conflict_and_a_database_of_theirs_holds_ours() {
    on_a_server("theirs", async |ground| {
        ground.somebody("CREATE DATABASE DB COMMENT 'research'").await;
        ground.somebody("CREATE TABLE DB.quotes (a UInt8) ENGINE = MergeTree ORDER BY a").await;
        let conflict = SchemaError::NameConflict { object: "table theirs.quotes".to_owned(), owner: None };
        assert_eq!(ground.admin.converge(&ground.desired(None)).await, Err(DatabaseError::Schema(conflict)));

        ground.somebody("RENAME TABLE DB.quotes TO DB.research").await;
        assert_eq!(ground.converge_for_good(None).await, ["table ticks: create", "table quotes: create", "table feed_events: create"]);

        let other = ObjectName { namespace: "other".to_owned(), name: "sink".to_owned() };
        let nothing = ground.admin.drop_owned(&ground.database, &other).await.unwrap();
        assert_eq!((nothing.dropped.len(), nothing.kept.len()), (0, 4));
        assert_eq!(nothing.kept[0].why, "it belongs to market/tape");

        let report = ground.admin.drop_owned(&ground.database, &owner()).await.unwrap();
        assert_eq!(report.dropped, ["table theirs.ticks", "table theirs.quotes", "table theirs.feed_events"]);
        let why = "it was not created by Tapekeeper".to_owned();
        assert_eq!(report.kept, [Kept { object: "database theirs".to_owned(), reason: Kept::NOT_OWNED, why }]);
        assert!(report.is_complete());
        assert_eq!(ground.somebody("SELECT groupArray(name) FROM system.tables WHERE database = 'DB'").await, "['research']\n");
    });
}

#[test]
fn a_database_of_ours_goes_with_its_last_table() {
    on_a_server("gone", async |ground| {
        ground.converge_for_good(None).await;
        ground.somebody("CREATE TABLE DB.notes (a UInt8) ENGINE = MergeTree ORDER BY a").await;
        let first = ground.admin.drop_owned(&ground.database, &owner()).await.unwrap();
        assert_eq!(first.kept, [Kept { object: "database gone".to_owned(), reason: Kept::NOT_OWNED, why: "it still holds notes".to_owned() }]);
        ground.somebody("DROP TABLE DB.notes SYNC").await;
        let second = ground.admin.drop_owned(&ground.database, &owner()).await.unwrap();
        assert_eq!((second.dropped, second.kept), (vec!["database gone".to_owned()], vec![]));
        assert_eq!(ground.admin.drop_owned(&ground.database, &owner()).await.unwrap().dropped, Vec::<String>::new());
    });
}

#[test]
fn figures_tell_rows_bytes_and_the_oldest_day() {
    on_a_server("counted", async |ground| {
        let empty = |table| TableFigures { table, rows: 0, bytes_on_disk: 0, bytes_uncompressed: 0, oldest_partition: None };
        assert_eq!(ground.admin.figures(&ground.database).await.unwrap(), Table::ALL.iter().copied().map(empty).collect::<Vec<_>>());
        ground.converge_for_good(None).await;
        ground.insert_trades(0, 10_000).await;
        ground.insert_trades(3, 10_000).await;
        let oldest = ground.somebody("SELECT toYYYYMMDD(now('UTC') - INTERVAL 3 DAY)").await;
        let figures = ground.admin.figures(&ground.database).await.unwrap();
        assert_eq!((figures[0].rows, figures[0].oldest_partition.as_deref()), (20_000, Some(oldest.trim())));
        assert!(figures[0].compression_ratio().is_some_and(|ratio| ratio > 2.0), "{figures:?}");
        assert_eq!(figures[1..], [empty(Table::Quotes), empty(Table::FeedEvents)]);
    });
}

#[test]
fn a_refusal_says_what_is_wrong_and_never_the_password() {
    on_a_server("denied", async |ground| {
        let tls = tls::client_config(Some(ground.server.authority().ca_pem())).unwrap();
        let right = credentials(&ground.server);
        let wrong = Credentials { password: Secret::new("hunter2"), ..right.clone() };
        let refusal = DatabaseAdmin::new(&wrong, Arc::clone(&tls)).unwrap().converge(&ground.desired(None)).await.unwrap_err();
        assert_eq!((refusal.reason(), refusal.to_string().contains("hunter2"), refusal.is_permanent()), ("DatabaseUnauthorized", false, false));

        let untrusting = tls::client_config(None).unwrap();
        let refusal = DatabaseAdmin::new(&right, untrusting).unwrap().observe(&ground.database).await.unwrap_err();
        assert_eq!(refusal.reason(), "DatabaseUnreachable");

        let nobody = Credentials { uri: "https://127.0.0.1:1".parse().unwrap(), ..right };
        let refusal = DatabaseAdmin::new(&nobody, tls).unwrap().figures(&ground.database).await.unwrap_err();
        assert_eq!(refusal.reason(), "DatabaseUnreachable");
    });
}
