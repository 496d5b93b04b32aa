//! What was stored by this version stays readable, and means the same when it is written back. `roundtrip.yaml` only ever grows.

#![allow(clippy::unwrap_used)] // a test that can't go on fails

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tapekeeper_crds::{ExchangeFeed, Pipeline, TickSink};

fn written_back<T: Serialize + DeserializeOwned>(value: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(value.clone()).unwrap()).unwrap()
}

#[test]
fn what_is_stored_reads_and_writes_back_the_same() {
    let text = include_str!("roundtrip.yaml");
    let mut kinds = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let stored: Value = serde::Deserialize::deserialize(document).unwrap();
        let kind = stored["kind"].as_str().unwrap().to_owned();
        let back = match kind.as_str() {
            "ExchangeFeed" => written_back::<ExchangeFeed>(&stored),
            "Pipeline" => written_back::<Pipeline>(&stored),
            "TickSink" => written_back::<TickSink>(&stored),
            other => panic!("{other}"),
        };
        similar_asserts::assert_eq!(back, stored);
        kinds.push(kind);
    }
    assert_eq!(kinds, ["ExchangeFeed", "Pipeline", "TickSink"]);
}
