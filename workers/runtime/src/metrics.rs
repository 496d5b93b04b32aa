//! The registry of a process's metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What `GET /metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    service: &'static str,
    version: &'static str,
}

/// A registry whose metrics are all called `tapekeeper_…`, with `tapekeeper_build` naming the service and its version.
#[must_use]
pub fn registry(service: &'static str) -> Registry {
    let mut registry = Registry::with_prefix("tapekeeper");
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { service, version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("build", "The service and its version, always 1", build);
    registry
}

/// The registry as OpenMetrics text.
///
/// # Errors
/// Only when a metric can't be written, which is a defect of that metric.
pub fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}
