//! `plan -f FILE`: what the operator would do for a file of manifests. Pure: no cluster, no broker, no database.
//!
//! References are resolved within the file. A Secret that is not in it is assumed to be right and shown as unknown. The output is YAML: Kubernetes objects as documents, everything else
//! as comments.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tapekeeper_crds::workload::RunState;
use tapekeeper_crds::{ExchangeFeed, GROUP, Pipeline, TickSink};

use crate::blocker::Blocker;
use crate::conditions::{Finding, Truth};
use crate::external::database::{self, ObservedDatabase};
use crate::installation::Installation;
use crate::kubernetes::references::{PipelineView, SecretView};
use crate::workload::{Live, Rendered};
use crate::{feed, pipeline, sink};

/// The file can't be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is not YAML.
    #[error("document {number}: {why}")]
    Unreadable {
        /// Which document, from 1.
        number: usize,
        /// Why.
        why: String,
    },
    /// A field is not one of the API's.
    #[error("document {number}: unknown field {field}")]
    UnknownField {
        /// Which document, from 1.
        number: usize,
        /// Its path.
        field: String,
    },
    /// A part of the plan could not be written, which is a defect of the operator.
    #[error("can't write the plan: {0}")]
    Unwritable(String),
}

/// A plan, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The text.
    pub text: String,
    /// Whether everything in the file could be planned.
    pub complete: bool,
}

#[derive(Default)]
struct Manifests {
    pipelines: Vec<Pipeline>,
    sinks: Vec<TickSink>,
    feeds: Vec<ExchangeFeed>,
    secrets: BTreeMap<(String, String), BTreeMap<String, Vec<u8>>>,
}

/// Plans the manifests in `text`.
///
/// # Errors
/// [`PlanError`] when the text can't be read.
pub fn plan(text: &str, namespace: &str, installation: &Installation) -> Result<Plan, PlanError> {
    let manifests = read(text, namespace)?;
    let mut page = Page { text: String::new(), complete: true };
    for pipeline in &manifests.pipelines {
        plan_pipeline(&manifests, pipeline, &mut page);
    }
    for sink in &manifests.sinks {
        plan_sink(&manifests, sink, installation, &mut page)?;
    }
    for feed in &manifests.feeds {
        plan_feed(&manifests, feed, installation, &mut page)?;
    }
    Ok(Plan { text: page.text, complete: page.complete })
}

fn read(text: &str, namespace: &str) -> Result<Manifests, PlanError> {
    let mut manifests = Manifests::default();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let unreadable = |why: String| PlanError::Unreadable { number, why };
        // Through a JSON value: YAML readers want enums that carry data to be tagged.
        let mut value = Value::deserialize(document).map_err(|error| unreadable(error.to_string()))?;
        if value.is_null() {
            continue;
        }
        if value["metadata"]["namespace"].is_null() {
            value["metadata"]["namespace"] = namespace.into();
        }
        let api_version = value["apiVersion"].as_str().unwrap_or_default();
        match (api_version.split('/').next().unwrap_or_default(), value["kind"].as_str().unwrap_or_default()) {
            (GROUP, "Pipeline") => manifests.pipelines.push(parse(value, number)?),
            (GROUP, "TickSink") => manifests.sinks.push(parse(value, number)?),
            (GROUP, "ExchangeFeed") => manifests.feeds.push(parse(value, number)?),
            (GROUP, kind) => return Err(unreadable(format!("there is no kind {kind} in {GROUP}"))),
            ("v1", "Secret") => {
                let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))?;
                let mut data: BTreeMap<_, _> = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
                data.extend(secret.string_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes())));
                manifests.secrets.insert((secret.metadata.namespace.unwrap_or_default(), secret.metadata.name.unwrap_or_default()), data);
            }
            // Other people's objects are none of our business.
            _ => {}
        }
    }
    Ok(manifests)
}

fn parse<K: DeserializeOwned + Serialize>(value: Value, number: usize) -> Result<K, PlanError> {
    let object: K = serde_json::from_value(value.clone()).map_err(|error| PlanError::Unreadable { number, why: error.to_string() })?;
    let understood = serde_json::to_value(&object).map_err(|error| PlanError::Unwritable(error.to_string()))?;
    match unknown_field(&value["spec"], &understood["spec"], "spec") {
        Some(field) => Err(PlanError::UnknownField { number, field }),
        None => Ok(object),
    }
}

/// The first field that was written and not understood.
fn unknown_field(written: &Value, understood: &Value, path: &str) -> Option<String> {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => written.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match understood.get(key) {
                Some(understood) => unknown_field(value, understood, &path),
                // What is empty is not written back.
                None if is_empty(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(written), Value::Array(understood)) => written
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(index, (written, understood))| unknown_field(written, understood, &format!("{path}[{index}]"))),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

struct Page {
    text: String,
    complete: bool,
}

impl Page {
    fn heading<K: Resource<DynamicType = ()>>(&mut self, object: &K) {
        let metadata = object.meta();
        let (namespace, name) = (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
        let _ = writeln!(self.text, "# {} {namespace}/{name}", K::kind(&()));
    }

    fn comment(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.text, "#   {line}");
        }
    }

    fn findings(&mut self, findings: [&Finding; 2]) {
        for finding in findings {
            self.comment(&format!("{}: {:?} ({}) {}", finding.condition, finding.truth, finding.reason, finding.message));
            self.complete &= finding.truth == Truth::True;
        }
    }

    fn objects(&mut self, rendered: &Rendered) -> Result<(), PlanError> {
        self.object(&rendered.config_map)?;
        self.object(&rendered.deployment)
    }

    fn object<K: crate::kubernetes::apply::Child>(&mut self, object: &K) -> Result<(), PlanError> {
        let unwritable = |why: String| PlanError::Unwritable(why);
        let intent = crate::kubernetes::apply::intent(object).map_err(|error| unwritable(error.to_string()))?;
        let _ = write!(self.text, "---\n{}", serde_yaml::to_string(&intent.body).map_err(|error| unwritable(error.to_string()))?);
        Ok(())
    }

    fn end(&mut self) {
        self.text.push('\n');
    }
}

