//! The tape's way: from the venue's socket into the table, every trade id exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use tapekeeper_e2e::{Cluster, Database, Namespace, NamespaceOptions, Tape, Trade, Venue, eventually};

use crate::manifests;

const MINUTES_3: Duration = Duration::from_secs(180);

/// Stops the tape, waits until what was sent has arrived, and compares trade by trade.
async fn the_table_is_the_tape(database: &Database, name: &str, venue: &Venue, symbols: &[(&str, &str)]) -> Result<u64> {
    venue.pause().await?;
    let mut total = 0;
    for (symbol, venue_symbol) in symbols {
        let sent = all_that_was_sent(venue, venue_symbol).await?;
        let what = format!("the {} trades of {symbol} in the table", sent.len());
        let count = format!("SELECT count() FROM {name}.ticks WHERE symbol = '{symbol}'");
        let arrived =
            eventually(&what, Duration::from_secs(60), async || Ok((database.count(&count).await? >= sent.len() as u64).then_some(()))).await;
        let stored = database.trades(name, symbol).await?;
        report_difference(symbol, &sent, &stored)?;
        arrived?;
        let quotes = venue.quotes_heard(venue_symbol).await?;
        let stored_quotes = database.count(&format!("SELECT count() FROM {name}.quotes WHERE symbol = '{symbol}'")).await?;
        ensure!(quotes == stored_quotes, "{symbol}: {quotes} quotes sent, {stored_quotes} stored");
        total += sent.len() as u64;
    }
    venue.resume().await?;
    Ok(total)
}

/// What the venue sent of a symbol, once its tape stands still: pausing takes effect at the tape's next beat.
async fn all_that_was_sent(venue: &Venue, venue_symbol: &str) -> Result<Vec<Trade>> {
    let mut before = venue.heard(venue_symbol).await?;
    eventually("the tape stands still", Duration::from_secs(30), async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = venue.heard(venue_symbol).await?;
        let still = now.len() == before.len();
        before = now;
        Ok(still.then_some(()))
    })
    .await?;
    Ok(before)
}

fn report_difference(symbol: &str, sent: &[Trade], stored: &[Trade]) -> Result<()> {
    if sent == stored {
        return Ok(());
    }
    let mut counts = BTreeMap::<&Trade, (u32, u32)>::new();
    sent.iter().for_each(|trade| counts.entry(trade).or_default().0 += 1);
    stored.iter().for_each(|trade| counts.entry(trade).or_default().1 += 1);
    let wrong: Vec<_> = counts.iter().filter(|(_, (sent, stored))| sent != stored).collect();
    ensure!(
        wrong.is_empty(),
        "{symbol}: {} sent, {} stored; {} differ, first (sent, stored): {:?}",
        sent.len(),
        stored.len(),
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
    Ok(())
}

#[tokio::test]
async fn every_trade_of_the_tape_is_in_the_table_exactly_once_through_an_update_and_the_kill_of_a_batcher() -> Result<()> {
    let cluster = Cluster::from_environment()?;
    let database = cluster.database()?;

    let name = "e2e_path";
    database.query(&format!("DROP DATABASE IF EXISTS {name}")).await?;
    let namespace = Namespace::create(&cluster, "e2e-path", NamespaceOptions::default()).await?;
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let venue = cluster.play(&Tape::Seeded { seed, symbols: &["BTCUSDT", "ETHUSDT", "SOLUSDT"], rate: "2000" }).await?;

    // Nothing may pass before the feed listens, and nobody else may listen.
    namespace.apply(&(manifests::pipeline(name, "Delete") + &manifests::sink(name, "Delete") + &manifests::feed("BTC/USDT, ETH/USDT")))?;
    namespace.condition("pipeline", "ticks", "Ready", "True", MINUTES_3).await?;
    namespace.condition("ticksink", "clickhouse", "SchemaReady", "True", MINUTES_3).await?;
    namespace.condition("exchangefeed", "binance", "Ready", "True", MINUTES_3).await?;
    namespace.condition("ticksink", "clickhouse", "Ready", "True", MINUTES_3).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let first = the_table_is_the_tape(&database, name, &venue, &[("BTC/USDT", "BTCUSDT"), ("ETH/USDT", "ETHUSDT")]).await?;
    println!("{first} trades compared one by one");

    // An instrument more: the connector is made anew while the tape stands still.
    venue.pause().await?;
    namespace.apply(&manifests::feed("BTC/USDT, ETH/USDT, SOL/USDT"))?;
    let before = database.count(&format!("SELECT count() FROM {name}.ticks")).await?;
    namespace.kubectl(&["rollout", "status", "deployment", "-l", "app.kubernetes.io/name=tapekeeper-connector", "--timeout=120s"])?;
    // The old pod ends before the new one begins; only then may the tape go on.
    tokio::time::sleep(Duration::from_secs(5)).await;
    namespace.condition("exchangefeed", "binance", "WorkloadAvailable", "True", MINUTES_3).await?;
    venue.resume().await?;
    eventually("trades of the new instrument", MINUTES_3, async || {
        Ok((database.count(&format!("SELECT count() FROM {name}.ticks WHERE symbol = 'SOL/USDT'")).await? > 10).then_some(()))
    })
    .await?;

    // A batcher is killed without a word in mid-flow, twice.
    for _ in 0..2 {
        namespace.kubectl(&["delete", "pod", "-l", "app.kubernetes.io/name=tapekeeper-batcher", "--force", "--grace-period=0"])?;
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    let all = [("BTC/USDT", "BTCUSDT"), ("ETH/USDT", "ETHUSDT"), ("SOL/USDT", "SOLUSDT")];
    let total = the_table_is_the_tape(&database, name, &venue, &all).await?;
    ensure!(total > before, "{total} trades after the kills, {before} before");
    println!("{total} trades compared one by one after an update and two kills of the batcher");

    // deletionPolicy: Delete takes what Tapekeeper made, and nothing stays behind.
    namespace.remove().await?;
    ensure!(database.count(&format!("SELECT count() FROM system.databases WHERE name = '{name}'")).await? == 0, "the database is still there");
    Ok(())
}
