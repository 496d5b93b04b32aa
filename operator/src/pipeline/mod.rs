//! The controller of Pipelines: resolve (client required) → validate (pure) → plan (pure and infallible) → apply (I/O) → status (pure). A Pipeline has no pods: its objects lie in the broker.

pub mod apply;
pub mod plan;
pub mod release;
pub mod resolve;
pub mod status;
pub mod validate;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_crds::Pipeline;

use crate::context::Context;
use crate::controller::{self, Progress, Reconciled};
use crate::error::Error;
use crate::kubernetes::finalizer::{self, Step};
use crate::retry::Ending;

impl Reconciled for Pipeline {
    const KIND: &'static str = "Pipeline";

    async fn reconcile(pipeline: Arc<Self>, context: Arc<Context>) -> Result<Progress, Error> {
        let deleted_at = pipeline.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        match finalizer::step(finalizer::is_present(&*pipeline), deleted_at, pipeline.spec.deletion_policy, Timestamp::now()) {
            Step::Reconcile => {}
            Step::Add => finalizer::set(&context.client, &*pipeline, true).await?,
            Step::Remove => finalizer::set(&context.client, &*pipeline, false).await?,
            Step::Release { overdue } => return release::release(&pipeline, &context, overdue).await,
            Step::Ignore => return Ok(Progress { ending: Ending::Settled, reason: "Deleted", within: None }),
        }
        if deleted_at.is_some() {
            return Ok(Progress { ending: Ending::Settled, reason: "Deleted", within: None });
        }
        reconcile(&pipeline, &context).await
    }

    fn forget(_: &ObjectName, _: &Context) {}

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }
}

async fn reconcile(pipeline: &Pipeline, context: &Context) -> Result<Progress, Error> {
    // resolve (client required)
    let resolved = resolve::resolve(pipeline, &context.client).await?;
    // validate (pure)
    let validated = validate::validate(pipeline, &resolved);
    // plan (pure and infallible)
    let planned = validated.pipeline.as_ref().map(plan::plan);
    // apply (I/O)
    let applied = match (&validated.pipeline, &planned) {
        (Some(valid), Some(planned)) => Some(apply::apply(context, valid, planned).await),
        _ => None,
    };
    // status (pure)
    let old = pipeline.status.clone().unwrap_or_default();
    let decision = status::decide(&old, vec![validated.spec, validated.references], applied.as_ref(), pipeline.metadata.generation, Timestamp::now());

    if decision.write {
        controller::write_status(pipeline, &decision.status, &decision.status.conditions, context).await?;
    }
    Ok(controller::progress(&decision.findings, decision.settles_in))
}
