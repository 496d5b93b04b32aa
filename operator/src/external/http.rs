//! One request, its status and its whole body: bounded in time by the client, and in size here.

use std::error::Error as _;

use reqwest::{RequestBuilder, StatusCode};

/// The largest answer that is read. A queue's or table's description is a few kilobytes.
const MAX_BODY: usize = 16 << 20;
/// The longest excerpt of an answer that goes into a message.
const MAX_EXCERPT: usize = 400;

/// A server's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// ClickHouse's number of the exception, when there is one.
    pub(super) exception: Option<u32>,
    pub(super) body: String,
}

impl Answer {
    /// The body's beginning, on one line.
    pub(super) fn excerpt(&self) -> String {
        excerpt(&self.body)
    }
}

/// Text from a server, on one line and not longer than a message may be.
pub(super) fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Sends a request and reads the answer whole.
///
/// # Errors
/// Why there is no whole answer: no connection, a TLS refusal, a timeout, or too large a body.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let mut response = request.send().await.map_err(describe)?;
    let status = response.status();
    let exception = response.headers().get("x-clickhouse-exception-code").and_then(|code| code.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(describe)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(format!("the answer is longer than {MAX_BODY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, exception, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The error with its causes, without the address: its query may hold more than a message should.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    excerpt(&text)
}
