//! The batcher between a real RabbitMQ and a real ClickHouse: each envelope in the tables once, whatever dies in between.

#![allow(clippy::unwrap_used, reason = "tests")]

mod arrangement;

use std::time::Duration;

use anyhow::Result;
use arrangement::{DATABASE, DEAD_LETTERS, Ground, limits, properties, tape};
use lapin::BasicProperties;
use tapekeeper_contract::tables::Table;

const SOON: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_lies_in_the_tables_once_and_what_is_no_envelope_in_the_dead_letters() -> Result<()> {
    let ground = Ground::with_queues(&["shard.0", "shard.1"]).await?;
    let batcher = ground.batcher(limits(1_000, SOON)).await?;
    let tape = tape(&ground.queues, 1, 400, 9);
    ground.publish(&tape[..200]).await?;
    ground.publish_raw("shard.0", properties(&"md/binance.1.9999".parse()?, false), b"{\"not\": \"an envelope\"}").await?;
    ground.publish_raw("shard.1", BasicProperties::default().with_type("greeting".into()), b"hello").await?;
    ground.publish(&tape[200..]).await?;
    ground.until_rows(Table::Ticks, 400 * 6).await?;
    ground.until_rows(Table::Quotes, 400 * 3).await?;
    batcher.until("/status", |_, status| status.contains("\"envelopesRejected\":2")).await?;
    ground.until_depth(DEAD_LETTERS, 2).await?;

    ground.until_settled(&batcher).await?;
    let status = batcher.status().await?;
    assert_eq!((status.queues, status.rows["ticks"], status.rows["quotes"]), (ground.queues.clone(), 2_400, 1_200));
    assert_eq!((status.duplicates_skipped, status.problem), (0, None));
    batcher.stop().await?;
    ground.assert_drained().await?;
    ground.assert_is(&tape).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_when_the_batcher_is_told_to_end_is_flushed_first() -> Result<()> {
    let ground = Ground::with_queues(&["shard.0"]).await?;
    let batcher = ground.batcher(limits(1_000_000, Duration::from_secs(600))).await?;
    let tape = tape(&ground.queues, 1, 20, 3);
    ground.publish(&tape).await?;
    batcher.until("/metrics", |_, text| text.contains("tapekeeper_batcher_envelopes_held 20\n")).await?;
    assert_eq!(ground.rows(Table::Ticks).await?, 0, "nothing was due yet");
    batcher.stop().await?;
    ground.assert_is(&tape).await?;
    ground.assert_drained().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_costs_nothing_and_doubles_nothing() -> Result<()> {
    let mut ground = Ground::with_queues(&["shard.0", "shard.1"]).await?;
    ground.broker.write_down_what_was_declared().await?;
    let batcher = ground.batcher(limits(300, SOON)).await?;
    let tape = tape(&ground.queues, 1, 900, 6);
    let (before, after) = tape.split_at(600);
    ground.publish(before).await?;
    // Some of it is in the table, some is held, some not delivered yet.
    ground.until_rows(Table::Ticks, 600).await?;
    ground.broker.kill().await?;
    batcher.until("/readyz", |status, why| status == 503 && !why.is_empty()).await?;
    ground.broker.restart().await?;
    ground.publish(after).await?;
    ground.until_rows(Table::Ticks, 900 * 4).await?;
    batcher.until_ready().await?;
    ground.until_settled(&batcher).await?;
    batcher.stop().await?;
    ground.assert_drained().await?;
    ground.assert_is(&tape).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_is_waited_for() -> Result<()> {
    let mut ground = Ground::with_queues(&["shard.0"]).await?;
    let batcher = ground.batcher(limits(200, SOON)).await?;
    let tape = tape(&ground.queues, 1, 1_500, 6);
    ground.publish(&tape[..300]).await?;
    ground.until_rows(Table::Ticks, 400).await?;
    ground.database.kill().await?;
    ground.publish(&tape[300..]).await?;
    let why = batcher.until("/readyz", |status, _| status == 503).await?;
    assert!(why.contains("inserts into"), "{why}");
    assert_eq!(batcher.get("/healthz").await?.0, 200, "a database that is down is no reason to start a batcher anew");
    ground.database.restart().await?;
    ground.until_rows(Table::Ticks, 1_500 * 4).await?;
    batcher.until_ready().await?;
    ground.until_settled(&batcher).await?;
    batcher.stop().await?;
    ground.assert_drained().await?;
    ground.assert_is(&tape).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_insert_and_the_acknowledgement_doubles_nothing() -> Result<()> {
    let ground = Ground::with_queues(&["shard.0"]).await?;
    let tape = tape(&ground.queues, 1, 300, 6);
    // Without the table of quotes, trades go in, and nothing can be acknowledged.
    ground.database.query(&format!("DROP TABLE {DATABASE}.quotes SYNC")).await?;
    let first = ground.batcher(limits(100_000, SOON)).await?;
    ground.publish(&tape).await?;
    ground.until_rows(Table::Ticks, 600).await?;
    let inserted = ground.rows(Table::Ticks).await?;
    first.kill().await;
    ground.create(Table::Quotes).await?;
    // Other limits make other batches, with other tokens.
    let second = ground.batcher(limits(70, SOON)).await?;
    ground.until_rows(Table::Ticks, 300 * 4).await?;
    ground.until_rows(Table::Quotes, 300 * 2).await?;
    assert!(inserted >= 600 && second.status().await?.duplicates_skipped >= 150, "{inserted} rows were in, {:?}", second.status().await?);
    ground.until_settled(&second).await?;
    second.stop().await?;
    ground.assert_drained().await?;
    ground.assert_is(&tape).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_published_again_is_not_inserted_again() -> Result<()> {
    let ground = Ground::with_queues(&["shard.0"]).await?;
    let tape = tape(&ground.queues, 1, 40, 3);
    let again = |index: usize, said: bool| {
        let envelope = &tape[index].1;
        let mut body = Vec::new();
        envelope.encode(&mut body);
        (properties(&envelope.id, said), body)
    };
    let first = ground.batcher(limits(1_000, SOON)).await?;
    ground.publish(&tape).await?;
    for index in [0, 39] {
        let (properties, body) = again(index, false);
        ground.publish_raw("shard.0", properties, &body).await?;
    }
    ground.until_rows(Table::Ticks, 40 * 2).await?;
    first.until("/status", |_, status| status.contains("\"duplicatesSkipped\":2")).await?;
    ground.until_settled(&first).await?;
    first.stop().await?;
    ground.assert_drained().await?;

    // A process that never saw the first copy is told by the publisher.
    let second = ground.batcher(limits(1_000, SOON)).await?;
    let (properties, body) = again(17, true);
    ground.publish_raw("shard.0", properties, &body).await?;
    second.until("/status", |_, status| status.contains("\"duplicatesSkipped\":1")).await?;
    ground.until_settled(&second).await?;
    second.stop().await?;
    ground.assert_drained().await?;
    ground.assert_is(&tape).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_one_part_per_table_and_day() -> Result<()> {
    let ground = Ground::with_queues(&["shard.0"]).await?;
    for table in [Table::Ticks, Table::Quotes] {
        ground.database.query(&format!("SYSTEM STOP MERGES {DATABASE}.{}", table.name())).await?;
    }
    let tape = tape(&ground.queues, 1, 330, 256);
    ground.publish(&tape).await?;
    let batcher = ground.batcher(limits(10_000_000, Duration::from_secs(5))).await?;
    ground.until_rows(Table::Ticks, 330 * 171).await?;
    ground.until_rows(Table::Quotes, 330 * 85).await?;
    let parts = ground
        .database
        .query(&format!("SELECT table, partition, count() FROM system.parts WHERE database = '{DATABASE}' AND active GROUP BY ALL ORDER BY ALL"))
        .await?;
    assert_eq!(parts, "quotes\t20260131\t1\nquotes\t20260201\t1\nticks\t20260131\t1\nticks\t20260201\t1\n");
    ground.until_settled(&batcher).await?;
    batcher.stop().await?;
    ground.assert_drained().await?;
    ground.assert_is(&tape).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_the_database_refuses_is_found_among_the_others_and_goes_to_the_dead_letters() -> Result<()> {
    let ground = Ground::with_queues(&["shard.0"]).await?;
    // Two trades to an envelope: trade 57 is in the one of sequence 19.
    ground.database.query(&format!("ALTER TABLE {DATABASE}.ticks ADD CONSTRAINT refused CHECK trade_id != 57")).await?;
    let mut tape = tape(&ground.queues, 1, 60, 3);
    ground.publish(&tape).await?;
    let batcher = ground.batcher(limits(1_000, SOON)).await?;
    ground.until_depth(DEAD_LETTERS, 1).await?;
    ground.until_settled(&batcher).await?;
    assert_eq!(batcher.status().await?.envelopes_rejected, 1);
    batcher.stop().await?;
    ground.assert_drained().await?;
    // Its quotes were not refused.
    assert_eq!((ground.rows(Table::Ticks).await?, ground.rows(Table::Quotes).await?), (59 * 2, 60));
    ground.database.query(&format!("ALTER TABLE {DATABASE}.quotes DELETE WHERE sequence = 19 SETTINGS mutations_sync = 2")).await?;
    tape.remove(19);
    ground.assert_is(&tape).await
}

#[tokio::test(flavor = "multi_thread")]
async fn batchers_killed_at_any_moment_lose_nothing_and_double_nothing_while_another_stands_by() -> Result<()> {
    let ground = Ground::with_queues(&["shard.0", "shard.1"]).await?;
    let tape = tape(&ground.queues, 1, 3_000, 6);
    let mut active = ground.batcher(limits(500, SOON)).await?;
    active.until_ready().await?;
    let publishing = ground.publish(&tape);
    let killing = async {
        for after in [410, 730, 290, 1_130, 570, 850] {
            let standby = ground.batcher(limits(700, SOON)).await?;
            standby.until_ready().await?;
            tokio::time::sleep(Duration::from_millis(after)).await;
            std::mem::replace(&mut active, standby).kill().await;
        }
        anyhow::Ok(active)
    };
    let (published, last) = tokio::join!(publishing, killing);
    published?;
    let last = last?;
    ground.until_rows(Table::Ticks, 3_000 * 4).await?;
    ground.until_rows(Table::Quotes, 3_000 * 2).await?;
    ground.until_settled(&last).await?;
    last.stop().await?;
    ground.assert_drained().await?;
    ground.assert_is(&tape).await
}
