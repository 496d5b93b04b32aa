//! ClickHouse's HTTP interface: one statement per request.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use tapekeeper_runtime::credentials::{Credentials, Secret};
use tapekeeper_runtime::tls;
use url::Url;

use super::error::DatabaseError;
use crate::external::http;

/// A statement that takes longer has failed. Those sent here read system tables or change metadata.
const TIMEOUT: Duration = Duration::from_secs(60);

// Numbers of exceptions, from ClickHouse's ErrorCodes.cpp.
const UNKNOWN_USER: u32 = 192;
const WRONG_PASSWORD: u32 = 193;
const REQUIRED_PASSWORD: u32 = 194;
const ACCESS_DENIED: u32 = 497;
const AUTHENTICATION_FAILED: u32 = 516;
/// The server's guard against dropping large tables.
const TOO_LARGE_TO_DROP: u32 = 359;

/// A ClickHouse server, as one user.
#[derive(Debug, Clone)]
pub(super) struct Server {
    client: Client,
    uri: Url,
    username: String,
    password: Secret,
}

/// Why a statement was not carried out.
#[derive(Debug)]
pub(super) enum Refused {
    /// The server's guard against dropping large tables, in its words.
    Protected(String),
    /// Anything else.
    Failed(DatabaseError),
}

impl From<Refused> for DatabaseError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Protected(why) => Self::Other { doing: "drop".to_owned(), why },
            Refused::Failed(error) => error,
        }
    }
}

impl Server {
    pub(super) fn new(credentials: &Credentials, tls: Arc<ClientConfig>) -> Result<Self, DatabaseError> {
        let client = tls::http_client(tls, TIMEOUT).map_err(|error| DatabaseError::Unreachable { why: error.to_string() })?;
        Ok(Self { client, uri: credentials.uri.clone(), username: credentials.username.clone(), password: credentials.password.clone() })
    }

    /// Carries out a statement that answers nothing.
    pub(super) async fn execute(&self, doing: &str, sql: &str) -> Result<(), Refused> {
        self.send(doing, sql, &[]).await.map(drop)
    }

    /// Reads rows. `sql` ends without FORMAT; its parameters are written `{name:String}`.
    pub(super) async fn rows<T: DeserializeOwned>(&self, doing: &str, sql: &str, parameters: &[(&str, &str)]) -> Result<Vec<T>, DatabaseError> {
        let body = self.send(doing, &format!("{sql} FORMAT JSONEachRow"), parameters).await?;
        body.lines()
            .map(|line| serde_json::from_str(line))
            .collect::<Result<_, _>>()
            .map_err(|error| DatabaseError::Other { doing: doing.to_owned(), why: format!("an answer that is not understood: {error}") })
    }

    async fn send(&self, doing: &str, sql: &str, parameters: &[(&str, &str)]) -> Result<String, Refused> {
        let mut url = self.uri.clone();
        for (name, value) in parameters {
            url.query_pairs_mut().append_pair(&format!("param_{name}"), value);
        }
        // Without it the status is sent before the statement has failed.
        url.query_pairs_mut().append_pair("wait_end_of_query", "1");
        url.query_pairs_mut().append_pair("output_format_json_quote_64bit_integers", "0");
        let request =
            self.client.post(url).header("X-ClickHouse-User", &self.username).header("X-ClickHouse-Key", self.password.expose()).body(sql.to_owned());
        let answer = http::send(request).await.map_err(|why| Refused::Failed(DatabaseError::Unreachable { why }))?;
        if answer.status.is_success() && answer.exception.is_none() {
            return Ok(answer.body);
        }
        Err(refused(doing, &answer))
    }
}

fn refused(doing: &str, answer: &http::Answer) -> Refused {
    let why = answer.excerpt();
    Refused::Failed(match (answer.exception, answer.status) {
        (Some(TOO_LARGE_TO_DROP), _) => return Refused::Protected(why),
        (Some(UNKNOWN_USER | WRONG_PASSWORD | REQUIRED_PASSWORD | ACCESS_DENIED | AUTHENTICATION_FAILED), _)
        | (None, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => DatabaseError::Unauthorized { why },
        // Not ClickHouse but what stands before it.
        (None, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
            DatabaseError::Unreachable { why: format!("{}: {why}", answer.status) }
        }
        (_, status) => DatabaseError::Other { doing: doing.to_owned(), why: format!("{status}: {why}") },
    })
}
