//! From the text of a frame to what it says. A frame is decoded once: the name of its stream says into what.

use std::borrow::Cow;

use serde::Deserialize;
use smallvec::smallvec;
use tapekeeper_market::{Decimal, Event, Quote, Side, Timestamp, TopOfBook, Trade};

use super::wire::{self, AnyFrame, Kind, Refusal};
use crate::venues::{Frame, FrameError, VenueEvent};

/// A time of at least this much is in microseconds: the streams send them on request, and as milliseconds it would lie beyond the year 5000.
const MICROSECONDS_FROM: i64 = 100_000_000_000_000;

/// What `frame` says, be it a combined envelope or a raw frame.
pub(super) fn parse(frame: &str) -> Result<Frame<'_>, FrameError> {
    // The layout in which the venue writes its envelopes. Any other layout, and any doubt, is for the thorough way below.
    if let Some((stream, data)) = split_envelope(frame)
        && let Ok(frame) = match channel(stream) {
            "trade" => trade(data),
            "bookTicker" => book_ticker(data),
            _ => Err(FrameError::Unknown),
        }
    {
        return Ok(frame);
    }
    thoroughly(frame)
}

/// `{"stream":"NAME","data":DATA}` as (NAME, DATA), where it is written exactly so.
fn split_envelope(frame: &str) -> Option<(&str, &str)> {
    let (stream, rest) = frame.trim_ascii_end().strip_prefix(r#"{"stream":""#)?.split_once('"')?;
    Some((stream, rest.strip_prefix(r#","data":"#)?.strip_suffix('}')?))
}

/// `depth` of `btcusdt@depth@100ms`, `kline_1m` of `btcusdt@kline_1m`, `miniTicker` of `!miniTicker@arr`.
fn channel(stream: &str) -> &str {
    let after_symbol = match stream.strip_prefix('!') {
        Some(all_market) => all_market,
        None => stream.split_once('@').map_or(stream, |(_, channel)| channel),
    };
    after_symbol.split_once('@').map_or(after_symbol, |(channel, _)| channel)
}

fn thoroughly(text: &str) -> Result<Frame<'_>, FrameError> {
    if text.trim_ascii_start().starts_with('[') {
        return many(text);
    }
    let any: AnyFrame<'_> = serde_json::from_str(text).map_err(malformed)?;
    if let Some(stream) = any.stream {
        let data = any.data.ok_or_else(|| FrameError::Field { field: "data", why: "missing".to_owned() })?;
        return match channel(&stream) {
            "trade" => trade(data.get()),
            "bookTicker" => book_ticker(data.get()),
            "serverShutdown" => Ok(Frame::Closing),
            "" => Err(FrameError::Field { field: "stream", why: format!("`{stream}` names no channel") }),
            other => Ok(Frame::Ignored { channel: Cow::Owned(other.to_owned()) }),
        };
    }
    match any.kind.as_deref() {
        Some("trade") => trade(text),
        Some("bookTicker") => book_ticker(text),
        Some("serverShutdown") => Ok(Frame::Closing),
        Some(_) => Ok(Frame::Ignored { channel: any.kind.unwrap_or_default() }),
        None if any.update_id.0 => book_ticker(text),
        None if any.last_update_id.0 => Ok(Frame::Ignored { channel: Cow::Borrowed("depth") }),
        None => answer(any),
    }
}

/// A raw frame of an all-market stream is an array. Tapekeeper takes none of those.
fn many(text: &str) -> Result<Frame<'_>, FrameError> {
    let kinds: Vec<Kind<'_>> = serde_json::from_str(text).map_err(malformed)?;
    match kinds.into_iter().next() {
        Some(Kind { kind: Some(channel) }) => Ok(Frame::Ignored { channel }),
        _ => Err(FrameError::Unknown),
    }
}

fn answer(any: AnyFrame<'_>) -> Result<Frame<'_>, FrameError> {
    let request = any.id.and_then(|id| id.get().parse().ok());
    let refused = any.error.or_else(|| any.code.map(|code| Refusal { code: Some(code), msg: any.msg }));
    match (refused, request) {
        (Some(refused), None) => Ok(Frame::Complaint(words(&refused))),
        (Some(refused), Some(request)) => Ok(Frame::Answer { request, refusal: Some(words(&refused)) }),
        (None, Some(request)) if any.result.0 => Ok(Frame::Answer { request, refusal: None }),
        // An answer to a request that somebody else numbered: by a text, or not at all.
        (None, None) if any.result.0 => Ok(Frame::Ignored { channel: Cow::Borrowed("answer") }),
        (None, _) => Err(FrameError::Unknown),
    }
}

fn words(refusal: &Refusal<'_>) -> String {
    let message = refusal.msg.as_deref().unwrap_or("no message");
    refusal.code.map_or_else(|| message.to_owned(), |code| format!("{message} (code {code})"))
}

fn trade(data: &str) -> Result<Frame<'_>, FrameError> {
    let trade: wire::Trade<'_> = decode(data)?;
    expect_kind("trade", &trade.kind)?;
    let event = Event::Trade(Trade {
        timestamp: time("T", trade.traded_at)?,
        trade_id: trade.trade_id,
        price: positive("p", &trade.price)?,
        volume: positive("q", &trade.quantity)?,
        // The maker bought, so the taker sold.
        side: if trade.buyer_is_maker { Side::Sell } else { Side::Buy },
        prevailing: None,
    });
    one(trade.symbol, event)
}

fn book_ticker(data: &str) -> Result<Frame<'_>, FrameError> {
    let ticker: wire::BookTicker<'_> = decode(data)?;
    if let Some(kind) = &ticker.kind {
        expect_kind("bookTicker", kind)?;
    }
    let event = Event::Quote(Quote {
        timestamp: ticker.changed_at.map(|changed_at| time("T", changed_at)).transpose()?,
        update_id: Some(ticker.update_id),
        top: TopOfBook {
            bid_price: number("b", &ticker.bid_price)?,
            bid_volume: number("B", &ticker.bid_quantity)?,
            ask_price: number("a", &ticker.ask_price)?,
            ask_volume: number("A", &ticker.ask_quantity)?,
        },
    });
    one(ticker.symbol, event)
}

fn one(symbol: Cow<'_, str>, event: Event) -> Result<Frame<'_>, FrameError> {
    if symbol.is_empty() {
        return Err(FrameError::Field { field: "s", why: "empty".to_owned() });
    }
    Ok(Frame::Events(smallvec![VenueEvent { symbol, event }]))
}

/// The one place that decodes market frames.
fn decode<'f, T: Deserialize<'f>>(data: &'f str) -> Result<T, FrameError> {
    serde_json::from_str(data).map_err(malformed)
}

#[cold]
fn malformed(error: serde_json::Error) -> FrameError {
    FrameError::Malformed(error.to_string())
}

fn expect_kind(expected: &str, kind: &str) -> Result<(), FrameError> {
    if kind == expected {
        return Ok(());
    }
    Err(FrameError::Field { field: "e", why: format!("`{}` on a stream of {expected}", kind.chars().take(32).collect::<String>()) })
}

fn time(field: &'static str, value: i64) -> Result<Timestamp, FrameError> {
    let time = if value >= MICROSECONDS_FROM { Timestamp::from_micros(value) } else { Timestamp::from_millis(value) };
    match time {
        Ok(time) if value > 0 => Ok(time),
        _ => Err(FrameError::Field { field, why: format!("`{value}` is not a time") }),
    }
}

/// Prices and sizes of trades.
fn positive(field: &'static str, text: &str) -> Result<Decimal, FrameError> {
    let number = number(field, text)?;
    if number.is_zero() {
        return Err(FrameError::Field { field, why: format!("`{text}` is not more than nothing") });
    }
    Ok(number)
}

/// Prices and sizes of quotes: an empty side of the book is 0 at 0.
fn number(field: &'static str, text: &str) -> Result<Decimal, FrameError> {
    match tapekeeper_market::exact(text) {
        // By its text, since no number says that it is minus nothing.
        Ok(number) if !text.starts_with('-') => Ok(number),
        Ok(_) => Err(FrameError::Field { field, why: format!("`{text}` is negative") }),
        Err(error) => Err(FrameError::Field { field, why: error.to_string() }),
    }
}
