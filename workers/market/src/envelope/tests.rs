use proptest::prelude::*;

use rust_decimal::Decimal;

use super::*;
use crate::event::{FeedEvent, FeedEventKind, Quote, Side, TopOfBook, Trade};

fn number() -> impl Strategy<Value = Decimal> {
    (0_i128..10_i128.pow(20), 0_u32..=12).prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa, scale))
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000_000_000).prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

fn top() -> impl Strategy<Value = TopOfBook> {
    (number(), number(), number(), number()).prop_map(|(bid_price, bid_volume, ask_price, ask_volume)| TopOfBook {
        bid_price,
        bid_volume,
        ask_price,
        ask_volume,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (time(), any::<u64>(), number(), number(), any::<bool>(), proptest::option::of(top())).prop_map(
            |(timestamp, trade_id, price, volume, bought, prevailing)| {
                let side = if bought { Side::Buy } else { Side::Sell };
                Event::Trade(Trade { timestamp, trade_id, price, volume, side, prevailing })
            }
        ),
        (proptest::option::of(time()), proptest::option::of(any::<u64>()), top()).prop_map(|(timestamp, update_id, top)| Event::Quote(Quote {
            timestamp,
            update_id,
            top
        })),
        (time(), ".*", any::<bool>()).prop_map(|(timestamp, detail, up)| {
            let kind = if up { FeedEventKind::Connected } else { FeedEventKind::Disconnected };
            Event::feed(kind, FeedEvent { timestamp, detail })
        }),
    ]
}

proptest! {
    #[test]
    fn an_envelope_comes_back_from_its_message_as_it_was(
        events in proptest::collection::vec(event(), 1..MAX_EVENTS), received in time(), published in time(), epoch in any::<u64>(), sequence in any::<u64>(),
    ) {
        let envelope = Envelope {
            id: EnvelopeId { feed: Arc::from("market-data/binance.eu"), epoch, sequence },
            exchange: Arc::from("binance"),
            instrument: "BTC/USDT".parse().unwrap(),
            received,
            published,
            events,
        };
        let mut body = Vec::new();
        envelope.encode(&mut body);
        prop_assert_eq!(Envelope::decode(&envelope.id.to_string(), &body).unwrap(), envelope);
    }
}

#[test]
fn a_trade_reads_as_the_documented_json() {
    let envelope = Envelope {
        id: "md/binance.7.0".parse().unwrap(),
        exchange: Arc::from("binance"),
        instrument: "BTC/USDT".parse().unwrap(),
        received: Timestamp::from_micros(1_723_161_255_343_120).unwrap(),
        published: Timestamp::from_micros(1_723_161_255_343_180).unwrap(),
        events: vec![Event::Trade(Trade {
            timestamp: Timestamp::from_millis(1_723_161_255_342).unwrap(),
            trade_id: 3_735_683_259,
            price: crate::exact("61837.63000000").unwrap(),
            volume: crate::exact("0.02000000").unwrap(),
            side: Side::Sell,
            prevailing: None,
        })],
    };
    let mut body = Vec::new();
    envelope.encode(&mut body);
    assert_eq!(
        String::from_utf8(body).unwrap(),
        concat!(
            r#"{"exchange":"binance","symbol":"BTC/USDT","received":"2024-08-08T23:54:15.343120Z","published":"2024-08-08T23:54:15.343180Z","#,
            r#""events":[{"type":"trade","timestamp":"2024-08-08T23:54:15.342000Z","trade_id":3735683259,"#,
            r#""price":"61837.63000000","volume":"0.02000000","side":"sell"}]}"#
        )
    );
}

#[test]
fn a_message_that_is_not_an_envelope_says_why() {
    let body = br#"{"exchange":"binance","symbol":"BTC/USDT","received":"2024-08-08T23:54:15Z","published":"2024-08-08T23:54:15Z","events":[]}"#;
    assert_eq!(Envelope::decode("md/binance.1.2", body), Err(EnvelopeError::Count(0)));
    assert_eq!(Envelope::decode("binance", body), Err(EnvelopeError::Id("binance".to_owned())));
    assert!(matches!(Envelope::decode("md/binance.1.2", b"{}"), Err(EnvelopeError::Body(_))));
}

#[test]
fn a_field_of_a_later_version_is_ignored() {
    let body = br#"{"exchange":"binance","symbol":"BTC/USDT","received":"2024-08-08T23:54:15Z","published":"2024-08-08T23:54:15Z","new":1,
        "events":[{"type":"quote","timestamp":null,"update_id":1,"bid_price":"1","bid_volume":"2","ask_price":"3","ask_volume":"4","venue_note":"x"}]}"#;
    assert_eq!(Envelope::decode("md/binance.1.2", body).unwrap().events.len(), 1);
}
