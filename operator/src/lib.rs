//! The Tapekeeper operator: brings Pipelines, TickSinks and ExchangeFeeds to what their manifests say.
//!
//! One folder per kind ([`feed`], [`pipeline`], [`sink`]), each with the same five phases: `resolve` reads what the spec refers to, `validate` turns it into a type that
//! can't be wrong, `plan` is pure and infallible, `apply` does the I/O, `status` is computed from what was applied and observed.
//!
//! - [`external`]: what lies outside of Kubernetes, in the broker and the database;
//! - [`workload`]: the pods of feeds and sinks; [`observer`]: what these pods say of themselves;
//! - [`kubernetes`]: server-side apply, references, finalizers, Events;
//! - [`conditions`], [`snapshot`], [`retry`]: the arithmetic of conditions, of figures worth a write, and of when to look again;
//! - [`controller`], [`run`]: watches and their triggers; [`plan_file`]: `plan -f FILE`, without a cluster.

pub mod blocker;
pub mod cli;
pub mod conditions;
pub mod context;
pub mod controller;
pub mod error;
pub mod external;
pub mod feed;
pub mod health;
pub mod installation;
pub mod kubernetes;
pub mod metrics;
pub mod observer;
pub mod pipeline;
pub mod plan_file;
pub mod retry;
pub mod run;
pub mod sink;
pub mod snapshot;
pub mod workload;
