//! The controller of TickSinks: resolve (client required) → validate (pure) → plan (pure and infallible) → apply (I/O) → status (pure).

pub mod apply;
pub mod plan;
pub mod release;
pub mod resolve;
pub mod status;
pub mod validate;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_crds::TickSink;
use tapekeeper_crds::workload::RunState;

use crate::context::Context;
use crate::controller::{self, Progress, Reconciled};
use crate::error::Error;
use crate::kubernetes::finalizer::{self, Step};
use crate::retry::Ending;
use crate::workload::{Role, observe};

impl Reconciled for TickSink {
    const KIND: &'static str = "TickSink";

    async fn reconcile(sink: Arc<Self>, context: Arc<Context>) -> Result<Progress, Error> {
        let deleted_at = sink.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        match finalizer::step(finalizer::is_present(&*sink), deleted_at, sink.spec.deletion_policy, Timestamp::now()) {
            Step::Reconcile => {}
            Step::Add => finalizer::set(&context.client, &*sink, true).await?,
            Step::Remove => finalizer::set(&context.client, &*sink, false).await?,
            Step::Release { overdue } => return release::release(&sink, &context, overdue).await,
            Step::Ignore => return Ok(Progress { ending: Ending::Settled, reason: "Deleted", within: None }),
        }
        if deleted_at.is_some() {
            return Ok(Progress { ending: Ending::Settled, reason: "Deleted", within: None });
        }
        reconcile(&sink, &context).await
    }

    fn forget(sink: &ObjectName, context: &Context) {
        context.observer.forget(&(Role::Batcher, sink.clone()));
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }
}

async fn reconcile(sink: &TickSink, context: &Context) -> Result<Progress, Error> {
    let name = controller::object_name(sink);
    let key = (Role::Batcher, name.clone());

    // resolve (client required)
    let resolved = resolve::resolve(sink, &context.client).await?;
    // validate (pure)
    let validated = validate::validate(sink, &resolved, context.installation.extra_ca.is_some());
    // plan (pure and infallible)
    let planned = validated.sink.as_ref().map(|valid| plan::plan(valid, &context.installation));
    // apply (I/O)
    let paused = sink.spec.state == RunState::Paused;
    let applied =
        apply::apply(context, validated.sink.as_ref().zip(planned.as_ref()), &resolved, sink.uid().unwrap_or_default().as_str(), paused).await;
    // status (pure)
    let queues = validated.sink.as_ref().map(|valid| valid.queues.clone()).unwrap_or_default();
    let reports = context.observer.reports(&key).await;
    let now = Timestamp::now();
    let mut findings = vec![validated.spec, validated.references, status::schema(&applied)];
    findings.extend(observe::findings(&applied.workload, &context.observer.pods(&key), paused));
    findings.push(if paused { status::paused() } else { status::flow(&reports, &queues, now) });
    let old = sink.status.clone().unwrap_or_default();
    let decision = status::decide(&old, findings, &applied, &reports, sink, now);

    let progress = controller::progress(&decision.findings, decision.settles_in);
    let settled = progress.ending == Ending::Settled;
    context.observer.expect(key, settled, Arc::new(move |reports, now| status::verdict(reports, &queues, now)), &reports, now);
    if decision.write {
        controller::write_status(sink, &decision.status, &decision.status.conditions, context).await?;
    }
    Ok(progress)
}
