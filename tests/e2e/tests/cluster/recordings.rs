//! What was recorded at the real venue, through the whole cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tapekeeper_e2e::{Cluster, Namespace, NamespaceOptions, Tape, eventually};

use crate::manifests;

/// Recordings of Binance spot's trades and best bid and ask. The second goes on where the first ends, and crosses midnight: two partitions.
const FILES: [&str; 2] = ["binance/spot_btcusdt_20240808_stream.jsonl", "binance/spot_btcusdt_20240808_trades.jsonl"];

/// What an independent reading of the file says, with no code of the product: the text of each trade, and how many quotes there are.
fn truth(file: &PathBuf) -> Result<(BTreeMap<u64, [String; 4]>, u64)> {
    let (mut trades, mut quotes) = (BTreeMap::new(), 0);
    for line in std::fs::read_to_string(file)?.lines() {
        let frame: Value = serde_json::from_str(line)?;
        let data = &frame["data"];
        let stream = frame["stream"].as_str().unwrap_or_default();
        if stream.ends_with("@trade") {
            let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
            let side = if data["m"].as_bool().context("m")? { "sell" } else { "buy" };
            trades.insert(data["t"].as_u64().context("t")?, [text("p"), text("q"), data["T"].to_string(), side.to_owned()]);
        } else if stream.ends_with("@bookTicker") {
            quotes += 1;
        }
    }
    Ok((trades, quotes))
}

#[tokio::test]
async fn frames_recorded_at_the_real_venue_are_in_the_table_trade_by_trade() -> Result<()> {
    let cluster = Cluster::from_environment()?;
    for file in FILES {
        match cluster.description.frames.as_ref().map(|frames| frames.join(file)).filter(|file| file.exists()) {
            Some(path) => is_in_the_table_trade_by_trade(&cluster, file, path).await?,
            None => println!("SKIPPED: {file} is not on this machine (TAPEKEEPER_FRAMES names the folder of recorded frames)"),
        }
    }
    Ok(())
}

async fn is_in_the_table_trade_by_trade(cluster: &Cluster, title: &str, file: PathBuf) -> Result<()> {
    let (trades, quotes) = truth(&file)?;
    let database = cluster.database()?;
    let name = "e2e_recorded";
    database.query(&format!("DROP DATABASE IF EXISTS {name}")).await?;
    let namespace = Namespace::create(cluster, "e2e-recorded", NamespaceOptions::default()).await?;
    cluster.play(&Tape::Recorded { files: &[file], rate: "3000" }).await?;
    namespace.apply(&(manifests::pipeline(name, "Delete") + &manifests::sink(name, "Delete") + &manifests::feed("BTC/USDT")))?;

    let count = |table: &'static str| format!("SELECT count() FROM {name}.{table}");
    eventually("the recording is in the table", Duration::from_secs(240), async || {
        let stored = (database.count(&count("ticks")).await?, database.count(&count("quotes")).await?);
        ensure!(stored.0 >= trades.len() as u64 && stored.1 >= quotes, "{stored:?} of {:?}", (trades.len(), quotes));
        Ok(Some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let stored_quotes = database.count(&count("quotes")).await?;
    ensure!(stored_quotes == quotes, "{quotes} quotes recorded, {stored_quotes} stored");
    let sql = format!(
        "SELECT trade_id, toString(toDecimal64(price, 8)), toString(toDecimal64(volume, 8)), toUnixTimestamp64Milli(timestamp), side FROM {name}.ticks ORDER BY trade_id"
    );
    let stored: Vec<(u64, [String; 4])> = database
        .query(&sql)
        .await?
        .lines()
        .map(|line| {
            let mut row = line.split('\t').map(str::to_owned);
            let mut next = || row.next().context("five columns");
            Ok((next()?.parse()?, [padded(&next()?), padded(&next()?), next()?, next()?]))
        })
        .collect::<Result<_>>()?;
    let recorded: Vec<_> =
        trades.into_iter().map(|(id, [price, quantity, time, side])| (id, [padded(&price), padded(&quantity), time, side])).collect();
    let different = stored.iter().zip(&recorded).find(|(stored, recorded)| stored != recorded);
    ensure!(
        stored.len() == recorded.len() && different.is_none(),
        "{} recorded, {} stored, first difference {different:?}",
        recorded.len(),
        stored.len()
    );
    println!("{} trades and {quotes} quotes of {title}: all in the table, once, digit for digit", stored.len());
    namespace.remove().await
}

/// A number with eight digits behind the point, as Binance writes it: ClickHouse leaves trailing zeros out.
fn padded(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    format!("{whole}.{fraction:0<8}")
}
