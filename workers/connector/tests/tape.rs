//! The whole way from the venue's socket to a queue of a real RabbitMQ.

mod ground;

use std::time::Duration;

use anyhow::{Context, Result};
use ground::{Ground, check_order, feed_events, heard, once_each, seeded, trade_ids};
use lapin::types::AMQPValue;
use tapekeeper_contract::HumanDuration;
use tapekeeper_contract::settings::Channel;
use tapekeeper_contract::status::Subscription;
use tapekeeper_market::Event;
use tapekeeper_test_venue::{Command, Rate};

const BOTH: &[Channel] = &[Channel::Trades, Channel::Quotes];
const TRADES: u64 = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_trade_and_quote_of_the_tape_arrives_once_and_in_order() -> Result<()> {
    let mut ground = Ground::new(&["BTC/USDT", "ETH/USDT"], BOTH, seeded(&["BTCUSDT", "ETHUSDT"], 1, Some(TRADES)), Rate::Max).await?;
    ground.start().await?;
    let status = ground.until_all_heard_is_confirmed().await?;
    assert_eq!((status.ticks, status.frames_rejected, status.problem.clone()), (4 * TRADES, 0, None));
    assert!(status.instruments.iter().all(|instrument| instrument.subscription == Subscription::Confirmed && instrument.last_tick.is_some()));
    assert_eq!(ground.get("/readyz").await?, (200, "ok\n".to_owned()));
    let metrics = ground.get("/metrics").await?.1;
    assert!(metrics.contains(&format!("tapekeeper_connector_trades_total {}\n", 2 * TRADES)), "{metrics}");
    ground.stop().await?;

    let messages = ground.take_all().await?;
    let (properties, first) = messages.first().context("nothing arrived")?.clone();
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str()), Some(first.id.to_string().as_str()));
    assert_eq!(properties.kind().as_ref().map(|kind| kind.as_str()), Some("market.ticks.v1"));
    assert_eq!(properties.content_type().as_ref().map(|kind| kind.as_str()), Some("application/json"));
    assert_eq!(properties.app_id().as_ref().map(|id| id.as_str()), Some("connector.binance"));
    assert_eq!(*properties.delivery_mode(), Some(2));
    let headers = properties.headers().clone().context("no headers")?;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let expected = [
        ("event_id", text(&first.id.to_string())),
        ("event_type", text("market.ticks.v1")),
        ("source", text("connector.binance")),
        ("tenant_id", text("market-data")),
        ("version", text("1")),
    ];
    assert_eq!(headers.inner().iter().map(|(key, value)| (key.as_str(), value.clone())).collect::<Vec<_>>(), expected);

    let envelopes = once_each(messages)?;
    check_order(&envelopes)?;
    for (symbol, stream) in [("BTC/USDT", "btcusdt@trade"), ("ETH/USDT", "ethusdt@trade")] {
        let ids = trade_ids(&envelopes, symbol);
        assert_eq!(ids.len() as u64, TRADES);
        assert_eq!(ids, heard(&ground.venue, stream));
        assert_eq!(feed_events(&envelopes, symbol), ["connected", "disconnected"]);
    }
    // Numbers are the venue's own, and each trade but those before the first quote carries the quote before it.
    let mut history = ground.venue.trades("btcusdt@trade").context("no such stream")?;
    let mut top = None;
    for event in envelopes.iter().filter(|envelope| envelope.instrument.symbol() == "BTC/USDT").flat_map(|envelope| &envelope.events) {
        match event {
            Event::Quote(quote) => top = Some(quote.top),
            Event::Trade(trade) => {
                let truth = history.next().context("more trades than the venue played")?;
                let units = |units: u64| format!("{}.{:08}", units / 100_000_000, units % 100_000_000);
                assert_eq!(
                    (trade.trade_id, trade.price.to_string(), trade.volume.to_string()),
                    (truth.id, units(truth.price), units(truth.quantity))
                );
                assert_eq!((trade.prevailing, trade.side.as_str()), (top, if truth.buyer_is_maker { "sell" } else { "buy" }));
            }
            Event::Connected(_) | Event::Disconnected(_) => {}
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_venue_closes_the_connection_only_what_ran_past_meanwhile_is_missing() -> Result<()> {
    let mut ground = Ground::new(&["BTC/USDT"], &[Channel::Trades], seeded(&["BTCUSDT"], 0, Some(TRADES)), Rate::PerSecond(1_000.0)).await?;
    ground.start().await?;
    ground.until("the tape runs", |status| status.ticks > 1_000).await?;
    ground.venue.script(&Command::Close { code: 1001, reason: "maintenance".to_owned(), announce: true });
    ground.until("connected again", |status| status.connections[0].reconnects == 1 && status.connections[0].connected).await?;
    ground.until("the tape runs again", |status| status.ticks > 2_000).await?;
    ground.venue.script(&Command::Drop {});
    ground.until("connected again", |status| status.connections[0].reconnects >= 2 && status.connections[0].connected).await?;
    let status = ground.until("the tape is over", |_| ground.venue.truth().state == tapekeeper_test_venue::TapeState::Finished).await?;
    assert!(status.connections[0].last_error.is_some(), "{status:?}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    ground.stop().await?;

    let envelopes = once_each(ground.take_all().await?)?;
    check_order(&envelopes)?;
    let (arrived, heard) = (trade_ids(&envelopes, "BTC/USDT"), heard(&ground.venue, "btcusdt@trade"));
    // A clean close loses nothing that was sent; a cut may lose what was still on its way.
    let lost: Vec<u64> = heard.iter().copied().filter(|id| arrived.binary_search(id).is_err()).collect();
    assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "trades came twice or out of order");
    assert!(lost.len() < 200 && lost.iter().all(|id| *id > arrived[1_500]), "lost although sent before a clean close: {lost:?}");
    assert!((heard.len() as u64) < TRADES, "the tape ran on while the connection was down, so something must have been missed");
    assert_eq!(feed_events(&envelopes, "BTC/USDT"), ["connected", "disconnected", "connected", "disconnected", "connected", "disconnected"]);
    let mut epochs: Vec<u64> = envelopes.iter().map(|envelope| envelope.id.epoch).collect();
    epochs.dedup();
    assert!(epochs.len() == 3 && epochs.is_sorted(), "{epochs:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_open_but_mute_is_made_anew_although_it_still_pings() -> Result<()> {
    let mut ground = Ground::new(&["BTC/USDT"], &[Channel::Trades], seeded(&["BTCUSDT"], 0, None), Rate::PerSecond(200.0)).await?;
    ground.settings.idle_timeout = HumanDuration(Duration::from_millis(2_500));
    ground.start().await?;
    ground.until("the tape runs", |status| status.ticks > 100).await?;
    ground.venue.script(&Command::Mute { pings: true });
    let status = ground.until("made anew", |status| status.connections[0].reconnects > 0).await?;
    assert_eq!(status.connections[0].last_error.as_deref(), Some("no market data for 2.5 s"));
    ground.venue.script(&Command::Unmute {});
    ground.until("the tape runs again", |now| now.ticks > status.ticks + 100).await?;
    ground.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_broker_is_killed_and_comes_back() -> Result<()> {
    let length = 8 * TRADES;
    let mut ground =
        Ground::new(&["BTC/USDT", "ETH/USDT"], BOTH, seeded(&["BTCUSDT", "ETHUSDT"], 1, Some(length)), Rate::PerSecond(10_000.0)).await?;
    ground.broker.write_down_what_was_declared().await?;
    ground.start().await?;
    ground.until("the tape runs", |status| status.ticks > 20_000).await?;
    ground.broker.kill().await?;
    let status = ground.until("the broker is missed", |status| status.problem.is_some()).await?;
    assert_eq!(ground.get("/readyz").await?.0, 503, "{status:?}");
    assert_eq!(ground.get("/healthz").await?.0, 200, "a broker that is down is no reason to be started anew");
    ground.broker.restart().await?;
    ground.until_all_heard_is_confirmed().await?;
    ground.stop().await?;

    let envelopes = once_each(ground.take_all().await?)?;
    check_order(&envelopes)?;
    for (symbol, stream) in [("BTC/USDT", "btcusdt@trade"), ("ETH/USDT", "ethusdt@trade")] {
        let ids = trade_ids(&envelopes, symbol);
        assert_eq!(ids.len() as u64, length, "of {symbol}");
        assert_eq!(ids, heard(&ground.venue, stream));
    }
    Ok(())
}
