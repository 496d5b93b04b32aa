//! Asking for streams: where the socket is opened, what streams are called, the subscribe message.

use serde::Serialize;
use tapekeeper_contract::settings::Channel;
use tapekeeper_market::Instrument;
use url::Url;

use super::symbols;

/// `/stream` wraps each frame in an envelope that names its stream; on `/ws` a `bookTicker` frame would not say what it is.
pub(super) fn socket_url(endpoint: &Url) -> Url {
    let mut url = endpoint.clone();
    url.set_path("/stream");
    url
}

/// `btcusdt@trade`. Stream names are lower case in the symbol.
pub(super) fn name(instrument: &Instrument, channel: Channel) -> String {
    let channel = match channel {
        Channel::Trades => "trade",
        Channel::Quotes => "bookTicker",
    };
    format!("{}@{channel}", symbols::join(instrument).to_lowercase())
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'static str,
    params: &'a [&'a str],
    id: u64,
}

/// `{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}`.
pub(super) fn subscribe(streams: &[&str], id: u64) -> String {
    // Strings and a number always have a JSON form.
    serde_json::to_string(&Request { method: "SUBSCRIBE", params: streams, id }).unwrap_or_default()
}