fn plan_pipeline(manifests: &Manifests, pipeline: &Pipeline, page: &mut Page) {
    page.heading(pipeline);
    let namespace = pipeline.metadata.namespace.as_deref().unwrap_or_default();
    let resolved = pipeline::resolve::Resolved {
        broker_secret: Ok(manifests.secret(namespace, &pipeline.spec.broker.secret_ref.name, "amqps", page)),
        management_secret: Ok(manifests.secret(namespace, &pipeline.spec.broker.management_secret_ref.name, "https", page)),
    };
    let validated = pipeline::validate::validate(pipeline, &resolved);
    page.findings([&validated.spec, &validated.references]);
    if let Some(valid) = &validated.pipeline {
        page.comment(&format!("the broker, virtual host {}:", valid.vhost));
        for object in pipeline::plan::plan(valid) {
            page.comment(&format!("  {object}"));
        }
    }
    page.end();
}

fn plan_sink(manifests: &Manifests, sink: &TickSink, installation: &Installation, page: &mut Page) -> Result<(), PlanError> {
    page.heading(sink);
    let namespace = sink.metadata.namespace.as_deref().unwrap_or_default();
    let view = manifests.pipeline(namespace, &sink.spec.pipeline_ref.name);
    let resolved = sink::resolve::Resolved {
        broker_secret: view.clone().map(|view| manifests.secret(namespace, &view.spec.broker.secret_ref.name, "amqps", page)),
        pipeline: view,
        database_secret: Ok(manifests.secret(namespace, &sink.spec.clickhouse.secret_ref.name, "https", page)),
        live: Live::default(),
    };
    let validated = sink::validate::validate(sink, &resolved, installation.extra_ca.is_some());
    page.findings([&validated.spec, &validated.references]);
    if sink.spec.state == RunState::Paused {
        page.comment("paused: no pods");
    }
    if let Some(valid) = &validated.sink {
        let planned = sink::plan::plan(valid, installation);
        page.comment("the database, when it has nothing yet:");
        match database::statements(&planned.schema, &ObservedDatabase::default()) {
            Ok(statements) => statements.iter().for_each(|statement| page.comment(&format!("  {};", statement.sql.replace('\n', "\n  ")))),
            Err(error) => page.comment(&error.to_string()),
        }
        page.objects(&planned.workload)?;
    }
    page.end();
    Ok(())
}

fn plan_feed(manifests: &Manifests, feed: &ExchangeFeed, installation: &Installation, page: &mut Page) -> Result<(), PlanError> {
    page.heading(feed);
    let namespace = feed.metadata.namespace.as_deref().unwrap_or_default();
    let view = manifests.pipeline(namespace, &feed.spec.pipeline_ref.name);
    let resolved = feed::resolve::Resolved {
        broker_secret: view.clone().map(|view| manifests.secret(namespace, &view.spec.broker.secret_ref.name, "amqps", page)),
        pipeline: view,
        live: Live::default(),
    };
    let validated = feed::validate::validate(feed, &resolved, installation.extra_ca.is_some());
    page.findings([&validated.spec, &validated.references]);
    if feed.spec.state == RunState::Paused {
        page.comment("paused: no pods");
    }
    if let Some(valid) = &validated.feed {
        page.objects(&feed::plan::plan(valid, installation))?;
    }
    page.end();
    Ok(())
}

impl Manifests {
    fn pipeline(&self, namespace: &str, name: &str) -> Result<PipelineView, Blocker> {
        let found = self
            .pipelines
            .iter()
            .find(|pipeline| pipeline.metadata.namespace.as_deref() == Some(namespace) && pipeline.metadata.name.as_deref() == Some(name));
        let view = found.map(|pipeline| PipelineView { spec: pipeline.spec.clone(), topology: Ok(()) });
        view.ok_or_else(|| Blocker::transient("PipelineNotFound", format!("there is no Pipeline {name} in namespace {namespace} of this file")))
    }

    /// A Secret of the file, or one that is assumed to be right.
    fn secret(&self, namespace: &str, name: &str, scheme: &str, page: &mut Page) -> SecretView {
        let (data, version) = match self.secrets.get(&(namespace.to_owned(), name.to_owned())) {
            Some(data) => (data.clone(), "in the file"),
            None => {
                page.comment(&format!("Secret {namespace}/{name}: unknown, as it is not in this file"));
                let assumed =
                    [("uri", format!("{scheme}://unknown.invalid")), ("username", "unknown".to_owned()), ("password", "unknown".to_owned())];
                (assumed.into_iter().map(|(key, value)| (key.to_owned(), value.into_bytes())).collect(), "unknown")
            }
        };
        SecretView { name: name.to_owned(), version: version.to_owned(), data }
    }
}
