//! A real broker: what tests and the local cluster rely on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tapekeeper_test_ground::{Lifetime, RabbitMq, RabbitMqOptions, RabbitMqPorts, ports::PortRange};

async fn call(broker: &RabbitMq, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value> {
    let mut request = broker
        .authority()
        .http_client()?
        .request(method, format!("{}/api/{path}", broker.management_uri()))
        .basic_auth(broker.user(), Some(broker.password()))
        .timeout(Duration::from_secs(10));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let text = request.send().await?.error_for_status()?.text().await?;
    Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
}

async fn until<F: Future<Output = Result<bool>>>(what: &str, holds: impl Fn() -> F) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    // An answer that fails is one of "not yet": the deadline decides.
    while !holds().await.unwrap_or(false) {
        ensure!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

fn queue_path(broker: &RabbitMq) -> String {
    format!("queues/{}/kept", broker.vhost())
}

#[tokio::test]
async fn a_declared_queue_and_its_message_survive_a_crash() -> Result<()> {
    let mut broker = RabbitMq::start(RabbitMqOptions::default()).await?;
    let alarms = call(&broker, reqwest::Method::GET, "health/checks/alarms", None).await?;
    assert_eq!(alarms["status"], "ok");
    let quorum = json!({"durable": true, "arguments": {"x-queue-type": "quorum"}});
    call(&broker, reqwest::Method::PUT, &queue_path(&broker), Some(quorum)).await?;
    let hash = json!({"type": "x-consistent-hash", "durable": true});
    call(&broker, reqwest::Method::PUT, &format!("exchanges/{}/sharded", broker.vhost()), Some(hash)).await?;
    let stream = json!({"durable": true, "arguments": {"x-queue-type": "stream"}});
    call(&broker, reqwest::Method::PUT, &format!("queues/{}/replay", broker.vhost()), Some(stream)).await?;
    broker.write_down_what_was_declared().await?;
    let message = json!({"properties": {"delivery_mode": 2}, "routing_key": "kept", "payload": "a tick",
        "payload_encoding": "string"});
    let publish = format!("exchanges/{}/amq.default/publish", broker.vhost());
    let published = call(&broker, reqwest::Method::POST, &publish, Some(message)).await?;
    assert_eq!(published, json!({"routed": true}));

    let first_pid = broker.pid();
    broker.kill().await?;
    assert!(!broker.is_running());
    broker.restart().await?;
    assert_ne!(broker.pid(), first_pid);

    // After a crash a quorum queue answers as soon as it has its leader again, and the counters come with it.
    until("the queue has its message back", || async {
        let queue = call(&broker, reqwest::Method::GET, &queue_path(&broker), None).await?;
        Ok(queue["state"] == "running" && queue["messages_ready"] == 1)
    })
    .await?;
    let take = json!({"count": 5, "ackmode": "ack_requeue_false", "encoding": "auto"});
    let got = call(&broker, reqwest::Method::POST, &format!("{}/get", queue_path(&broker)), Some(take)).await?;
    let payloads: Vec<_> = got.as_array().context("messages")?.iter().map(|message| &message["payload"]).collect();
    assert_eq!(payloads, [&json!("a tick")]);
    assert!(broker.ctl(&["list_vhosts", "--quiet"]).await?.contains(broker.vhost()));
    broker.stop().await
}

#[tokio::test]
async fn a_detached_broker_outlives_its_handle_and_is_found_again() -> Result<()> {
    let (place, range) = (tempfile::tempdir()?, PortRange::claim()?);
    let options = RabbitMqOptions {
        data_dir: Some(place.path().to_owned()),
        ports: Some(RabbitMqPorts::from_base(range.base())),
        lifetime: Lifetime::Detached,
        ..RabbitMqOptions::default()
    };
    assert!(RabbitMq::attach(options.clone()).await?.is_none());
    let first = RabbitMq::start(options.clone()).await?;
    let (pid, password) = (first.pid(), first.password().to_owned());
    drop(first);
    let mut second = RabbitMq::start(options.clone()).await?;
    assert_eq!((second.pid(), second.password()), (pid, password.as_str()));
    call(&second, reqwest::Method::GET, "overview", None).await?;
    second.stop().await?;
    assert!(RabbitMq::attach(options).await?.is_none());
    Ok(())
}
