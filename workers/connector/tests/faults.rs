//! When something around the connector is not as it should be.

mod ground;

use std::time::Duration;

use anyhow::Result;
use ground::{EXCHANGE, Ground, check_order, feed_events, heard, once_each, seeded, trade_ids};
use tapekeeper_contract::settings::Channel;
use tapekeeper_contract::status::Subscription;
use tapekeeper_test_venue::Rate;

const BOTH: &[Channel] = &[Channel::Trades, Channel::Quotes];
const TRADES: u64 = 20_000;

/// The value of a metric without labels.
async fn metric(ground: &Ground, name: &str) -> Result<u64> {
    let text = ground.get("/metrics").await?.1;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.unwrap_or_else(|| panic!("no {name} in {text}")).parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_sockets_are_not_read_and_nothing_is_lost() -> Result<()> {
    let symbols = ["BTCUSDT", "ETHUSDT", "BNBUSDT"];
    let mut ground = Ground::new(&["BTC/USDT", "ETH/USDT", "BNB/USDT"], BOTH, seeded(&symbols, 1, Some(20 * TRADES)), Rate::Max).await?;
    // A socket for each instrument.
    ground.settings.max_streams = 2;
    ground.broker.write_down_what_was_declared().await?;
    ground.start().await?;
    ground.until("the tape runs", |status| status.ticks > 10_000).await?;
    ground.broker.kill().await?;
    ground.until("the broker is missed", |status| status.problem.is_some()).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stalled = ground.status().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ground.status().await?.ticks, stalled.ticks, "sockets are read although nothing can be published");
    assert_eq!(metric(&ground, "tapekeeper_connector_envelopes_waiting").await?, 256 + 3, "the channel is full, and each socket holds one");
    ground.broker.restart().await?;
    let status = ground.until_all_heard_is_confirmed().await?;
    assert_eq!(status.connections.iter().map(|connection| connection.reconnects).collect::<Vec<_>>(), [0, 0, 0], "{status:?}");
    assert!(metric(&ground, "tapekeeper_connector_backpressure_microseconds_total").await? > 1_000_000);
    ground.stop().await?;

    let envelopes = once_each(ground.take_all().await?)?;
    check_order(&envelopes)?;
    for (symbol, stream) in [("BTC/USDT", "btcusdt@trade"), ("ETH/USDT", "ethusdt@trade"), ("BNB/USDT", "bnbusdt@trade")] {
        let ids = trade_ids(&envelopes, symbol);
        assert_eq!((ids.len() as u64, ids), (20 * TRADES, heard(&ground.venue, stream)));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_hands_over_what_it_read_and_says_that_it_left() -> Result<()> {
    let mut ground = Ground::new(&["BTC/USDT"], BOTH, seeded(&["BTCUSDT"], 1, None), Rate::PerSecond(20_000.0)).await?;
    ground.start().await?;
    ground.until("the tape runs", |status| status.ticks > 10_000).await?;
    ground.stop().await?;
    let envelopes = once_each(ground.take_all().await?)?;
    check_order(&envelopes)?;
    let ids = trade_ids(&envelopes, "BTC/USDT");
    assert!(ids.len() >= 5_000 && ids == heard(&ground.venue, "btcusdt@trade")[..ids.len()], "a beginning of the tape without a hole");
    assert_eq!(feed_events(&envelopes, "BTC/USDT"), ["connected", "disconnected"]);
    let last = envelopes.last().and_then(|envelope| envelope.events.last()).and_then(|event| event.as_feed()).map(|(_, event)| event.detail.as_str());
    assert_eq!(last, Some("the connector is ending"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_declared_late_is_waited_for() -> Result<()> {
    let mut ground = Ground::new(&["BTC/USDT"], BOTH, seeded(&["BTCUSDT"], 1, Some(TRADES)), Rate::PerSecond(5_000.0)).await?;
    ground.undeclare().await?;
    ground.start().await?;
    let status = ground.until("the exchange is missed", |status| status.problem.as_deref().is_some_and(|problem| problem.contains(EXCHANGE))).await?;
    assert_eq!(status.envelopes_confirmed, 0);
    ground.declare().await?;
    ground.until_all_heard_is_confirmed().await?;
    ground.stop().await?;
    let envelopes = once_each(ground.take_all().await?)?;
    check_order(&envelopes)?;
    assert_eq!(trade_ids(&envelopes, "BTC/USDT").len() as u64, TRADES);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instrument_that_the_venue_refuses_is_named_and_does_not_take_others_with_it() -> Result<()> {
    // The tests' venue takes no stream names beyond ASCII.
    let instruments = ["BTC/USDT", "Ä/USDT", "ETH/USDT"];
    let mut ground = Ground::new(&instruments, BOTH, seeded(&["BTCUSDT", "ETHUSDT"], 1, None), Rate::PerSecond(500.0)).await?;
    ground.start().await?;
    let status =
        ground.until("settled", |status| status.instruments.iter().all(|instrument| instrument.subscription != Subscription::Pending)).await?;
    let states: Vec<Subscription> = status.instruments.iter().map(|instrument| instrument.subscription).collect();
    assert_eq!(states, [Subscription::Confirmed, Subscription::Refused, Subscription::Confirmed]);
    assert_eq!(status.problem.as_deref(), Some("the venue refused Ä/USDT"));
    assert_eq!(ground.get("/readyz").await?.0, 200, "every subscription is answered");
    ground.stop().await
}
