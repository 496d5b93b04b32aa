//! The little HTTP/1.1 that a handshake needs.

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::Request;

/// The longest request head. 1,024 stream names in a URL are about 25 KiB.
const MAX_HEAD: usize = 128 << 10;

/// Why a request could not be read.
#[derive(Debug, Error)]
pub(crate) enum HeadError {
    /// The client went away between requests.
    #[error("the client closed the connection")]
    Closed,
    /// Longer than the venue takes.
    #[error("a request head of more than {MAX_HEAD} bytes")]
    TooLong,
    /// Not HTTP.
    #[error(transparent)]
    Malformed(#[from] tokio_tungstenite::tungstenite::Error),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads one request head. Bytes after it stay in `buffer`.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Result<Request, HeadError> {
    loop {
        if buffer.windows(4).any(|end| end == b"\r\n\r\n")
            && let Some((length, request)) = Request::try_parse(buffer)?
        {
            buffer.drain(..length);
            return Ok(request);
        }
        if buffer.len() > MAX_HEAD {
            return Err(HeadError::TooLong);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(HeadError::Closed);
        }
    }
}

/// An answer with a JSON body.
pub(crate) fn response(status: u16, body: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        _ => "Error",
    };
    format!("HTTP/1.1 {status} {reason}\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The host of a request, without its port and in lower case.
pub(crate) fn host(request: &Request) -> String {
    let value = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or("");
    value.split(':').next().unwrap_or("").to_lowercase()
}
