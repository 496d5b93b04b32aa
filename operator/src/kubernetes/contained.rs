//! Whether a live object still says everything that was rendered: pure.
//!
//! The API server adds defaults, other people add what they own; neither is a drift. So the question is not whether the two are equal, but whether the rendered one is
//! contained in the live one.

use serde_json::Value;

/// Whether everything in `wanted` is in `live`.
#[must_use]
pub fn is_contained(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            wanted.iter().all(|(key, value)| live.get(key).map_or_else(|| is_nothing(value), |live| is_contained(value, live)))
        }
        (Value::Array(wanted), Value::Array(live)) => wanted.iter().enumerate().all(|(index, value)| {
            let same_place = live.get(index).is_some_and(|live| is_contained(value, live));
            same_place || live.iter().any(|live| is_contained(value, live))
        }),
        (Value::String(wanted), Value::String(live)) => wanted == live || same_quantity(wanted, live),
        (Value::Number(wanted), Value::String(live)) => same_quantity(&wanted.to_string(), live),
        (wanted, live) => wanted == live,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The API server writes quantities in one form: `0.5` becomes `500m`.
fn same_quantity(one: &str, other: &str) -> bool {
    matches!((quantity(one), quantity(other)), (Some(one), Some(other)) if (one - other).abs() <= f64::EPSILON * one.abs())
}

fn quantity(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    let (number, unit) = UNITS.iter().find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit))).unwrap_or((text, 1.0));
    let looks_like_a_number =
        number.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if looks_like_a_number { number.parse::<f64>().ok().map(|number| number * unit) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_and_other_peoples_fields_are_no_drift() {
        let wanted = json!({ "spec": { "replicas": 1, "list": [{ "name": "a" }], "empty": {} } });
        assert!(is_contained(
            &wanted,
            &json!({ "status": 1, "spec": { "replicas": 1, "list": [{ "name": "sidecar" }, { "name": "a", "policy": "Always" }] } })
        ));
    }

    #[test]
    fn a_changed_or_missing_field_is_a_drift() {
        let wanted = json!({ "spec": { "replicas": 1, "args": ["connector"] } });
        assert!(!is_contained(&wanted, &json!({ "spec": { "replicas": 2, "args": ["connector"] } })));
        assert!(!is_contained(&wanted, &json!({ "spec": { "replicas": 1, "args": [] } })));
        assert!(!is_contained(&wanted, &json!({ "spec": { "replicas": 1 } })));
    }

    #[test]
    fn a_quantity_in_another_form_is_no_drift() {
        assert!(is_contained(&json!({ "cpu": "0.5", "memory": "1024Mi" }), &json!({ "cpu": "500m", "memory": "1Gi" })));
        assert!(is_contained(&json!({ "cpu": 2 }), &json!({ "cpu": "2" })));
        assert!(!is_contained(&json!({ "cpu": "0.5" }), &json!({ "cpu": "600m" })));
        assert!(!is_contained(&json!({ "image": "worker:1" }), &json!({ "image": "worker:2" })));
    }
}
