//! A Pipeline's broker objects on a real RabbitMQ.

#![expect(clippy::unwrap_used, reason = "without its ground a test can only end")]

use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tapekeeper_contract::HumanDuration;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_contract::topology::Topology;
use tapekeeper_operator::external::Kept;
use tapekeeper_operator::external::broker::{BrokerAdmin, BrokerError, BrokerFigures, BrokerObject, BrokerReport, TopologyOptions, topology};
use tapekeeper_runtime::credentials::{Credentials, Secret};
use tapekeeper_runtime::tls;
use tapekeeper_test_ground::{RabbitMq, RabbitMqOptions};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// The broker that the tests under way share: gone with the last of them.
static BROKER: Mutex<Weak<RabbitMq>> = Mutex::const_new(Weak::new());

const SHARDS: u16 = 3;

/// A virtual host of a test's own.
struct Ground {
    broker: Arc<RabbitMq>,
    http: reqwest::Client,
    admin: BrokerAdmin,
    vhost: &'static str,
}

fn on_a_broker<F: Future<Output = ()>>(vhost: &'static str, test: impl FnOnce(Ground) -> F) {
    RUNTIME.block_on(async {
        let mut shared = BROKER.lock().await;
        let broker = match shared.upgrade() {
            Some(broker) => broker,
            None => {
                let broker = Arc::new(RabbitMq::start(RabbitMqOptions::default()).await.unwrap());
                *shared = Arc::downgrade(&broker);
                broker
            }
        };
        drop(shared);
        let http = broker.authority().http_client().unwrap();
        let admin = BrokerAdmin::new(&credentials(&broker), tls::client_config(Some(broker.authority().ca_pem())).unwrap()).unwrap();
        let ground = Ground { broker, http, admin, vhost };
        ground.call("PUT", &format!("vhosts/{vhost}"), json!({})).await;
        let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
        ground.call("PUT", &format!("permissions/{vhost}/{}", ground.broker.user()), everything).await;
        test(ground).await;
    });
}

fn credentials(broker: &RabbitMq) -> Credentials {
    Credentials {
        uri: broker.management_uri().parse().unwrap(),
        username: broker.user().to_owned(),
        password: Secret::new(broker.password()),
        ca_pem: None,
    }
}

fn names() -> Topology {
    Topology::new("crypto.ticks", SHARDS)
}

fn owner() -> ObjectName {
    ObjectName { namespace: "market".to_owned(), name: "main".to_owned() }
}

fn options() -> TopologyOptions {
    TopologyOptions {
        replay_max_age: HumanDuration::from_secs(86_400),
        replay_max_bytes: Some(1_000_000_000),
        dead_letter_max_age: HumanDuration::from_secs(7 * 86_400),
        delivery_limit: 20,
    }
}

fn desired() -> Vec<BrokerObject> {
    topology(&names(), &options(), &owner())
}

fn report(created: &[&str], repaired: &[&str]) -> BrokerReport {
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    BrokerReport { created: texts(created), repaired: texts(repaired), unchanged: 0, intruders: vec![], overruled: vec![] }
}

