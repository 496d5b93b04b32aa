//! RabbitMQ's management API: one call per function. Paths and bodies as in the broker's own "HTTP API reference" (4.0).

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tapekeeper_runtime::credentials::{Credentials, Secret};
use tapekeeper_runtime::tls;
use url::Url;

use super::error::BrokerError;
use super::objects::{Binding, BrokerOperation, DestinationKind, Exchange, Policy, Queue};
use super::observed::ObservedBinding;
use crate::external::http;

/// A call that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The management API of one broker, as one user.
#[derive(Debug, Clone)]
pub(super) struct Management {
    client: Client,
    uri: Url,
    username: String,
    password: Secret,
}

/// What the broker answers when it refuses.
#[derive(Deserialize)]
struct Refusal {
    reason: String,
}

impl Management {
    pub(super) fn new(credentials: &Credentials, tls: Arc<ClientConfig>) -> Result<Self, BrokerError> {
        let client = tls::http_client(tls, TIMEOUT).map_err(|error| BrokerError::Unreachable { why: error.to_string() })?;
        Ok(Self { client, uri: credentials.uri.clone(), username: credentials.username.clone(), password: credentials.password.clone() })
    }

    /// Whether the virtual host is there.
    pub(super) async fn require_vhost(&self, vhost: &str) -> Result<(), BrokerError> {
        match self.get::<Value>(&["vhosts", vhost]).await? {
            Some(_) => Ok(()),
            None => Err(BrokerError::VhostNotFound { vhost: vhost.to_owned() }),
        }
    }

    pub(super) async fn policy(&self, vhost: &str, name: &str) -> Result<Option<Policy>, BrokerError> {
        self.get(&["policies", vhost, name]).await
    }

    pub(super) async fn exchange(&self, vhost: &str, name: &str) -> Result<Option<Exchange>, BrokerError> {
        self.get(&["exchanges", vhost, name]).await
    }

    /// A queue, as whatever part of its description is wanted.
    pub(super) async fn queue<T: DeserializeOwned>(&self, vhost: &str, name: &str) -> Result<Option<T>, BrokerError> {
        self.get(&["queues", vhost, name]).await
    }

    /// The bindings from (`source`) or to (`destination`) an exchange; none when there is no such exchange.
    pub(super) async fn bindings(&self, vhost: &str, exchange: &str, end: &str) -> Result<Vec<ObservedBinding>, BrokerError> {
        Ok(self.get(&["exchanges", vhost, exchange, "bindings", end]).await?.unwrap_or_default())
    }

    pub(super) async fn carry_out(&self, vhost: &str, operation: &BrokerOperation) -> Result<(), BrokerError> {
        match operation {
            BrokerOperation::PutPolicy(policy) => {
                let body =
                    json!({"pattern": policy.pattern, "apply-to": policy.apply_to, "definition": policy.definition, "priority": policy.priority});
                self.write(Method::PUT, &["policies", vhost, &policy.name], Some(body)).await
            }
            BrokerOperation::DeletePolicy(name) => self.delete(&["policies", vhost, name]).await,
            BrokerOperation::DeclareExchange(exchange) => self.declare_exchange(vhost, exchange).await,
            BrokerOperation::ReplaceExchange { exchange, bindings } => {
                self.delete(&["exchanges", vhost, &exchange.name]).await?;
                self.declare_exchange(vhost, exchange).await?;
                for binding in bindings {
                    self.bind(vhost, binding).await?;
                }
                Ok(())
            }
            BrokerOperation::DeleteExchange(name) => self.delete(&["exchanges", vhost, name]).await,
            BrokerOperation::DeclareQueue(Queue { name, durable, auto_delete, arguments }) => {
                let body = json!({"durable": durable, "auto_delete": auto_delete, "arguments": arguments});
                self.write(Method::PUT, &["queues", vhost, name], Some(body)).await
            }
            BrokerOperation::DeleteQueue(name) => self.delete(&["queues", vhost, name]).await,
            BrokerOperation::Bind(Binding { source, destination, destination_kind, routing_key, .. }) => {
                let body = json!({"routing_key": routing_key, "arguments": {}});
                self.write(Method::POST, &["bindings", vhost, "e", source, letter(*destination_kind), destination], Some(body)).await
            }
            BrokerOperation::Unbind(ObservedBinding { source, destination, destination_kind, properties_key, .. }) => {
                self.delete(&["bindings", vhost, "e", source, letter(*destination_kind), destination, properties_key]).await
            }
        }
    }

