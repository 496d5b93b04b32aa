//! The venue as a client sees it, through an independent WebSocket client.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it as its own lines do")]

mod client;

use std::time::Duration;

use client::{Client, status_of_handshake};
use serde_json::{Value, json};
use tapekeeper_test_venue::{Command, Limits, Rate, Seeded, Source, StartMode, TapeState, TestCertificate, Trade, Venue, VenueOptions};
use tokio_tungstenite::tungstenite::Message;

fn seeded(symbols: &[&str], length: Option<u64>, start: StartMode) -> Source {
    let symbols = symbols.iter().map(|&symbol| symbol.to_owned()).collect();
    Source::Seeded(Seeded { seed: 7, symbols, quotes_per_trade: 1, length, start })
}

async fn venue_with(source: Source, change: impl FnOnce(&mut VenueOptions)) -> (Venue, TestCertificate) {
    let certificate = TestCertificate::for_binance().unwrap();
    let mut options = VenueOptions::on_loopback(certificate.certificate_pem.clone(), certificate.key_pem.clone(), source);
    change(&mut options);
    (Venue::start(options).await.unwrap(), certificate)
}

async fn silent_venue(limits: Limits) -> (Venue, TestCertificate) {
    let source = seeded(&["BTCUSDT"], Some(0), StartMode::Immediately);
    venue_with(source, |options| options.limits = limits).await
}

/// The id, price, quantity, time and side of a trade event, as it stands on the wire.
fn as_line(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap().to_owned();
    format!("{} {} {} {} {}", event["t"], text("p"), text("q"), event["T"], event["m"])
}

fn line_of(trade: Trade) -> String {
    let decimal = |units: u64| tapekeeper_test_venue::truth::decimal(units.into());
    let Trade { id, price, quantity, time, buyer_is_maker } = trade;
    format!("{id} {} {} {time} {buyer_is_maker}", decimal(price), decimal(quantity))
}

