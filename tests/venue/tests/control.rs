//! The control listener, over HTTP as a test outside the process uses it.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it as its own lines do")]

mod client;

use std::net::SocketAddr;
use std::time::Duration;

use client::Client;
use serde_json::{Value, json};
use tapekeeper_test_venue::{Rate, Seeded, Source, StartMode, TestCertificate, Venue, VenueOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: control\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn truth_trades_connections_and_script_are_served() {
    let certificate = TestCertificate::for_binance().unwrap();
    let seeded =
        Seeded { seed: 3, symbols: vec!["BTCUSDT".to_owned()], quotes_per_trade: 2, length: Some(20_000), start: StartMode::OnFirstSubscriber };
    let mut options = VenueOptions::on_loopback(certificate.certificate_pem.clone(), certificate.key_pem.clone(), Source::Seeded(seeded));
    options.control = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    options.rate = Rate::Max;
    let venue = Venue::start(options).await.unwrap();
    let control = venue.control_addr().unwrap();
    assert_eq!(request(control, "GET", "/healthz", "").await, (200, "ok".to_owned()));

    let mut client = Client::connect(&venue, &certificate, "/ws/btcusdt@trade").await.unwrap();
    let mut seen = String::new();
    for _ in 0..20_000 {
        let trade = client.json().await;
        let text = |key: &str| trade[key].as_str().unwrap().to_owned();
        seen += &format!("{} {} {} {} {}\n", trade["t"], text("p"), text("q"), trade["T"], trade["m"]);
    }
    let (status, trades) = request(control, "GET", "/truth/trades?symbol=BTCUSDT", "").await;
    assert_eq!(status, 200);
    assert!(trades == seen, "the control's trades differ from those on the wire");
    assert_eq!(request(control, "GET", "/truth/trades?stream=btcusdt@trade&heard=true", "").await, (200, trades));
    assert_eq!(request(control, "GET", "/truth/trades?symbol=NOSUCH", "").await.0, 404);

    let truth: Value = serde_json::from_str(&request(control, "GET", "/truth", "").await.1).unwrap();
    assert_eq!((&truth["state"], &truth["trades"], &truth["quotes_heard"]), (&json!("finished"), &json!(20_000), &json!(0)));
    assert_eq!(truth["streams"][0]["played"], truth["streams"][0]["heard"]);
    assert_eq!(truth["streams"][0]["heard"]["ranges"].as_array().unwrap().len(), 1);

    let connections: Value = serde_json::from_str(&request(control, "GET", "/connections", "").await.1).unwrap();
    assert_eq!((&connections[0]["form"], &connections[0]["frames"]), (&json!("raw"), &json!(20_000)));
    for command in [json!({"command":"rate","rate":0}), json!({"command":"rate","rate":"max"}), json!({"command":"pause"})] {
        assert_eq!(request(control, "POST", "/script", &command.to_string()).await, (200, r#"{"connections":1}"#.to_owned()));
    }
    assert_eq!(request(control, "POST", "/script", r#"{"command":"rate","rate":-1}"#).await.0, 400);
    assert_eq!(request(control, "POST", "/script", r#"{"command":"sing"}"#).await.0, 400);
    request(control, "POST", "/script", r#"{"command":"close"}"#).await;
    assert_eq!(client.close_code().await, Some(1001));
    tokio::time::sleep(Duration::from_millis(50)).await;
    venue.stop().await;
}

#[tokio::test]
async fn rest_answers_ping_time_and_exchange_info() {
    let certificate = TestCertificate::for_binance().unwrap();
    let symbols = vec!["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
    let seeded = Seeded { seed: 3, symbols, quotes_per_trade: 0, length: None, start: StartMode::OnFirstSubscriber };
    let options = VenueOptions::on_loopback(certificate.certificate_pem.clone(), certificate.key_pem.clone(), Source::Seeded(seeded));
    let venue = Venue::start(options).await.unwrap();
    let mut tls = client::tls(&venue, &certificate, "api.binance.com").await;
    let mut get = async |path: &str| {
        tls.write_all(format!("GET {path} HTTP/1.1\r\nHost: api.binance.com\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            tls.read_buf(&mut answer).await.unwrap();
            let text = String::from_utf8(answer.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length: usize = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
                return (status, serde_json::from_str::<Value>(body).unwrap());
            }
        }
    };
    assert_eq!(get("/api/v3/ping").await, (200, json!({})));
    assert!(get("/api/v3/time").await.1["serverTime"].as_i64().unwrap() > 1_700_000_000_000);
    let all = get("/api/v3/exchangeInfo").await.1;
    assert_eq!(all["symbols"].as_array().unwrap().len(), 2);
    let one = get("/api/v3/exchangeInfo?symbol=ETHUSDT").await.1;
    assert_eq!(
        (&one["symbols"][0]["baseAsset"], &one["symbols"][0]["quoteAsset"], &one["symbols"][0]["filters"][0]["tickSize"]),
        (&json!("ETH"), &json!("USDT"), &json!("0.01000000"))
    );
    assert_eq!(get("/api/v3/exchangeInfo?symbol=NOSUCH").await, (400, json!({"code": -1121, "msg": "Invalid symbol."})));
    assert_eq!(get("/api/v3/nosuch").await.0, 404);
}
