//! The few calls to the API server that bringing a cluster up needs.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use super::credentials::{Credentials, api_server};
use super::instance::Instance;
use crate::authority::Authority;

const ANSWER: Duration = Duration::from_secs(10);

/// The API server, as its administrator.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    server: String,
    token: String,
}

impl Api {
    pub(crate) fn new(instance: &Instance, credentials: &Credentials, authority: &Authority) -> anyhow::Result<Self> {
        Ok(Self { client: authority.http_client()?, server: api_server(instance), token: credentials.admin_token()? })
    }

    /// Whether it serves.
    pub async fn is_ready(&self) -> bool {
        matches!(self.send(Method::GET, "/readyz", None).await, Ok((StatusCode::OK, _)))
    }

    /// The object at `path`, such as `/api/v1/nodes/NAME`; nothing when there is none.
    ///
    /// # Errors
    ///
    /// Fails when the server doesn't answer or refuses.
    pub async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.send(Method::GET, path, None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) if status.is_success() => Ok(Some(serde_json::from_str(&body)?)),
            (status, body) => bail!("GET {path}: {status}: {body}"),
        }
    }

    /// Applies `object` on the server's side at `path`.
    ///
    /// # Errors
    ///
    /// Fails when the server doesn't answer or refuses.
    pub async fn apply(&self, path: &str, object: &Value) -> anyhow::Result<()> {
        let path = format!("{path}?fieldManager=tapekeeper-local&force=true");
        match self.send(Method::PATCH, &path, Some(object)).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, body) => bail!("applying {path}: {status}: {body}"),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, String)> {
        let mut request = self.client.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token).timeout(ANSWER);
        if let Some(body) = body {
            request = request.header("content-type", "application/apply-patch+yaml").body(body.to_string());
        }
        let response = request.send().await.with_context(|| path.to_owned())?;
        Ok((response.status(), response.text().await?))
    }
}
