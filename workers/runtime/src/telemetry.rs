//! Logs: one JSON object per line on stdout.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The level of a process that `RUST_LOG` says nothing about.
const DEFAULT_FILTER: &str = "info";

/// Starts logging for `service`. The level comes from `RUST_LOG` (`info` without it); a filter that can't be read is named and replaced by the default.
/// Calling it again does nothing.
pub fn init(service: &'static str) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let parsed = asked.as_deref().map(EnvFilter::try_new);
    let (filter, refused) = match parsed {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_FILTER), Some(error.to_string())),
        None => (EnvFilter::new(DEFAULT_FILTER), None),
    };
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_span_list(false).with_env_filter(filter).finish();
    if subscriber.try_init().is_err() {
        return;
    }
    if let Some(error) = refused {
        tracing::warn!(%error, "RUST_LOG can't be read: logging at {DEFAULT_FILTER}");
    }
    tracing::info!(service, version = env!("CARGO_PKG_VERSION"), "starting");
}
