//! What a connector refuses before it connects to anything.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::sync::Arc;

use tapekeeper_connector::socket::Direct;
use tapekeeper_connector::{ConnectorError, run_on};
use tapekeeper_contract::settings::{Broker, Channel, ConnectorSettings, ObjectName};
use tapekeeper_contract::{HumanDuration, Venue};
use tapekeeper_runtime::shutdown::Shutdown;
use tokio::net::TcpListener;

fn settings(folder: &Path) -> ConnectorSettings {
    for (key, value) in [("uri", "amqps://broker.example"), ("username", "tape"), ("password", "hunter2")] {
        std::fs::write(folder.join(key), value).unwrap();
    }
    ConnectorSettings {
        environment: "production".to_owned(),
        feed: ObjectName { namespace: "md".to_owned(), name: "binance".to_owned() },
        venue: Venue::Binance,
        endpoint: Venue::Binance.default_endpoint().to_owned(),
        instruments: vec!["BTC/USDT".to_owned()],
        channels: vec![Channel::Trades],
        max_streams: 1_024,
        idle_timeout: HumanDuration::from_secs(30),
        broker: Broker { kind: "RabbitMQ".to_owned(), credentials: folder.to_owned(), vhost: "/".to_owned() },
        exchange: "crypto.ticks".to_owned(),
        extra_ca_certificates: None,
    }
}

async fn refusal(change: impl FnOnce(&mut ConnectorSettings, &Path)) -> ConnectorError {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    change(&mut settings, folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    run_on(settings, Shutdown::new(), listener, Arc::new(Direct)).await.unwrap_err()
}

#[tokio::test]
async fn whatever_leads_out_of_production_is_forbidden_by_name() {
    let forbidden = [
        refusal(|settings, _| settings.environment = "test".to_owned()).await,
        refusal(|settings, _| settings.endpoint = "wss://127.0.0.1:9443".to_owned()).await,
        refusal(|settings, _| settings.endpoint = "ws://stream.binance.com:9443".to_owned()).await,
        refusal(|settings, _| settings.broker.kind = "Kafka".to_owned()).await,
        refusal(|_, folder| std::fs::write(folder.join("uri"), "amqp://broker.example").unwrap()).await,
    ];
    let starts = [
        "FORBIDDEN: environment: `test`",
        "FORBIDDEN: endpoint: `127.0.0.1` is not a host of Binance",
        "FORBIDDEN: endpoint: `ws://` is not allowed",
        "FORBIDDEN: broker.kind: `Kafka`",
        "FORBIDDEN: broker.credentials.uri: `amqp://` is not allowed",
    ];
    for (error, start) in forbidden.iter().zip(starts) {
        assert!(error.to_string().starts_with(start) && error.is_permanent() && error.reason() == "Forbidden", "{}: {error}", error.reason());
    }
}

#[tokio::test]
async fn settings_that_cannot_be_obeyed_are_refused_by_the_name_of_the_field() {
    let error = refusal(|settings, _| settings.instruments = vec!["BTCUSDT".to_owned()]).await;
    assert!(error.to_string().starts_with("settings: instruments: `BTCUSDT` is not allowed"), "{error}");
    let error = refusal(|_, folder| std::fs::remove_file(folder.join("password")).unwrap()).await;
    assert!(error.to_string().starts_with("broker.credentials.password: missing"), "{error}");
    let error = refusal(|settings, folder| settings.extra_ca_certificates = Some(folder.join("uri"))).await;
    assert_eq!((error.reason(), error.is_permanent()), ("ExtraAuthoritiesUnreadable", true));
}