impl Ground {
    /// A call by somebody who is not the operator.
    async fn call(&self, method: &str, path: &str, body: Value) -> String {
        let url = format!("{}/api/{path}", self.broker.management_uri());
        let request = self.http.request(method.parse().unwrap(), url).basic_auth(self.broker.user(), Some(self.broker.password()));
        let response = if body.is_null() { request } else { request.json(&body) }.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status}: {text}");
        text
    }

    async fn somebody(&self, method: &str, kind: &str, rest: &str, body: Value) -> String {
        self.call(method, &format!("{kind}/{}/{rest}", self.vhost), body).await
    }

    async fn converge(&self) -> Result<BrokerReport, BrokerError> {
        self.admin.converge(self.vhost, &desired()).await
    }

    /// Converges, and converges again to see that nothing is left to do.
    async fn converge_for_good(&self) -> BrokerReport {
        let first = self.converge().await.unwrap();
        assert_eq!(
            self.converge().await.unwrap(),
            BrokerReport { unchanged: desired().len(), intruders: first.intruders.clone(), ..report(&[], &[]) }
        );
        BrokerReport { unchanged: 0, ..first }
    }

    async fn publish(&self, routing_key: &str) {
        let message = json!({"properties": {"delivery_mode": 2}, "routing_key": routing_key, "payload": "tick", "payload_encoding": "string"});
        let answer = self.somebody("POST", "exchanges", "crypto.ticks/publish", message).await;
        assert_eq!(answer, r#"{"routed":true}"#);
    }

    /// The figures, once the broker's statistics (every five seconds) say what the test waits for.
    async fn figures_when(&self, told: impl Fn(&BrokerFigures) -> bool) -> BrokerFigures {
        for _ in 0..60 {
            let figures = self.admin.figures(self.vhost, &names()).await.unwrap();
            if told(&figures) {
                return figures;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("not within 30 s: {:?}", self.admin.figures(self.vhost, &names()).await);
    }

    async fn exists(&self, kind: &str, name: &str) -> bool {
        let listed: Vec<Value> = serde_json::from_str(&self.call("GET", &format!("{kind}/{}", self.vhost), Value::Null).await).unwrap();
        listed.iter().any(|object| object["name"] == name)
    }
}

fn ready(figures: &[tapekeeper_operator::external::broker::QueueFigures]) -> u64 {
    figures.iter().map(|figures| figures.ready).sum()
}

#[test]
fn a_topology_is_declared_once_and_then_left_alone() {
    on_a_broker("declared", async |ground| {
        let first = ground.converge().await.unwrap();
        assert_eq!((first.created.len(), first.repaired.len(), first.unchanged), (desired().len(), 0, 0));
        let second = ground.converge().await.unwrap();
        assert_eq!(second, BrokerReport { unchanged: desired().len(), ..report(&[], &[]) });
        assert!(first.changed() && !second.changed());
    });
}

#[test]
fn a_tick_reaches_one_shard_and_one_replay_stream_and_ticks_of_one_instrument_the_same() {
    on_a_broker("routed", async |ground| {
        ground.converge().await.unwrap();
        for _ in 0..5 {
            ground.publish("binance.BTC.USDT").await;
        }
        let figures = ground.figures_when(|figures| ready(&figures.queues) >= 5 && ready(&figures.replay) >= 5).await;
        let mut shards: Vec<u64> = figures.queues.iter().map(|queue| queue.ready).collect();
        let mut replay: Vec<u64> = figures.replay.iter().map(|stream| stream.ready).collect();
        shards.sort_unstable();
        replay.sort_unstable();
        assert_eq!((shards, replay, figures.unrouted, figures.dead_letters), (vec![0, 0, 5], vec![0, 0, 5], 0, 0));

        for instrument in 0..60 {
            ground.publish(&format!("binance.C{instrument}.USDT")).await;
        }
        let figures = ground.figures_when(|figures| ready(&figures.queues) >= 65 && ready(&figures.replay) >= 65).await;
        assert_eq!((ready(&figures.queues), ready(&figures.replay)), (65, 65));
        assert!(figures.queues.iter().all(|queue| queue.ready > 0), "no shard is left out: {figures:?}");
    });
}

#[test]
fn what_no_binding_wants_goes_to_the_unrouted_stream() {
    on_a_broker("unrouted", async |ground| {
        ground.converge().await.unwrap();
        for exchange in ["crypto.ticks.shard", "crypto.ticks.replay"] {
            ground.somebody("DELETE", "bindings", &format!("e/crypto.ticks/e/{exchange}/%23"), Value::Null).await;
        }
        ground.publish("binance.BTC.USDT").await;
        let figures = ground.figures_when(|figures| figures.unrouted >= 1).await;
        assert_eq!((figures.unrouted, ready(&figures.queues), ready(&figures.replay)), (1, 0, 0));
        let repaired = ground.converge_for_good().await;
        let bindings =
            ["binding crypto.ticks -> exchange crypto.ticks.shard (key `#`)", "binding crypto.ticks -> exchange crypto.ticks.replay (key `#`)"];
        assert_eq!(repaired, report(&bindings, &[]));
    });
}

#[test]
fn a_deleted_queue_exchange_binding_or_policy_comes_back_with_what_was_bound_to_it() {
    on_a_broker("deleted", async |ground| {
        ground.converge().await.unwrap();
        ground.somebody("DELETE", "queues", "crypto.ticks.shard.1", Value::Null).await;
        let shard = ["queue crypto.ticks.shard.1", "binding crypto.ticks.shard -> queue crypto.ticks.shard.1 (key `1`)"];
        assert_eq!(ground.converge_for_good().await, report(&shard, &[]));

        ground.somebody("DELETE", "exchanges", "crypto.ticks.replay", Value::Null).await;
        let replay = [
            "exchange crypto.ticks.replay",
            "binding crypto.ticks.replay -> queue crypto.ticks.replay.0 (key `1`)",
            "binding crypto.ticks.replay -> queue crypto.ticks.replay.1 (key `1`)",
            "binding crypto.ticks.replay -> queue crypto.ticks.replay.2 (key `1`)",
            "binding crypto.ticks -> exchange crypto.ticks.replay (key `#`)",
        ];
        assert_eq!(ground.converge_for_good().await, report(&replay, &[]));

        ground.somebody("DELETE", "bindings", "e/crypto.ticks.dead/q/crypto.ticks.dead/~", Value::Null).await;
        ground.somebody("DELETE", "policies", "tapekeeper%3Amarket%2Fmain%3Acrypto.ticks.dead", Value::Null).await;
        let dead = ["policy tapekeeper:market/main:crypto.ticks.dead", "binding crypto.ticks.dead -> queue crypto.ticks.dead (key ``)"];
        assert_eq!(ground.converge_for_good().await, report(&dead, &[]));
    });
}

#[test]
fn a_wrong_share_and_a_changed_exchange_are_repaired_and_the_bindings_of_others_survive_it() {
    on_a_broker("changed", async |ground| {
        ground.converge().await.unwrap();
        ground.somebody("DELETE", "bindings", "e/crypto.ticks.shard/q/crypto.ticks.shard.0/1", Value::Null).await;
        for (queue, weight) in [("crypto.ticks.shard.0", "3"), ("crypto.ticks.shard.2", "2")] {
            ground.somebody("POST", "bindings", &format!("e/crypto.ticks.shard/q/{queue}"), json!({"routing_key": weight})).await;
        }
        let repaired = [
            "binding crypto.ticks.shard -> queue crypto.ticks.shard.0 (key `1`)",
            "binding crypto.ticks.shard -> queue crypto.ticks.shard.0 (key `3`)",
            "binding crypto.ticks.shard -> queue crypto.ticks.shard.2 (key `2`)",
        ];
        assert_eq!(ground.converge_for_good().await, report(&[], &repaired));

        ground.somebody("PUT", "queues", "audit", json!({"durable": true})).await;
        ground.somebody("POST", "bindings", "e/crypto.ticks.shard/q/audit", json!({"routing_key": "1"})).await;
        ground.somebody("DELETE", "exchanges", "crypto.ticks", Value::Null).await;
        let changed = json!({"type": "topic", "durable": true, "arguments": {"x-tapekeeper-owner": "market/main"}});
        ground.somebody("PUT", "exchanges", "crypto.ticks", changed).await;
        ground.somebody("POST", "bindings", "e/crypto.ticks/q/audit", json!({"routing_key": "binance.*.USDT"})).await;
        let found = ground.converge_for_good().await;
        let bindings =
            ["binding crypto.ticks -> exchange crypto.ticks.shard (key `#`)", "binding crypto.ticks -> exchange crypto.ticks.replay (key `#`)"];
        let intruders = vec!["crypto.ticks.shard -> audit (weight 1)".to_owned()];
        assert_eq!(found, BrokerReport { intruders, ..report(&bindings, &["exchange crypto.ticks"]) });
        let listed = ground.somebody("GET", "queues", "audit/bindings", Value::Null).await;
        assert!(listed.contains(r#""source":"crypto.ticks","#) && listed.contains("binance.*.USDT"), "{listed}");
    });
}

#[test]
fn a_changed_retention_is_applied_in_place() {
    on_a_broker("retention", async |ground| {
        ground.converge().await.unwrap();
        ground.publish("binance.BTC.USDT").await;
        let longer = TopologyOptions { replay_max_age: HumanDuration::from_secs(14 * 86_400), replay_max_bytes: None, ..options() };
        let changed = ground.admin.converge(ground.vhost, &topology(&names(), &longer, &owner())).await.unwrap();
        assert_eq!(BrokerReport { unchanged: 0, ..changed }, report(&[], &["policy tapekeeper:market/main:crypto.ticks.replay"]));
        ground.figures_when(|figures| ready(&figures.replay) == 1).await;
        let stream: Value = serde_json::from_str(&ground.somebody("GET", "queues", "crypto.ticks.replay.0", Value::Null).await).unwrap();
        assert_eq!(stream["effective_policy_definition"], json!({"max-age": "1209600s", "stream-max-segment-size-bytes": 100_000_000}), "{stream}");

        let theirs = json!({"pattern": "dead", "apply-to": "streams", "definition": {"max-age": "1h"}, "priority": 50});
        ground.somebody("PUT", "policies", "theirs", theirs).await;
        let mut report = ground.converge().await.unwrap();
        for _ in 0..20 {
            if !report.overruled.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
            report = ground.converge().await.unwrap();
        }
        assert_eq!(report.overruled, ["crypto.ticks.dead follows the policy theirs"]);
    });
}

#[test]
fn an_object_of_somebody_else_is_a_conflict_and_nothing_is_written() {
    on_a_broker("foreign", async |ground| {
        ground.somebody("PUT", "queues", "crypto.ticks.dead", json!({"durable": true, "arguments": {"x-queue-type": "quorum"}})).await;
        let conflict = ground.converge().await.unwrap_err();
        assert_eq!(conflict, BrokerError::NameConflict { object: "queue crypto.ticks.dead".to_owned(), owner: None });
        assert!(!ground.exists("exchanges", "crypto.ticks").await);
        ground.somebody("DELETE", "queues", "crypto.ticks.dead", Value::Null).await;

        ground.converge().await.unwrap();
        let other = ObjectName { namespace: "other".to_owned(), name: "pipeline".to_owned() };
        let conflict = ground.admin.converge(ground.vhost, &topology(&names(), &options(), &other)).await.unwrap_err();
        assert_eq!(
            conflict,
            BrokerError::NameConflict { object: "exchange crypto.ticks.unrouted".to_owned(), owner: Some("market/main".to_owned()) }
        );
        assert_eq!(conflict.to_string(), "exchange crypto.ticks.unrouted exists and belongs to market/main: it is not adopted");
    });
}

#[test]
fn a_queue_that_cannot_be_changed_is_told_after_everything_else_is_right() {
    on_a_broker("immutable", async |ground| {
        ground.converge().await.unwrap();
        ground.somebody("DELETE", "exchanges", "crypto.ticks.dead", Value::Null).await;
        let stricter = TopologyOptions { delivery_limit: 5, ..options() };
        let refusal = ground.admin.converge(ground.vhost, &topology(&names(), &stricter, &owner())).await.unwrap_err();
        let expected = BrokerError::Immutable {
            object: "queue crypto.ticks.shard.0".to_owned(),
            field: "x-delivery-limit".to_owned(),
            have: "20".to_owned(),
            want: "5".to_owned(),
        };
        assert_eq!(refusal, expected);
        assert!(refusal.is_permanent());
        assert!(ground.exists("exchanges", "crypto.ticks.dead").await);
    });
}

#[test]
fn dropping_takes_what_is_ours_and_waits_for_what_is_not_stored_yet() {
    on_a_broker("dropped", async |ground| {
        ground.converge().await.unwrap();
        ground.somebody("PUT", "queues", "audit", json!({"durable": true})).await;
        ground.publish("binance.BTC.USDT").await;
        let figures = ground.figures_when(|figures| ready(&figures.queues) == 1).await;
        let full = figures.queues.iter().find(|queue| queue.ready == 1).unwrap().name.clone();

        let other = ObjectName { namespace: "other".to_owned(), name: "pipeline".to_owned() };
        let theirs = ground.admin.drop_owned(ground.vhost, &names(), &other).await.unwrap();
        assert_eq!((theirs.dropped.len(), theirs.kept.iter().all(|kept| kept.reason == Kept::NOT_OWNED)), (0, true));
        assert_eq!(ground.converge().await.unwrap().unchanged, desired().len());

        let first = ground.admin.drop_owned(ground.vhost, &names(), &owner()).await.unwrap();
        let why = "it holds a message that is not stored yet".to_owned();
        assert_eq!(first.kept, [Kept { object: format!("queue {full}"), reason: Kept::NOT_DRAINED, why }]);
        assert!(!first.is_complete());
        assert_eq!(first.dropped[0], "binding crypto.ticks -> exchange crypto.ticks.shard (key `#`)");
        assert!(ground.exists("queues", "crypto.ticks.dead").await && ground.exists("exchanges", "crypto.ticks.dead").await);
        assert!(!ground.exists("exchanges", "crypto.ticks").await);

        ground.somebody("DELETE", "queues", &format!("{full}/contents"), Value::Null).await;
        ground.figures_when(|figures| ready(&figures.queues) == 0).await;
        let second = ground.admin.drop_owned(ground.vhost, &names(), &owner()).await.unwrap();
        assert!(second.is_complete(), "{second:?}");
        let expected = [
            "exchange crypto.ticks.dead".to_owned(),
            "queue crypto.ticks.dead".to_owned(),
            format!("queue {full}"),
            "policy tapekeeper:market/main:crypto.ticks.dead".to_owned(),
        ];
        assert_eq!(second.dropped, expected);
        assert_eq!(ground.admin.drop_owned(ground.vhost, &names(), &owner()).await.unwrap().dropped, Vec::<String>::new());
        let left: Vec<Value> = serde_json::from_str(&ground.call("GET", &format!("queues/{}", ground.vhost), Value::Null).await).unwrap();
        assert_eq!(left.iter().map(|queue| queue["name"].as_str().unwrap()).collect::<Vec<_>>(), ["audit"]);
        assert_eq!(ground.call("GET", &format!("policies/{}", ground.vhost), Value::Null).await, "[]");
    });
}

#[test]
fn a_refusal_says_what_is_wrong_and_never_the_password() {
    on_a_broker("refused", async |ground| {
        let tls = tls::client_config(Some(ground.broker.authority().ca_pem())).unwrap();
        let right = credentials(&ground.broker);

        let wrong = Credentials { password: Secret::new("hunter2"), ..right.clone() };
        let refusal = BrokerAdmin::new(&wrong, Arc::clone(&tls)).unwrap().converge(ground.vhost, &desired()).await.unwrap_err();
        assert_eq!((refusal.reason(), refusal.to_string().contains("hunter2"), refusal.is_permanent()), ("BrokerUnauthorized", false, false));

        let path = ground.vhost;
        ground.call("PUT", "users/plain", json!({"password": "hunter2", "tags": "management"})).await;
        ground.call("PUT", &format!("permissions/{path}/plain"), json!({"configure": ".*", "write": ".*", "read": ".*"})).await;
        let plain = Credentials { username: "plain".to_owned(), password: Secret::new("hunter2"), ..right.clone() };
        let refusal = BrokerAdmin::new(&plain, Arc::clone(&tls)).unwrap().converge(ground.vhost, &desired()).await.unwrap_err();
        assert_eq!(refusal.reason(), "BrokerUnauthorized");
        assert!(refusal.to_string().contains("the tag `policymaker`") && !ground.exists("exchanges", "crypto.ticks.unrouted").await, "{refusal}");

        let refusal = ground.admin.converge("nowhere", &desired()).await.unwrap_err();
        assert_eq!(refusal, BrokerError::VhostNotFound { vhost: "nowhere".to_owned() });
        assert_eq!(ground.admin.drop_owned("nowhere", &names(), &owner()).await.unwrap().kept, []);

        let untrusting = tls::client_config(None).unwrap();
        let refusal = BrokerAdmin::new(&right, untrusting).unwrap().converge(ground.vhost, &desired()).await.unwrap_err();
        assert_eq!(refusal.reason(), "BrokerUnreachable");
        assert!(refusal.to_string().contains("certificate"), "{refusal}");

        let nobody = Credentials { uri: "https://127.0.0.1:1".parse().unwrap(), ..right };
        let refusal = BrokerAdmin::new(&nobody, tls).unwrap().figures(ground.vhost, &names()).await.unwrap_err();
        assert_eq!(refusal.reason(), "BrokerUnreachable");
    });
}
