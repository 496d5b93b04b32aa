//! What a tick costs between the broker and the database's socket: `cargo test --profile local -p tapekeeper-batcher --test cost -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a measurement")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tapekeeper_batcher::batch::{Batch, Limits, Origin};
use tapekeeper_batcher::encode;
use tapekeeper_market::{Decimal, Envelope, EnvelopeId, Event, Quote, Side, Timestamp, TopOfBook, Trade};

const ENVELOPES: u32 = 2_000;
const EVENTS: u32 = 64;

fn envelope() -> Envelope {
    let time = |micros: u32| Timestamp::from_micros(1_769_904_000_000_000 + i64::from(micros)).unwrap();
    let top = TopOfBook {
        bid_price: Decimal::new(6_183_763_000_000, 8),
        bid_volume: Decimal::new(150_000_000, 8),
        ask_price: Decimal::new(6_183_764_000_000, 8),
        ask_volume: Decimal::new(20_000_000, 8),
    };
    let event = |number: u32| match number % 4 {
        0 => Event::Trade(Trade {
            timestamp: time(number),
            trade_id: 3_735_683_259 + u64::from(number),
            price: Decimal::new(6_183_763_000_000, 8),
            volume: Decimal::new(2_000_000, 8),
            side: Side::Buy,
            prevailing: Some(top),
        }),
        _ => Event::Quote(Quote { timestamp: None, update_id: Some(u64::from(number)), top }),
    };
    Envelope {
        id: EnvelopeId { feed: Arc::from("market-data/binance"), epoch: 1, sequence: 1 },
        exchange: Arc::from("binance"),
        instrument: "BTC/USDT".parse().unwrap(),
        received: time(100),
        published: time(200),
        events: (0..EVENTS).map(event).collect(),
    }
}

fn per_event(work: impl FnMut()) -> f64 {
    let mut work = work;
    let started = Instant::now();
    (0..ENVELOPES).for_each(|_| work());
    started.elapsed().as_secs_f64() * 1e9 / f64::from(ENVELOPES * EVENTS)
}

#[test]
#[ignore = "a measurement, not a check"]
fn the_cost_of_a_tick_in_nanoseconds() {
    let envelope = envelope();
    let id = envelope.id.to_string();
    let mut body = Vec::new();
    envelope.encode(&mut body);
    let encoded = encode::envelope(&envelope).unwrap();
    let limits = Limits { rows: u64::MAX, bytes: u64::MAX, delay: Duration::MAX, envelopes_per_queue: usize::MAX };
    let mut batch = Batch::new(1, Limits { delay: Duration::from_secs(1), ..limits });
    println!("{} bytes of JSON and {} of RowBinary per event", body.len() / EVENTS as usize, encoded.bytes() / u64::from(EVENTS));
    println!("decode  {:6.0} ns", per_event(|| drop(std::hint::black_box(Envelope::decode(&id, &body).unwrap()))));
    println!("encode  {:6.0} ns", per_event(|| drop(std::hint::black_box(encode::envelope(&envelope).unwrap()))));
    println!("collect {:6.0} ns", per_event(|| batch.push(Origin { queue: 0, tag: 1 }, encoded.clone(), Instant::now())));
    println!(
        "close   {:6.0} ns",
        per_event({
            let mut batch = Some(batch);
            move || {
                if let Some(mut batch) = batch.take() {
                    drop(std::hint::black_box(batch.close().unwrap().blocks.iter().map(tapekeeper_batcher::batch::Block::token).collect::<Vec<_>>()))
                }
            }
        })
    );
}
