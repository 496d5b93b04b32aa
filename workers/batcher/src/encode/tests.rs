use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tapekeeper_contract::tables::Table;
use tapekeeper_market::exact;

use super::*;

const DAY: i64 = 86_400_000_000;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn envelope_of(events: Vec<Event>) -> Envelope {
    Envelope {
        id: EnvelopeId { feed: Arc::from("market-data/binance"), epoch: 1_700_000_000_000_000, sequence: 7 },
        exchange: Arc::from("binance"),
        instrument: "BTC/USDT".parse().unwrap(),
        received: at(5 * DAY + 300),
        published: at(5 * DAY + 400),
        events,
    }
}

fn top() -> TopOfBook {
    TopOfBook {
        bid_price: exact("61837.63").unwrap(),
        bid_volume: exact("1.5").unwrap(),
        ask_price: exact("61837.64").unwrap(),
        ask_volume: exact("0.2").unwrap(),
    }
}

fn trade(timestamp: i64, trade_id: u64, prevailing: Option<TopOfBook>) -> Event {
    Event::Trade(Trade {
        timestamp: at(timestamp),
        trade_id,
        price: exact("61837.63000000").unwrap(),
        volume: exact("0.02000000").unwrap(),
        side: Side::Sell,
        prevailing,
    })
}

/// Reads RowBinary by nothing but the contract's column types, so that a row that is not in their order shows.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_at(N);
        self.0 = rest;
        taken.try_into().unwrap()
    }

    fn string(&mut self) -> String {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let [byte] = self.take();
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn value(&mut self, kind: &str) -> Value {
        match kind {
            "String" | "LowCardinality(String)" => json!(self.string()),
            "DateTime64(6, 'UTC')" => json!(i64::from_le_bytes(self.take())),
            "UInt64" => json!(u64::from_le_bytes(self.take())),
            "UInt32" => json!(u32::from_le_bytes(self.take())),
            "UInt16" => json!(u16::from_le_bytes(self.take())),
            "Decimal(38, 18)" => json!(i128::from_le_bytes(self.take()).to_string()),
            "Nullable(Decimal(38, 18))" => match self.take() {
                [1] => Value::Null,
                [0] => self.value("Decimal(38, 18)"),
                other => panic!("a null is 0 or 1, not {other:?}"),
            },
            "Enum8('buy' = 1, 'sell' = 2)" => match self.take() {
                [1] => json!("buy"),
                [2] => json!("sell"),
                other => panic!("not a side: {other:?}"),
            },
            other => panic!("{other} is a type that this crate does not encode"),
        }
    }
}

fn rows(part: &EncodedPart) -> Vec<Value> {
    let mut reader = Reader(&part.bytes);
    let rows = (0..part.rows).map(|_| {
        let values = part.table.columns().iter().map(|column| (column.name.to_owned(), reader.value(column.kind)));
        Value::Object(values.collect())
    });
    let rows = rows.collect();
    assert!(reader.0.is_empty(), "{} bytes behind the last row", reader.0.len());
    rows
}

#[test]
fn a_trade_lies_in_the_columns_of_ticks() {
    let encoded = envelope(&envelope_of(vec![trade(5 * DAY + 1, 42, Some(top())), trade(5 * DAY + 2, 43, None)])).unwrap();
    assert_eq!(encoded.parts.len(), 1);
    let expected = |position: u16, timestamp: i64, trade_id: u64, top: [Value; 4]| {
        let [bid_price, bid_volume, ask_price, ask_volume] = top;
        json!({
            "exchange": "binance", "symbol": "BTC/USDT", "timestamp": timestamp, "trade_id": trade_id,
            "price": "61837630000000000000000", "volume": "20000000000000000", "side": "sell",
            "bid_price": bid_price, "bid_volume": bid_volume, "ask_price": ask_price, "ask_volume": ask_volume,
            "received": 5 * DAY + 300, "published": 5 * DAY + 400, "flags": 0,
            "feed": "market-data/binance", "epoch": 1_700_000_000_000_000_u64, "sequence": 7, "position": position,
        })
    };
    let known = ["61837630000000000000000", "1500000000000000000", "61837640000000000000000", "200000000000000000"].map(|units| json!(units));
    similar_asserts::assert_eq!(
        rows(&encoded.parts[0]),
        vec![expected(0, 5 * DAY + 1, 42, known), expected(1, 5 * DAY + 2, 43, [const { Value::Null }; 4])]
    );
}