    async fn declare_exchange(&self, vhost: &str, exchange: &Exchange) -> Result<(), BrokerError> {
        let Exchange { name, kind, durable, auto_delete, internal, arguments } = exchange;
        let body = json!({"type": kind, "durable": durable, "auto_delete": auto_delete, "internal": internal, "arguments": arguments});
        self.write(Method::PUT, &["exchanges", vhost, name], Some(body)).await
    }

    async fn bind(&self, vhost: &str, binding: &ObservedBinding) -> Result<(), BrokerError> {
        let ObservedBinding { source, destination, destination_kind, routing_key, arguments, .. } = binding;
        let body = json!({"routing_key": routing_key, "arguments": arguments});
        self.write(Method::POST, &["bindings", vhost, "e", source, letter(*destination_kind), destination], Some(body)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, BrokerError> {
        let answer = self.request(Method::GET, path, None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        accepted(&answer, &Method::GET, path)?;
        let value = serde_json::from_str(&answer.body)
            .map_err(|error| BrokerError::Other { doing: doing(&Method::GET, path), why: format!("an answer that is not understood: {error}") })?;
        Ok(Some(value))
    }

    /// Deletes; what is already gone is deleted.
    async fn delete(&self, path: &[&str]) -> Result<(), BrokerError> {
        let answer = self.request(Method::DELETE, path, None).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(()) } else { accepted(&answer, &Method::DELETE, path) }
    }

    async fn write(&self, method: Method, path: &[&str], body: Option<Value>) -> Result<(), BrokerError> {
        let answer = self.request(method.clone(), path, body).await?;
        accepted(&answer, &method, path)
    }

    async fn request(&self, method: Method, path: &[&str], body: Option<Value>) -> Result<http::Answer, BrokerError> {
        let mut url = self.uri.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        let mut request = self.client.request(method, url).basic_auth(&self.username, Some(self.password.expose()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        http::send(request).await.map_err(|why| BrokerError::Unreachable { why })
    }
}

const fn letter(kind: DestinationKind) -> &'static str {
    match kind {
        DestinationKind::Queue => "q",
        DestinationKind::Exchange => "e",
    }
}

fn doing(method: &Method, path: &[&str]) -> String {
    format!("{method} {}", path.join("/"))
}

fn accepted(answer: &http::Answer, method: &Method, path: &[&str]) -> Result<(), BrokerError> {
    if answer.status.is_success() {
        return Ok(());
    }
    let why = serde_json::from_str::<Refusal>(&answer.body).map_or_else(|_| answer.excerpt(), |refusal| http::excerpt(&refusal.reason));
    Err(match answer.status {
        // RabbitMQ answers 401 to a wrong password, a missing tag and a missing permission alike.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => BrokerError::Unauthorized { why: format!("{}: {why}", doing(method, path)) },
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            BrokerError::Unreachable { why: format!("{}: {why}", answer.status) }
        }
        status => match why.strip_prefix("unknown exchange type '").and_then(|rest| rest.strip_suffix('\'')) {
            Some(exchange_type) => BrokerError::PluginMissing { exchange_type: exchange_type.to_owned() },
            None => BrokerError::Other { doing: doing(method, path), why: format!("{status}: {why}") },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> BrokerError {
        let answer = http::Answer { status: StatusCode::from_u16(status).unwrap(), exception: None, body: body.to_owned() };
        accepted(&answer, &Method::PUT, &["exchanges", "market", "x"]).unwrap_err()
    }

    // The bodies are those of RabbitMQ 4.0.5.
    #[test]
    fn a_refusal_of_the_broker_is_told_by_its_kind() {
        assert_eq!(
            refusal(400, r#"{"error":"bad_request","reason":"unknown exchange type 'x-consistent-hash'"}"#),
            BrokerError::PluginMissing { exchange_type: "x-consistent-hash".to_owned() }
        );
        assert_eq!(
            refusal(401, r#"{"error":"not_authorised","reason":"Not management user"}"#),
            BrokerError::Unauthorized { why: "PUT exchanges/market/x: Not management user".to_owned() }
        );
        assert_eq!(
            refusal(400, r#"{"error":"bad_request","reason":"inequivalent arg 'type'"}"#),
            BrokerError::Other { doing: "PUT exchanges/market/x".to_owned(), why: "400 Bad Request: inequivalent arg 'type'".to_owned() }
        );
        assert_eq!(
            refusal(503, "<html>\n no backend </html>"),
            BrokerError::Unreachable { why: "503 Service Unavailable: <html> no backend </html>".to_owned() }
        );
    }
}
