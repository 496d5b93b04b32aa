//! The CustomResourceDefinitions as YAML: what `tapekeeper-operator crd` prints and `crds/yaml/` holds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{ExchangeFeed, Pipeline, TickSink};

/// A definition could not be written, which is a defect of this crate.
#[derive(Debug, thiserror::Error)]
#[error("can't write the definition of {name}: {why}")]
pub struct ManifestError {
    name: String,
    why: String,
}

/// Every definition as a JSON value, in the order in which they are installed.
///
/// # Errors
/// [`ManifestError`] when a definition can't be written as JSON.
pub fn definitions() -> Result<Vec<Value>, ManifestError> {
    [ExchangeFeed::crd(), Pipeline::crd(), TickSink::crd()].into_iter().map(definition).collect()
}

// A JSON value, because YAML writers give enums that carry data a tag, which Kubernetes does not read.
fn definition(definition: CustomResourceDefinition) -> Result<Value, ManifestError> {
    let mut value =
        serde_json::to_value(&definition).map_err(|error| ManifestError { name: definition.spec.names.plural, why: error.to_string() })?;
    for_kubernetes(&mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    Ok(value)
}

/// Says it as Kubernetes does: a null is no value, which the API server then drops before it applies defaults and rules, and integers are `int32` or `int64`.
fn for_kubernetes(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            match fields.get("format").and_then(Value::as_str) {
                Some("uint8" | "uint16") => drop(fields.insert("format".to_owned(), "int32".into())),
                Some("uint32" | "uint64" | "uint") => drop(fields.insert("format".to_owned(), "int64".into())),
                _ => {}
            }
            fields.values_mut().for_each(for_kubernetes);
        }
        Value::Array(items) => items.iter_mut().for_each(for_kubernetes),
        _ => {}
    }
}

/// Every definition as a file: its name within `crds/yaml/`, and its text.
///
/// # Errors
/// [`ManifestError`] when a definition can't be written as YAML.
pub fn files() -> Result<Vec<(String, String)>, ManifestError> {
    definitions()?
        .into_iter()
        .map(|definition| {
            let name = definition["spec"]["names"]["plural"].as_str().unwrap_or_default().to_owned();
            match serde_yaml::to_string(&definition) {
                Ok(text) => Ok((format!("{name}.yaml"), text)),
                Err(error) => Err(ManifestError { name, why: error.to_string() }),
            }
        })
        .collect()
}
