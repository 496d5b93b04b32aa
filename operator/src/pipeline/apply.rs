//! Apply (I/O): reads the broker back and writes what differs.

use super::validate::ValidPipeline;
use crate::blocker::Blocker;
use crate::context::Context;
use crate::external::broker::{BrokerAdmin, BrokerError, BrokerFigures, BrokerObject, BrokerReport};

/// What became of the broker's objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// What was done, or why it could not be.
    pub topology: Result<BrokerReport, Blocker>,
    /// Depths and rates, when the broker told.
    pub figures: Option<BrokerFigures>,
}

/// Brings the broker to the plan.
pub async fn apply(context: &Context, pipeline: &ValidPipeline, planned: &[BrokerObject]) -> Applied {
    match converge(context, pipeline, planned).await {
        Ok((report, figures)) => Applied { topology: Ok(report), figures },
        Err(blocker) => Applied { topology: Err(blocker), figures: None },
    }
}

async fn converge(context: &Context, pipeline: &ValidPipeline, planned: &[BrokerObject]) -> Result<(BrokerReport, Option<BrokerFigures>), Blocker> {
    let admin = admin(context, pipeline)?;
    let report = context.timed("broker", admin.converge(&pipeline.vhost, planned)).await?;
    if report.changed() {
        tracing::info!(pipeline = %pipeline.name, created = ?report.created, repaired = ?report.repaired, "the broker's objects were put right");
    }
    let figures = context.timed("broker", admin.figures(&pipeline.vhost, &pipeline.topology)).await;
    Ok((report, figures.inspect_err(|error| tracing::warn!(pipeline = %pipeline.name, %error, "the broker told no figures")).ok()))
}

/// The management interface of a Pipeline's broker.
///
/// # Errors
/// A certificate or an address that can't be used.
pub fn admin(context: &Context, pipeline: &ValidPipeline) -> Result<BrokerAdmin, Blocker> {
    Ok(BrokerAdmin::new(&pipeline.management, context.tls(&pipeline.management)?)?)
}

impl From<BrokerError> for Blocker {
    fn from(error: BrokerError) -> Self {
        Self { reason: error.reason(), message: error.to_string(), permanent: error.is_permanent() }
    }
}
