//! The API of Tapekeeper, `tapekeeper.dev/v1alpha1`: what a manifest may say, and what a status says back.
//!
//! - [`feed`]: ExchangeFeed, what is read from a venue;
//! - [`pipeline`]: Pipeline, the broker objects that ticks go through;
//! - [`sink`]: TickSink, the tables that keep them;
//! - [`workload`], [`references`], [`values`], [`conditions`]: what the kinds share;
//! - [`rules`]: the CEL rules, which the API server evaluates; [`violation`]: the same rules for everyone else;
//! - [`manifest`]: the CustomResourceDefinitions as YAML, the content of `crds/yaml/`.
//!
//! Nothing here does I/O.

// Clippy takes the columns of one kind, each with its own type and priority, for one attribute given twice.
#![allow(clippy::duplicated_attributes)]

pub mod conditions;
pub mod feed;
pub mod manifest;
pub mod pipeline;
pub mod references;
pub mod rules;
pub mod sink;
pub mod values;
pub mod violation;
pub mod workload;

pub use feed::{ExchangeFeed, ExchangeFeedSpec, ExchangeFeedStatus};
pub use pipeline::{Pipeline, PipelineSpec, PipelineStatus};
pub use sink::{TickSink, TickSinkSpec, TickSinkStatus};
pub use violation::Violation;

/// The API group.
pub const GROUP: &str = "tapekeeper.dev";
/// The one version there is.
pub const VERSION: &str = "v1alpha1";