#[test]
fn a_quote_without_a_venue_time_takes_the_receipt_time_and_says_so() {
    let quote = |timestamp, update_id| Event::Quote(Quote { timestamp, update_id, top: top() });
    let encoded = envelope(&envelope_of(vec![quote(None, Some(9)), quote(Some(at(5 * DAY + 7)), None)])).unwrap();
    let seen: Vec<_> = rows(&encoded.parts[0]).iter().map(|row| [&row["timestamp"], &row["flags"], &row["update_id"]].map(Value::clone)).collect();
    assert_eq!(seen, [[json!(5 * DAY + 300), json!(1), json!(9)], [json!(5 * DAY + 7), json!(0), json!(0)]]);
}

#[test]
fn a_feed_event_keeps_its_words_however_long() {
    let detail = "why ".repeat(100);
    let event = FeedEvent { timestamp: at(5 * DAY), detail: detail.clone() };
    let encoded = envelope(&envelope_of(vec![Event::Disconnected(event)])).unwrap();
    let row = &rows(&encoded.parts[0])[0];
    assert_eq!((&row["event"], &row["detail"]), (&json!("disconnected"), &json!(detail)));
}

#[test]
fn an_envelope_over_midnight_is_cut_at_the_edge_of_the_day() {
    let encoded = envelope(&envelope_of(vec![trade(6 * DAY - 1, 1, None), trade(6 * DAY, 2, None), trade(6 * DAY - 1, 3, None)])).unwrap();
    let parts: Vec<_> = encoded.parts.iter().map(|part| (part.table, part.day, part.rows, part.first, part.last)).collect();
    assert_eq!(parts, [(Table::Ticks, 5, 2, at(6 * DAY - 1), at(6 * DAY - 1)), (Table::Ticks, 6, 1, at(6 * DAY), at(6 * DAY))]);
    let positions: Vec<_> = encoded.parts.iter().flat_map(rows).map(|row| row["position"].clone()).collect();
    assert_eq!(positions, [0, 2, 1]);
}

#[test]
fn a_number_that_its_column_cannot_hold_is_named_and_nothing_is_encoded() {
    let mut events = vec![trade(1, 1, None), trade(2, 2, None)];
    let Event::Trade(second) = &mut events[1] else { unreachable!() };
    second.volume = exact("100000000000000000000").unwrap();
    let error = envelope(&envelope_of(events)).unwrap_err();
    assert_eq!(error.to_string(), "event 1: volume `100000000000000000000` does not fit Decimal(38, 18)");
}

#[test]
fn decimals_are_exact_to_the_edges_of_their_column() {
    for (text, units) in [
        ("0.000000000000000001", "1"),
        ("99999999999999999999", "99999999999999999999000000000000000000"),
        ("-4.2", "-4200000000000000000"),
        ("0.000", "0"),
    ] {
        let mut events = vec![trade(1, 1, None)];
        let Event::Trade(only) = &mut events[0] else { unreachable!() };
        only.price = exact(text).unwrap();
        assert_eq!(rows(&envelope(&envelope_of(events)).unwrap().parts[0])[0]["price"], json!(units), "{text}");
    }
}

fn event() -> impl Strategy<Value = Event> {
    (0_i64..4 * DAY, any::<u64>(), 0_u8..4).prop_map(|(time, id, which)| match which {
        0 => trade(time, id, None),
        1 => trade(time, id, Some(top())),
        2 => Event::Quote(Quote { timestamp: Some(at(time)), update_id: Some(id), top: top() }),
        _ => Event::Connected(FeedEvent { timestamp: at(time), detail: "subscribed".to_owned() }),
    })
}

proptest! {
    #[test]
    fn every_event_is_one_row_in_its_table_and_day_at_its_position(events in proptest::collection::vec(event(), 1..200)) {
        let expected: std::collections::BTreeSet<_> = events.iter().enumerate()
            .map(|(position, event)| (table(event), event.timestamp().unwrap().day(), position as u64)).collect();
        let envelope_in = envelope_of(events);
        let encoded = envelope(&envelope_in).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for part in &encoded.parts {
            for row in rows(part) {
                prop_assert_eq!(row["timestamp"].as_i64().unwrap().div_euclid(DAY), part.day);
                seen.insert((part.table, part.day, row["position"].as_u64().unwrap()));
            }
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(envelope(&envelope_in).unwrap(), encoded);
    }
}
