//! Frames in the documented shape, and what they say.

use proptest::prelude::*;
use tapekeeper_contract::Venue;
use tapekeeper_contract::settings::Channel;
use tapekeeper_market::{Event, Quote, Side, Timestamp, TopOfBook, Trade, exact};

use crate::venues::{Frame, FrameError, protocol};

const TRADE: &str =
    r#"{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}"#;
const QUOTE: &str = r#"{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}"#;

fn parse(frame: &str) -> Result<Frame<'_>, FrameError> {
    protocol(Venue::Binance).parse(frame)
}

fn enveloped(stream: &str, data: &str) -> String {
    format!(r#"{{"stream":"{stream}","data":{data}}}"#)
}

/// The one event of a frame, with its symbol.
fn event(frame: &str) -> (String, Event) {
    match parse(frame).unwrap() {
        Frame::Events(events) if events.len() == 1 => (events[0].symbol.to_string(), events[0].event.clone()),
        other => panic!("{other:?}"),
    }
}

fn trade() -> Trade {
    Trade {
        timestamp: Timestamp::from_millis(1_723_161_255_342).unwrap(),
        trade_id: 3_735_683_259,
        price: exact("61837.63000000").unwrap(),
        volume: exact("0.02000000").unwrap(),
        side: Side::Sell,
        prevailing: None,
    }
}

fn quote() -> Quote {
    let number = |text| exact(text).unwrap();
    let top = TopOfBook {
        bid_price: number("61837.63000000"),
        bid_volume: number("3.78826000"),
        ask_price: number("61837.64000000"),
        ask_volume: number("1.54698000"),
    };
    Quote { timestamp: None, update_id: Some(50_093_239_212), top }
}

#[test]
fn a_trade_is_read_from_its_envelope_and_from_a_raw_frame() {
    let expected = ("BTCUSDT".to_owned(), Event::Trade(trade()));
    assert_eq!(event(&enveloped("btcusdt@trade", TRADE)), expected);
    assert_eq!(event(TRADE), expected);
}

#[test]
fn a_trade_whose_buyer_is_not_the_maker_was_bought() {
    let bought = TRADE.replace(r#""m":true"#, r#""m":false"#);
    assert_eq!(event(&enveloped("btcusdt@trade", &bought)).1, Event::Trade(Trade { side: Side::Buy, ..trade() }));
}

#[test]
fn a_spot_quote_is_known_without_a_type_and_has_no_time() {
    let expected = ("BTCUSDT".to_owned(), Event::Quote(quote()));
    assert_eq!(event(&enveloped("btcusdt@bookTicker", QUOTE)), expected);
    assert_eq!(event(QUOTE), expected);
}

#[test]
fn a_futures_quote_has_the_time_of_its_transaction() {
    let futures = QUOTE.replacen('{', r#"{"e":"bookTicker","E":1618677448051,"T":1618677448047,"#, 1);
    let timestamp = Some(Timestamp::from_millis(1_618_677_448_047).unwrap());
    assert_eq!(event(&enveloped("btcusdt@bookTicker", &futures)).1, Event::Quote(Quote { timestamp, ..quote() }));
}

#[test]
fn the_layout_of_an_envelope_does_not_matter() {
    let expected = event(TRADE);
    for frame in [
        format!(r#" {{ "stream" : "btcusdt@trade" , "data" : {TRADE} }} "#),
        format!(r#"{{"data":{TRADE},"stream":"btcusdt@trade"}}"#),
        format!(r#"{{"stream":"btcusdt@trade","data":{TRADE},"added":{{"later":[1]}}}}"#),
        enveloped(r"btcusdt\u0040trade", TRADE),
        enveloped("btcusdt@trade", &TRADE.replace(r#""s":"BTCUSDT""#, r#""s":"BTC\u0055SDT""#)),
        enveloped("btcusdt@trade", &TRADE.replace(r#""m""#, r#""b":88,"a":99,"X":"MARKET","new":null,"m""#)),
    ] {
        assert_eq!(event(&frame), expected, "{frame}");
    }
}

#[test]
fn times_in_microseconds_are_told_from_milliseconds() {
    let micros = TRADE.replace("1723161255342", "1723161255342123");
    let timestamp = Timestamp::from_micros(1_723_161_255_342_123).unwrap();
    assert_eq!(event(&enveloped("btcusdt@trade", &micros)).1, Event::Trade(Trade { timestamp, ..trade() }));
}

#[test]
fn channels_that_are_not_taken_are_ignored_by_name() {
    let ignored = |frame: &str| match parse(frame).unwrap() {
        Frame::Ignored { channel } => channel.into_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ignored(&enveloped("btcusdt@depth@100ms", r#"{"e":"depthUpdate","b":[["1","2"]],"a":[]}"#)), "depth");
    assert_eq!(ignored(&enveloped("btcusdt@depth20", r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#)), "depth20");
    assert_eq!(ignored(&enveloped("btcusdt@aggTrade", r#"{"e":"aggTrade","p":"1"}"#)), "aggTrade");
    assert_eq!(ignored(&enveloped("btcusdt@kline_1m", r#"{"e":"kline","k":{}}"#)), "kline_1m");
    assert_eq!(ignored(&enveloped("!miniTicker@arr", r#"[{"e":"24hrMiniTicker"}]"#)), "miniTicker");
    assert_eq!(ignored(r#"{"e":"aggTrade","s":"BTCUSDT"}"#), "aggTrade");
    assert_eq!(ignored(r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#), "depth");
    assert_eq!(ignored(r#"[{"e":"24hrTicker"},{"e":"24hrTicker"}]"#), "24hrTicker");
    assert_eq!(ignored(r#"{"result":["btcusdt@trade"],"id":"mine"}"#), "answer");
}

#[test]
fn answers_say_which_request_they_answer_and_why_it_was_refused() {
    let answer = |request, refusal: Option<&str>| Frame::Answer { request, refusal: refusal.map(str::to_owned) };
    assert_eq!(parse(r#"{"result":null,"id":1}"#).unwrap(), answer(1, None));
    assert_eq!(parse(r#"{"id":7,"result":null}"#).unwrap(), answer(7, None));
    assert_eq!(parse(r#"{"result": [], "id": 1}"#).unwrap(), answer(1, None));
    assert_eq!(parse(r#"{"error":{"code":2,"msg":"Invalid request"},"id":3}"#).unwrap(), answer(3, Some("Invalid request (code 2)")));
    assert_eq!(parse(r#"{"code":2,"msg":"Invalid request","id":3}"#).unwrap(), answer(3, Some("Invalid request (code 2)")));
    assert_eq!(parse(r#"{"error":{"code":3,"msg":"Invalid JSON"},"id":null}"#).unwrap(), Frame::Complaint("Invalid JSON (code 3)".to_owned()));
}

#[test]
fn the_venues_notice_of_its_shutdown_is_understood_in_both_forms() {
    assert_eq!(parse(r#"{"e":"serverShutdown","E":1770123456789}"#).unwrap(), Frame::Closing);
    assert_eq!(parse(&enveloped("!serverShutdown", r#"{"e":"serverShutdown","E":1}"#)).unwrap(), Frame::Closing);
}

#[test]
fn an_empty_side_of_the_book_is_a_quote() {
    let empty = QUOTE.replace("61837.63000000", "0.00000000").replace("3.78826000", "0.00000000");
    assert!(matches!(event(&empty).1, Event::Quote(quote) if quote.top.bid_price.is_zero()));
}

#[test]
fn a_taken_frame_with_a_wrong_field_is_not_understood() {
    let enveloped_trade = |from: &str, to: &str| enveloped("btcusdt@trade", &TRADE.replace(from, to));
    for (frame, reason, part) in [
        (enveloped_trade(r#""p":"61837.63000000","#, ""), "FrameMalformed", "missing field `p`"),
        (enveloped_trade(r#""s":"BTCUSDT","#, ""), "FrameMalformed", "missing field `s`"),
        (enveloped_trade(r#""p":"61837.63000000""#, r#""p":61837.63"#), "FrameMalformed", "invalid type"),
        (enveloped_trade(r#""t":3735683259"#, r#""t":-1"#), "FrameMalformed", "invalid"),
        (enveloped_trade(r#""m":true"#, r#""m":"true""#), "FrameMalformed", "invalid type"),
        (enveloped_trade("61837.63000000", "-61837.63"), "FrameFieldInvalid", "field `p`: `-61837.63` is negative"),
        (enveloped_trade("61837.63000000", "-0.0"), "FrameFieldInvalid", "field `p`: `-0.0` is"),
        (enveloped_trade("61837.63000000", "0.00"), "FrameFieldInvalid", "field `p`: `0.00` is not more than nothing"),
        (enveloped_trade("0.02000000", "NaN"), "FrameFieldInvalid", "field `q`: `NaN` is not a decimal number"),
        (enveloped_trade("0.02000000", "1e3"), "FrameFieldInvalid", "field `q`: `1e3` is not a decimal number"),
        (enveloped_trade("0.02000000", ""), "FrameFieldInvalid", "field `q`: `` is not a decimal number"),
        (enveloped_trade("0.02000000", "1_0"), "FrameFieldInvalid", "field `q`: `1_0` is not a decimal number"),
        (enveloped_trade("1723161255342", "-5"), "FrameFieldInvalid", "field `T`: `-5` is not a time"),
        (enveloped_trade(r#""s":"BTCUSDT""#, r#""s":"""#), "FrameFieldInvalid", "field `s`: empty"),
        (enveloped_trade(r#""e":"trade""#, r#""e":"aggTrade""#), "FrameFieldInvalid", "field `e`: `aggTrade` on a stream of trade"),
        (enveloped("btcusdt@bookTicker", TRADE), "FrameMalformed", "missing field"),
        (enveloped("btcusdt@bookTicker", &QUOTE.replace(r#""A":"1.54698000""#, r#""A":null"#)), "FrameMalformed", "invalid type"),
        (r#"{"stream":"btcusdt@trade"}"#.to_owned(), "FrameFieldInvalid", "field `data`: missing"),
        (enveloped("", TRADE), "FrameFieldInvalid", "names no channel"),
        (TRADE[..80].to_owned(), "FrameMalformed", "EOF"),
        (r#"{"stream":"btcusdt@depth","data":{"e":"depthUp"#.to_owned(), "FrameMalformed", "EOF"),
        ("not json".to_owned(), "FrameMalformed", "expected"),
        ("42".to_owned(), "FrameMalformed", "invalid type"),
        ("{}".to_owned(), "FrameUnknown", "nothing that this venue is known to send"),
        ("[]".to_owned(), "FrameUnknown", "nothing that this venue is known to send"),
    ] {
        let error = parse(&frame).expect_err(&frame);
        assert!(error.reason() == reason && error.to_string().contains(part), "{frame}: {}: {error}", error.reason());
    }
}

#[test]
fn streams_are_asked_for_in_lower_case_under_a_number() {
    let subject = protocol(Venue::Binance);
    let instrument = "BTC/USDT".parse().unwrap();
    let streams = [subject.stream(&instrument, Channel::Trades), subject.stream(&instrument, Channel::Quotes)];
    assert_eq!(streams, ["btcusdt@trade", "btcusdt@bookTicker"]);
    let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
    assert_eq!(subject.subscribe(&streams, 4), r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@bookTicker"],"id":4}"#);
    assert_eq!(subject.socket_url(&"wss://stream.binance.com:9443".parse().unwrap()).as_str(), "wss://stream.binance.com:9443/stream");
}

/// A frame with bytes cut off, replaced or put in.
fn damaged() -> impl Strategy<Value = String> {
    let frames = [enveloped("btcusdt@trade", TRADE), enveloped("btcusdt@bookTicker", QUOTE), TRADE.to_owned(), QUOTE.to_owned()];
    (proptest::sample::select(frames.to_vec()), any::<proptest::sample::Index>(), 0_usize..4, proptest::collection::vec(any::<char>(), 0..4))
        .prop_map(|(frame, at, removed, put_in)| {
            let at = at.index(frame.len() + 1);
            let end = (at + removed).min(frame.len());
            format!("{}{}{}", &frame[..at], put_in.into_iter().collect::<String>(), &frame[end..])
        })
}

proptest! {
    #[test]
    fn no_damage_to_a_frame_makes_the_parser_panic(frame in damaged(), text in ".*") {
        let _ = (parse(&frame), parse(&text));
    }

    #[test]
    fn a_truncated_frame_is_never_taken_for_a_whole_one(length in 0_usize..200) {
        for frame in [enveloped("btcusdt@trade", TRADE), enveloped("btcusdt@bookTicker", QUOTE), enveloped("btcusdt@depth", TRADE), TRADE.to_owned()] {
            if length < frame.len() {
                prop_assert!(parse(&frame[..length]).is_err(), "{}", &frame[..length]);
            }
        }
    }

    #[test]
    fn numbers_are_kept_digit_for_digit(whole in 0_u64..10_000_000_000, fraction in 0_u32..100_000_000, id in any::<u64>()) {
        let price = format!("{}.{fraction:08}", whole + 1);
        let frame = TRADE.replace("61837.63000000", &price).replace("3735683259", &id.to_string());
        let (_, event) = event(&frame);
        let Event::Trade(trade) = event else { panic!("{event:?}") };
        prop_assert_eq!((trade.price.to_string(), trade.trade_id), (price, id));
    }
}
