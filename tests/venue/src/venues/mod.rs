//! The venues that can be played: a folder each, behind [`Protocol`].

pub mod binance;

use std::collections::BTreeSet;

/// What is particular to a venue on the wire, apart from the frames of its tape. Values in, values out.
pub trait Protocol: Send + Sync {
    /// The venue's name.
    fn name(&self) -> &'static str;

    /// The host names it plays. A client that asks for another gets HTTP 421.
    fn hosts(&self) -> &'static [&'static str];

    /// What a request for `target` (path and query) of one of its hosts leads to. `now` is in milliseconds since 1970.
    fn route(&self, host: &str, target: &str, now: i64) -> Route;

    /// Answers a text message of a client that holds `held` streams and may hold `limit`.
    fn answer(&self, message: &str, held: &BTreeSet<String>, limit: usize) -> Answer;

    /// The frame that announces a planned shutdown of the connection.
    fn shutdown_notice(&self, form: Form, now: i64) -> String;
}

/// Where a request leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To a WebSocket that starts with these streams.
    Stream {
        /// How its data frames look.
        form: Form,
        /// The streams named in the request.
        streams: Vec<String>,
    },
    /// To a plain HTTP answer.
    Http {
        /// The status code.
        status: u16,
        /// A JSON body.
        body: String,
    },
}

/// How data frames look on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The event alone.
    Raw,
    /// The event within an envelope that names its stream.
    Combined,
}

/// What a client's message brings about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The frame to send back, before any frame of a stream that the message added.
    pub reply: String,
    /// What it changes.
    pub change: Change,
}

/// A change of the streams that a connection holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// None.
    None,
    /// These are added.
    Subscribe(Vec<String>),
    /// These are taken away.
    Unsubscribe(Vec<String>),
}
