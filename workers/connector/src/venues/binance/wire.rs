//! The frames as they lie on the wire. Only fields that are used stand here; all others are skipped.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::value::RawValue;

/// `{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}`
///
/// USD-M futures send the same with `X` and without `M`; spot had the order ids `a` and `b` until 2024.
#[derive(Deserialize)]
pub(super) struct Trade<'f> {
    #[serde(rename = "e", borrow)]
    pub(super) kind: Cow<'f, str>,
    #[serde(rename = "s", borrow)]
    pub(super) symbol: Cow<'f, str>,
    #[serde(rename = "t")]
    pub(super) trade_id: u64,
    #[serde(rename = "p", borrow)]
    pub(super) price: Cow<'f, str>,
    #[serde(rename = "q", borrow)]
    pub(super) quantity: Cow<'f, str>,
    #[serde(rename = "T")]
    pub(super) traded_at: i64,
    #[serde(rename = "m")]
    pub(super) buyer_is_maker: bool,
}

/// `{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}`
///
/// Spot says neither what it is (`e`) nor when (`E`, `T`); futures say all three.
#[derive(Deserialize)]
pub(super) struct BookTicker<'f> {
    #[serde(rename = "e", borrow)]
    pub(super) kind: Option<Cow<'f, str>>,
    #[serde(rename = "T")]
    pub(super) changed_at: Option<i64>,
    #[serde(rename = "u")]
    pub(super) update_id: u64,
    #[serde(rename = "s", borrow)]
    pub(super) symbol: Cow<'f, str>,
    #[serde(rename = "b", borrow)]
    pub(super) bid_price: Cow<'f, str>,
    #[serde(rename = "B", borrow)]
    pub(super) bid_quantity: Cow<'f, str>,
    #[serde(rename = "a", borrow)]
    pub(super) ask_price: Cow<'f, str>,
    #[serde(rename = "A", borrow)]
    pub(super) ask_quantity: Cow<'f, str>,
}

/// Any frame that is an object, far enough to tell which it is: a combined envelope (`stream`, `data`), a raw market frame (`e`, or `u` without it), a raw
/// partial book (`lastUpdateId`), or an answer (`id` with `result` or `error`).
#[derive(Deserialize)]
pub(super) struct AnyFrame<'f> {
    #[serde(borrow)]
    pub(super) stream: Option<Cow<'f, str>>,
    #[serde(borrow)]
    pub(super) data: Option<&'f RawValue>,
    #[serde(rename = "e", borrow)]
    pub(super) kind: Option<Cow<'f, str>>,
    #[serde(rename = "u", default)]
    pub(super) update_id: Present,
    #[serde(rename = "lastUpdateId", default)]
    pub(super) last_update_id: Present,
    #[serde(borrow)]
    pub(super) id: Option<&'f RawValue>,
    #[serde(default)]
    pub(super) result: Present,
    #[serde(borrow)]
    pub(super) error: Option<Refusal<'f>>,
    pub(super) code: Option<i64>,
    #[serde(borrow)]
    pub(super) msg: Option<Cow<'f, str>>,
}

/// `{"code":2,"msg":"Invalid request: …"}`
#[derive(Deserialize)]
pub(super) struct Refusal<'f> {
    pub(super) code: Option<i64>,
    #[serde(borrow)]
    pub(super) msg: Option<Cow<'f, str>>,
}

/// A market frame of a kind that is not known yet.
#[derive(Deserialize)]
pub(super) struct Kind<'f> {
    #[serde(rename = "e", borrow)]
    pub(super) kind: Option<Cow<'f, str>>,
}

/// Whether a key is there, whatever its value: `"result":null` is an answer.
#[derive(Default)]
pub(super) struct Present(pub(super) bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}
