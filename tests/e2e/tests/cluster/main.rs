//! Tapekeeper on a real Kubernetes with a real RabbitMQ and a real ClickHouse, driven as its users drive it. Each test has a namespace, an
//! exchange and a database of its own, and stands alone; they run one after another because they share the venue's tape.
#![allow(clippy::unwrap_used)]

mod lifecycle;
mod manifests;
mod recordings;
mod refusals;
mod rest;
mod whole_path;
