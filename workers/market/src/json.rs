//! Events as JSON objects, in the envelope and on the command line. Both directions are on the way of every tick, so writing is by hand and
//! reading goes into one flat struct: an enum told apart by its tag would make serde buffer each object first.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde::Deserialize;

use crate::event::{Event, FeedEvent, Quote, Side, TopOfBook, Trade};
use crate::number::exact;
use crate::time::Timestamp;

/// An envelope's body as it lies on the wire.
#[derive(Deserialize)]
pub(crate) struct Body<'a> {
    #[serde(borrow)]
    pub(crate) exchange: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) symbol: Cow<'a, str>,
    pub(crate) received: Timestamp,
    pub(crate) published: Timestamp,
    #[serde(borrow)]
    pub(crate) events: Vec<FlatEvent<'a>>,
}

/// Every field that any event has; `kind` says which of them must be there.
#[derive(Deserialize)]
pub(crate) struct FlatEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    trade_id: Option<u64>,
    #[serde(default)]
    update_id: Option<u64>,
    #[serde(default, borrow)]
    price: Option<&'a str>,
    #[serde(default, borrow)]
    volume: Option<&'a str>,
    #[serde(default, borrow)]
    side: Option<&'a str>,
    #[serde(default, borrow)]
    bid_price: Option<&'a str>,
    #[serde(default, borrow)]
    bid_volume: Option<&'a str>,
    #[serde(default, borrow)]
    ask_price: Option<&'a str>,
    #[serde(default, borrow)]
    ask_volume: Option<&'a str>,
    #[serde(default, borrow)]
    detail: Option<Cow<'a, str>>,
}

impl FlatEvent<'_> {
    /// The event, or what is wrong with it.
    pub(crate) fn into_event(self) -> Result<Event, String> {
        let missing = |field: &str| format!("a {} without `{field}`", self.kind);
        let number = |field: &str, text: Option<&str>| exact(text.ok_or_else(|| missing(field))?).map_err(|error| format!("{field}: {error}"));
        let top = || {
            Ok::<_, String>(TopOfBook {
                bid_price: number("bid_price", self.bid_price)?,
                bid_volume: number("bid_volume", self.bid_volume)?,
                ask_price: number("ask_price", self.ask_price)?,
                ask_volume: number("ask_volume", self.ask_volume)?,
            })
        };
        let timestamp = || self.timestamp.ok_or_else(|| missing("timestamp"));
        match &*self.kind {
            "trade" => Ok(Event::Trade(Trade {
                timestamp: timestamp()?,
                trade_id: self.trade_id.ok_or_else(|| missing("trade_id"))?,
                price: number("price", self.price)?,
                volume: number("volume", self.volume)?,
                side: match self.side.ok_or_else(|| missing("side"))? {
                    "buy" => Side::Buy,
                    "sell" => Side::Sell,
                    other => return Err(format!("side: `{other}` is neither buy nor sell")),
                },
                prevailing: self.bid_price.is_some().then(top).transpose()?,
            })),
            "quote" => Ok(Event::Quote(Quote { timestamp: self.timestamp, update_id: self.update_id, top: top()? })),
            "connected" => Ok(Event::Connected(FeedEvent { timestamp: timestamp()?, detail: self.detail.unwrap_or_default().into_owned() })),
            "disconnected" => Ok(Event::Disconnected(FeedEvent { timestamp: timestamp()?, detail: self.detail.unwrap_or_default().into_owned() })),
            other => Err(format!("`{other}` is not a kind of event")),
        }
    }
}

/// Appends an event as a JSON object. With `origin`, an (exchange, symbol) pair, the object stands alone; inside an envelope the envelope says both.
pub fn write_event(event: &Event, origin: Option<(&str, &str)>, out: &mut Vec<u8>) {
    let kind = match event {
        Event::Trade(_) => "trade",
        Event::Quote(_) => "quote",
        Event::Connected(_) => "connected",
        Event::Disconnected(_) => "disconnected",
    };
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(kind.as_bytes());
    if let Some((exchange, symbol)) = origin {
        out.extend_from_slice(br#"","exchange":""#);
        out.extend_from_slice(exchange.as_bytes());
        out.extend_from_slice(br#"","symbol":""#);
        out.extend_from_slice(symbol.as_bytes());
    }
    out.extend_from_slice(br#"","timestamp":"#);
    match event.timestamp() {
        Some(time) => {
            out.push(b'"');
            time.write_to(out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    match event {
        Event::Trade(trade) => {
            out.extend_from_slice(br#","trade_id":"#);
            out.extend_from_slice(itoa::Buffer::new().format(trade.trade_id).as_bytes());
            write_number(b",\"price\":\"", trade.price, out);
            write_number(b",\"volume\":\"", trade.volume, out);
            out.extend_from_slice(br#","side":""#);
            out.extend_from_slice(trade.side.as_str().as_bytes());
            out.push(b'"');
            if let Some(top) = &trade.prevailing {
                write_top(top, out);
            }
        }
        Event::Quote(quote) => {
            out.extend_from_slice(br#","update_id":"#);
            match quote.update_id {
                Some(id) => out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes()),
                None => out.extend_from_slice(b"null"),
            }
            write_top(&quote.top, out);
        }
        Event::Connected(feed) | Event::Disconnected(feed) => {
            out.extend_from_slice(br#","detail":"#);
            // A string always has a JSON form.
            let _ = serde_json::to_writer(&mut *out, &feed.detail);
        }
    }
    out.push(b'}');
}

fn write_top(top: &TopOfBook, out: &mut Vec<u8>) {
    write_number(b",\"bid_price\":\"", top.bid_price, out);
    write_number(b",\"bid_volume\":\"", top.bid_volume, out);
    write_number(b",\"ask_price\":\"", top.ask_price, out);
    write_number(b",\"ask_volume\":\"", top.ask_volume, out);
}

fn write_number(key: &[u8], number: Decimal, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    crate::number::write(number, out);
    out.push(b'"');
}
