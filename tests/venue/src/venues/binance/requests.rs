//! What clients ask of the WebSocket: the streams in the URL, and the JSON requests.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::venues::{Answer, Change, Form};

/// The form and the streams that a path and a query ask for; `None` where there is no such path.
pub(super) fn streams_of(path: &str, query: &str) -> Option<(Form, Vec<String>)> {
    let names = |list: &str| list.split('/').filter(|name| !name.is_empty()).map(unescape).collect();
    match path {
        "/ws" | "/ws/" => Some((Form::Raw, Vec::new())),
        "/stream" | "/stream/" => {
            let list = query.split('&').find_map(|pair| pair.strip_prefix("streams=")).unwrap_or("");
            Some((Form::Combined, names(list)))
        }
        _ => path.strip_prefix("/ws/").map(|list| (Form::Raw, names(list))),
    }
}

/// Undoes the escapes that clients put on the characters of stream names.
fn unescape(name: &str) -> String {
    name.replace("%40", "@").replace("%21", "!").replace("%5F", "_")
}

/// Answers a request. A stream that the venue has no frames for is taken like any other, and stays silent.
pub(super) fn answer(message: &str, held: &BTreeSet<String>, limit: usize) -> Answer {
    let request: Value = match serde_json::from_str(message) {
        Ok(request) => request,
        Err(error) => return refuse(3, &format!("Invalid JSON: {error}"), Value::Null),
    };
    let id = match request.get("id") {
        None => Value::Null,
        Some(id @ (Value::Null | Value::String(_))) => id.clone(),
        Some(id) if id.is_u64() || id.is_i64() => id.clone(),
        Some(_) => return refuse(2, "Invalid request: request ID must be an integer, a string or null", Value::Null),
    };
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return refuse(2, "Invalid request: missing field `method`", id);
    };
    match method {
        "LIST_SUBSCRIPTIONS" => Answer { reply: json!({ "result": held, "id": id }).to_string(), change: Change::None },
        "SUBSCRIBE" | "UNSUBSCRIBE" => {
            let streams: Option<Vec<String>> = request
                .get("params")
                .and_then(Value::as_array)
                .and_then(|params| params.iter().map(|name| name.as_str().map(str::to_owned)).collect());
            let Some(streams) = streams else {
                return refuse(2, "Invalid request: params must be an array of stream names", id);
            };
            if let Some(bad) = streams.iter().find(|name| !is_well_formed(name)) {
                return refuse(2, &format!("Invalid request: '{bad}' is not a stream name"), id);
            }
            let change = if method == "UNSUBSCRIBE" {
                Change::Unsubscribe(streams)
            } else {
                let added: BTreeSet<&String> = streams.iter().filter(|name| !held.contains(*name)).collect();
                if held.len() + added.len() > limit {
                    return refuse(2, &format!("Invalid request: a connection takes at most {limit} streams"), id);
                }
                Change::Subscribe(streams)
            };
            Answer { reply: accepted(&id), change }
        }
        other => refuse(2, &format!("Invalid request: unknown variant {other}, expected one of SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS"), id),
    }
}

/// The acknowledgement, with `result` before `id` as the venue writes it.
fn accepted(id: &Value) -> String {
    format!(r#"{{"result":null,"id":{id}}}"#)
}

fn refuse(code: u8, message: &str, id: Value) -> Answer {
    let reply = format!(r#"{{"error":{{"code":{code},"msg":{}}},"id":{id}}}"#, json!(message));
    Answer { reply, change: Change::None }
}

/// `<symbol>@<channel>` in lower-case symbols, or an all-market stream that starts with `!`.
fn is_well_formed(name: &str) -> bool {
    if let Some(all_market) = name.strip_prefix('!') {
        return !all_market.is_empty() && all_market.is_ascii();
    }
    name.split_once('@').is_some_and(|(symbol, channel)| {
        let symbol_fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !symbol.is_empty() && symbol.bytes().all(symbol_fits) && !channel.is_empty() && channel.is_ascii()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_url_names_form_and_streams() {
        assert_eq!(streams_of("/ws", ""), Some((Form::Raw, vec![])));
        assert_eq!(streams_of("/ws/btcusdt@trade/ethusdt%40trade", ""), Some((Form::Raw, names(&["btcusdt@trade", "ethusdt@trade"]))));
        assert_eq!(
            streams_of("/stream", "timeUnit=MILLISECOND&streams=btcusdt@trade/btcusdt@bookTicker"),
            Some((Form::Combined, names(&["btcusdt@trade", "btcusdt@bookTicker"])))
        );
        assert_eq!(streams_of("/api/v3/ping", ""), None);
    }

    #[test]
    fn a_subscription_is_acknowledged_with_its_id() {
        assert_eq!(
            answer(r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","nosuch@depth@100ms"],"id":7}"#, &BTreeSet::new(), 1024),
            Answer { reply: r#"{"result":null,"id":7}"#.to_owned(), change: Change::Subscribe(names(&["btcusdt@trade", "nosuch@depth@100ms"])) }
        );
    }

    #[test]
    fn bad_requests_get_an_error_object_and_change_nothing() {
        for (message, code) in [
            ("{", 3),
            (r#"{"id":1}"#, 2),
            (r#"{"method":"SHOUT","id":1}"#, 2),
            (r#"{"method":"SUBSCRIBE","params":"btcusdt@trade","id":1}"#, 2),
            (r#"{"method":"SUBSCRIBE","params":["BTCUSDT@trade"],"id":1}"#, 2),
            (r#"{"method":"SUBSCRIBE","params":["btcusdt"],"id":1}"#, 2),
            (r#"{"method":"SUBSCRIBE","params":["a@trade","b@trade","c@trade"],"id":1}"#, 2),
        ] {
            let answer = answer(message, &BTreeSet::new(), 2);
            let reply: Value = serde_json::from_str(&answer.reply).unwrap();
            assert_eq!((reply["error"]["code"].as_u64(), answer.change), (Some(code), Change::None), "{message}");
        }
    }
}
