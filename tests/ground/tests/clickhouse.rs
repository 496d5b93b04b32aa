//! A real database: what tests and the local cluster rely on.

use anyhow::Result;
use tapekeeper_test_ground::{Authority, ClickHouse, ClickHouseOptions, ClickHousePorts, Lifetime, ports::PortRange};

#[tokio::test]
async fn a_repeated_insert_with_its_token_is_one_copy_and_survives_a_crash() -> Result<()> {
    let mut database = ClickHouse::start(ClickHouseOptions::default()).await?;
    assert!(database.query("SELECT version()").await?.starts_with("26.7."));
    database.query("CREATE DATABASE market").await?;
    database
        .query(
            "CREATE TABLE market.ticks (id Int64, price Decimal(38, 18)) ENGINE = MergeTree ORDER BY id \
             SETTINGS non_replicated_deduplication_window = 1000",
        )
        .await?;
    for _ in 0..2 {
        database.query("INSERT INTO market.ticks SETTINGS insert_deduplication_token = 'envelope-1' VALUES (1, 0.1), (2, 0.2)").await?;
    }
    let rows = "SELECT id, price FROM market.ticks ORDER BY id";
    assert_eq!(database.query(rows).await?, "1\t0.1\n2\t0.2\n");

    let first_pid = database.pid();
    database.kill().await?;
    assert!(!database.is_running());
    assert!(database.query("SELECT 1").await.is_err());
    database.restart().await?;
    assert_ne!(database.pid(), first_pid);
    assert_eq!(database.query(rows).await?, "1\t0.1\n2\t0.2\n");
    database.query("INSERT INTO market.ticks SETTINGS insert_deduplication_token = 'envelope-1' VALUES (1, 0.1), (2, 0.2)").await?;
    assert_eq!(database.query(rows).await?, "1\t0.1\n2\t0.2\n");
    database.query("SYSTEM FLUSH LOGS").await?;
    let logged = "SELECT count() > 0 FROM system.query_log WHERE has(tables, 'market.ticks')";
    assert_eq!(database.query(logged).await?, "1\n");
    database.stop().await
}

#[tokio::test]
async fn strangers_are_kept_out() -> Result<()> {
    let database = ClickHouse::start(ClickHouseOptions::default()).await?;
    let ask = |user: &'static str, password: &'static str| {
        let request = database
            .authority()
            .http_client()
            .map(|client| client.post(database.https_uri()).header("X-ClickHouse-User", user).header("X-ClickHouse-Key", password).body("SELECT 1"));
        async move { anyhow::Ok(request?.send().await?.status().is_success()) }
    };
    assert!(!ask("tapekeeper", "wrong").await?);
    assert!(!ask("default", "").await?);
    let stranger = Authority::new("someone else")?;
    assert!(stranger.http_client()?.get(database.https_uri()).send().await.is_err());
    // A wrong password or a broken request must not have ended it.
    assert_eq!(database.query("SELECT 1").await?, "1\n");
    Ok(())
}

#[tokio::test]
async fn a_detached_database_outlives_its_handle_and_is_found_again() -> Result<()> {
    let (place, range) = (tempfile::tempdir()?, PortRange::claim()?);
    let options = ClickHouseOptions {
        data_dir: Some(place.path().to_owned()),
        ports: Some(ClickHousePorts::from_base(range.base())),
        lifetime: Lifetime::Detached,
        ..ClickHouseOptions::default()
    };
    assert!(ClickHouse::attach(options.clone()).await?.is_none());
    let first = ClickHouse::start(options.clone()).await?;
    let pid = first.pid();
    first.query("CREATE TABLE default.kept (id Int64) ENGINE = MergeTree ORDER BY id").await?;
    drop(first);
    let mut second = ClickHouse::start(options.clone()).await?;
    assert_eq!(second.pid(), pid);
    assert_eq!(second.query("EXISTS default.kept").await?, "1\n");
    second.stop().await?;
    assert!(ClickHouse::attach(options).await?.is_none());
    Ok(())
}
