//! Apply (I/O): brings the connector to the plan. Without a plan the last known good keeps running.

use kube::Client;

use super::resolve::Resolved;
use crate::workload::{Outcome, Rendered, apply};

/// Applies a plan, or keeps what runs.
pub async fn apply(client: &Client, planned: Option<&Rendered>, resolved: &Resolved, owner_uid: &str, paused: bool) -> Outcome {
    match (planned, &resolved.pipeline) {
        (Some(rendered), Ok(pipeline)) => apply::apply(client, rendered, &resolved.live, owner_uid, &pipeline.topology).await,
        _ => apply::keep(client, &resolved.live, owner_uid, paused).await,
    }
}