#[tokio::test]
async fn requests_are_acknowledged_listed_and_refused_as_the_venue_does() {
    let (venue, certificate) = silent_venue(Limits { messages_per_second: 100, ..Limits::default() }).await;
    let mut client = Client::connect(&venue, &certificate, "/ws").await.unwrap();
    let talk = [
        (r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","nosuchsymbol@depth@100ms"],"id":1}"#, r#"{"result":null,"id":1}"#),
        (r#"{"method":"LIST_SUBSCRIPTIONS","id":2}"#, r#"{"id":2,"result":["btcusdt@trade","nosuchsymbol@depth@100ms"]}"#),
        (r#"{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":"three"}"#, r#"{"result":null,"id":"three"}"#),
        (r#"{"method":"LIST_SUBSCRIPTIONS","id":4}"#, r#"{"id":4,"result":["nosuchsymbol@depth@100ms"]}"#),
    ];
    for (request, reply) in talk {
        client.send(request).await;
        assert_eq!(client.json().await, serde_json::from_str::<Value>(reply).unwrap());
    }
    client.send(r#"{"method":"SUBSCRIBE","params":["BTCUSDT@trade"],"id":5}"#).await;
    let refusal = client.json().await;
    assert_eq!((&refusal["error"]["code"], &refusal["id"]), (&json!(2), &json!(5)));
    assert_eq!(venue.connections()[0].streams, 1);
}

#[tokio::test]
async fn a_seeded_tape_arrives_whole_in_order_and_in_the_shape_of_binance() {
    let source = seeded(&["BTCUSDT", "NEWCOINUSDT"], Some(5_000), StartMode::OnFirstSubscriber);
    let (venue, certificate) = venue_with(source, |options| options.rate = Rate::Max).await;
    let path = "/stream?streams=btcusdt@trade/btcusdt@bookTicker/newcoinusdt@trade/newcoinusdt@bookTicker/btcusdt@depth@100ms";
    let mut client = Client::connect(&venue, &certificate, path).await.unwrap();
    let (mut trades, mut quotes, mut same_time) = (vec![], 0, 0);
    while trades.len() < 10_000 || quotes < 10_000 {
        let text = client.text().await;
        let frame: Value = serde_json::from_str(&text).unwrap();
        let data = &frame["data"];
        let keys: Vec<&String> = data.as_object().unwrap().keys().collect();
        if frame["stream"].as_str().unwrap().ends_with("@trade") {
            assert_eq!(keys, ["E", "M", "T", "e", "m", "p", "q", "s", "t"]);
            assert!(data["E"].as_i64().unwrap() >= data["T"].as_i64().unwrap());
            assert_eq!(frame["stream"], format!("{}@trade", data["s"].as_str().unwrap().to_lowercase()));
            trades.push((data["s"].as_str().unwrap().to_owned(), data["T"].as_i64().unwrap(), as_line(data)));
        } else {
            assert_eq!(keys, ["A", "B", "a", "b", "s", "u"]);
            let price = |key: &str| data[key].as_str().unwrap().parse::<f64>().unwrap();
            assert!(price("b") < price("a"));
            quotes += 1;
        }
    }
    for symbol in ["BTCUSDT", "NEWCOINUSDT"] {
        let seen: Vec<&String> = trades.iter().filter(|trade| trade.0 == symbol).map(|trade| &trade.2).collect();
        let stream = format!("{}@trade", symbol.to_lowercase());
        let sent: Vec<String> = venue.trades(&stream).unwrap().map(line_of).collect();
        assert_eq!(seen, sent.iter().collect::<Vec<_>>());
        let times: Vec<i64> = trades.iter().filter(|trade| trade.0 == symbol).map(|trade| trade.1).collect();
        assert!(times.is_sorted());
        same_time += times.windows(2).filter(|pair| pair[0] == pair[1]).count();
    }
    assert!(same_time > 0, "no two trades share a millisecond");

    let truth = venue.truth();
    let btc = truth.stream("btcusdt@trade").unwrap();
    assert_eq!(btc.played, btc.heard);
    assert_eq!((btc.played.frames, btc.played.distinct_ids, btc.played.ids.ranges().len()), (5_000, 5_000, 1));
    assert_eq!((truth.state, truth.trades_heard, truth.quotes_heard), (TapeState::Finished, 10_000, 10_000));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_trades_beside_other_symbols_and_quotes() {
    let mut tapes = vec![];
    for (symbols, quotes_per_trade) in [(&["BTCUSDT"][..], 0), (&["ETHUSDT", "BTCUSDT"][..], 3)] {
        let symbols = symbols.iter().map(|&symbol| symbol.to_owned()).collect();
        let source = Source::Seeded(Seeded { seed: 9, symbols, quotes_per_trade, length: Some(300), start: StartMode::Immediately });
        let (venue, _) = venue_with(source, |options| options.rate = Rate::PerSecond(50_000.0)).await;
        while venue.truth().state != TapeState::Finished {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let heard: u64 = venue.truth().streams.iter().map(|stream| stream.heard.frames).sum();
        assert_eq!(heard, 0, "nobody listened");
        tapes.push(venue.trades("btcusdt@trade").unwrap().map(|trade| Trade { time: 0, ..trade }).collect::<Vec<_>>());
    }
    assert_eq!(tapes[0].len(), 300);
    assert_eq!(tapes[0], tapes[1]);
    let sold = tapes[0].iter().filter(|trade| trade.buyer_is_maker).count();
    assert!((60..240).contains(&sold), "{sold} of 300 takers sold");
}

#[tokio::test]
async fn a_raw_connection_gets_the_inner_object_of_what_a_combined_one_gets() {
    let source = seeded(&["ETHUSDT"], Some(500), StartMode::OnFirstSubscriber);
    let (venue, certificate) = venue_with(source, |options| {
        options.rate = Rate::PerSecond(5_000.0);
        options.settle = Duration::from_millis(300);
    })
    .await;
    let mut raw = Client::connect(&venue, &certificate, "/ws/ethusdt@trade").await.unwrap();
    let mut combined = Client::connect(&venue, &certificate, "/stream?streams=ethusdt@trade").await.unwrap();
    for _ in 0..500 {
        let (raw, combined) = (raw.text().await, combined.text().await);
        assert_eq!(combined, format!(r#"{{"stream":"ethusdt@trade","data":{raw}}}"#));
    }
}

#[tokio::test]
async fn frames_follow_the_subscription_and_the_truth_says_what_was_heard() {
    let source = seeded(&["BTCUSDT"], None, StartMode::Immediately);
    let (venue, certificate) = venue_with(source, |options| options.rate = Rate::PerSecond(2_000.0)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut client = Client::connect(&venue, &certificate, "/ws").await.unwrap();
    client.send(r#"{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}"#).await;
    assert_eq!(client.json().await, json!({ "result": null, "id": 1 }));
    let mut seen = vec![];
    while seen.len() < 200 {
        seen.push(client.json().await["t"].as_u64().unwrap());
    }
    client.send(r#"{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":2}"#).await;
    loop {
        let frame = client.json().await;
        if frame["id"] == 2 {
            break;
        }
        seen.push(frame["t"].as_u64().unwrap());
    }
    // Nothing queued before the change may follow its acknowledgement.
    assert!(tokio::time::timeout(Duration::from_millis(100), client.text()).await.is_err());
    let truth = venue.truth();
    let trades = truth.stream("btcusdt@trade").unwrap();
    assert!(trades.played.first_id < trades.heard.first_id);
    assert_eq!(trades.heard.ids.ranges(), [(seen[0], seen[seen.len() - 1])]);
    assert_eq!(seen, (seen[0]..=seen[seen.len() - 1]).collect::<Vec<_>>());
    assert_eq!(trades.listeners, 0);
}

#[tokio::test]
async fn a_connection_takes_1024_streams_and_not_one_more() {
    let (venue, certificate) = silent_venue(Limits::default()).await;
    let names: Vec<String> = (0..1_025).map(|n| format!("coin{n}usdt@trade")).collect();
    let mut client = Client::connect(&venue, &certificate, "/ws").await.unwrap();
    client.send(&json!({ "method": "SUBSCRIBE", "params": names, "id": 1 }).to_string()).await;
    assert_eq!(client.json().await["error"]["code"], 2);
    client.send(&json!({ "method": "SUBSCRIBE", "params": names[..1_024], "id": 2 }).to_string()).await;
    assert_eq!(client.json().await, json!({ "result": null, "id": 2 }));
    client.send(&json!({ "method": "SUBSCRIBE", "params": names[1_024..], "id": 3 }).to_string()).await;
    assert_eq!(client.json().await["error"]["code"], 2);
    assert_eq!(venue.connections()[0].streams, 1_024);

    let path = |count: usize| format!("/stream?streams={}", names[..count].join("/"));
    assert!(Client::connect(&venue, &certificate, &path(1_024)).await.is_ok());
    assert_eq!(status_of_handshake(&venue, &certificate, &path(1_025)).await, 400);
}

#[tokio::test]
async fn six_messages_in_a_second_are_closed_with_1008() {
    let (venue, certificate) = silent_venue(Limits::default()).await;
    let mut client = Client::connect(&venue, &certificate, "/ws").await.unwrap();
    for n in 0..3 {
        client.send(r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#).await;
        client.send_message(Message::Ping(vec![n].into())).await;
    }
    assert_eq!(client.close_code().await, Some(1008));
}

#[tokio::test]
async fn five_messages_a_second_are_fine() {
    let (venue, certificate) = silent_venue(Limits::default()).await;
    let mut client = Client::connect(&venue, &certificate, "/ws").await.unwrap();
    for _ in 0..2 {
        for id in 0..5 {
            client.send(&json!({ "method": "LIST_SUBSCRIPTIONS", "id": id }).to_string()).await;
            assert_eq!(client.json().await, json!({ "result": [], "id": id }));
        }
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
}

#[tokio::test]
async fn handshakes_past_the_limit_get_429() {
    let (venue, certificate) = silent_venue(Limits { connections_per_five_minutes: 3, ..Limits::default() }).await;
    for _ in 0..3 {
        assert!(Client::connect(&venue, &certificate, "/ws").await.is_ok());
    }
    assert_eq!(status_of_handshake(&venue, &certificate, "/ws").await, 429);
}

#[tokio::test]
async fn unknown_hosts_get_421_and_unknown_paths_404() {
    let certificate = TestCertificate::for_hosts(&["stream.binance.com", "example.com"]).unwrap();
    let source = seeded(&["BTCUSDT"], Some(0), StartMode::Immediately);
    let options = VenueOptions::on_loopback(certificate.certificate_pem.clone(), certificate.key_pem.clone(), source);
    let venue = Venue::start(options).await.unwrap();
    assert_eq!(client::status_at(&venue, &certificate, "example.com", "/ws").await, 421);
    assert_eq!(client::status_at(&venue, &certificate, "stream.binance.com", "/other").await, 404);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_dropped() {
    let limits = Limits { ping_every: Duration::from_millis(100), pong_within: Duration::from_millis(300), ..Limits::default() };
    let (venue, certificate) = silent_venue(limits).await;
    let silent = Client::connect(&venue, &certificate, "/ws").await.unwrap();
    let start = tokio::time::Instant::now();
    while !venue.connections().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(3), "not dropped");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(start.elapsed() > Duration::from_millis(300));
    drop(silent);
}

#[tokio::test]
async fn a_client_that_answers_pings_stays_until_its_life_ends_with_notice() {
    let limits = Limits {
        ping_every: Duration::from_millis(300),
        pong_within: Duration::from_millis(600),
        life: Duration::from_millis(2_000),
        shutdown_notice: Duration::from_millis(500),
        ..Limits::default()
    };
    let (venue, certificate) = silent_venue(limits).await;
    let mut client = Client::connect(&venue, &certificate, "/stream?streams=btcusdt@trade").await.unwrap();
    let start = tokio::time::Instant::now();
    let notice = client.json().await;
    assert_eq!((&notice["stream"], &notice["data"]["e"]), (&json!("!serverShutdown"), &json!("serverShutdown")));
    assert!(start.elapsed() > Duration::from_millis(1_300));
    assert_eq!(client.close_code().await, Some(1001));
    assert!(start.elapsed() > Duration::from_millis(1_900));
}

#[tokio::test]
async fn a_script_pauses_mutes_and_closes() {
    let source = seeded(&["BTCUSDT"], None, StartMode::OnFirstSubscriber);
    let (venue, certificate) = venue_with(source, |options| options.rate = Rate::PerSecond(2_000.0)).await;
    let mut client = Client::connect(&venue, &certificate, "/ws/btcusdt@trade").await.unwrap();
    client.text().await;

    venue.script(&Command::Pause {});
    let held = venue.truth();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((venue.truth().trades, venue.truth().state), (held.trades, TapeState::Paused));

    venue.script(&Command::Mute { pings: true });
    venue.script(&Command::Resume {});
    tokio::time::sleep(Duration::from_millis(200)).await;
    let muted = venue.truth();
    assert!(muted.trades > held.trades);
    assert_eq!(muted.trades_heard, held.trades_heard);

    venue.script(&Command::Unmute {});
    let mut last = 0;
    let first_after = muted.stream("btcusdt@trade").unwrap().played.last_id.unwrap();
    while last <= first_after {
        last = client.json().await["t"].as_u64().unwrap();
    }
    assert_eq!(venue.truth().stream("btcusdt@trade").unwrap().heard.ids.ranges().len(), 2);

    venue.script(&Command::Close { code: 1012, reason: "restart".to_owned(), announce: true });
    assert_eq!(client.close_code().await, Some(1012));
}

#[tokio::test]
async fn a_subscriber_that_falls_behind_a_paced_tape_is_closed_and_counted() {
    let source = seeded(&["BTCUSDT"], None, StartMode::OnFirstSubscriber);
    let (venue, certificate) = venue_with(source, |options| {
        options.rate = Rate::PerSecond(100_000.0);
        options.limits.backlog = 64 << 10;
    })
    .await;
    // It reads nothing, so that the sockets' buffers fill first.
    let idle = Client::connect(&venue, &certificate, "/stream?streams=btcusdt@trade/btcusdt@bookTicker").await.unwrap();
    let start = tokio::time::Instant::now();
    while venue.truth().too_slow == 0 || !venue.connections().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(15), "still connected: {:?}", venue.connections());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(venue.truth().stream("btcusdt@trade").unwrap().listeners, 0);
    drop(idle);
}

#[tokio::test]
async fn a_drop_cuts_without_a_close_frame_and_a_new_connection_hears_on() {
    let source = seeded(&["BTCUSDT"], None, StartMode::OnFirstSubscriber);
    let (venue, certificate) = venue_with(source, |options| options.rate = Rate::PerSecond(2_000.0)).await;
    let mut first = Client::connect(&venue, &certificate, "/ws/btcusdt@trade").await.unwrap();
    first.text().await;
    assert_eq!(venue.script(&Command::Drop {}), 1);
    assert!(first.ends_without_close().await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut second = Client::connect(&venue, &certificate, "/ws/btcusdt@trade").await.unwrap();
    let id = second.json().await["t"].as_u64().unwrap();
    let heard = venue.truth().stream("btcusdt@trade").unwrap().heard.clone();
    assert_eq!((heard.ids.ranges().len(), heard.ids.ranges()[1].0), (2, id));
}
