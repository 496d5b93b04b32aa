//! The controller of ExchangeFeeds: resolve (client required) → validate (pure) → plan (pure and infallible) → apply (I/O) → status (pure).

pub mod apply;
pub mod plan;
pub mod resolve;
pub mod status;
pub mod validate;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use tapekeeper_contract::settings::ObjectName;
use tapekeeper_crds::ExchangeFeed;
use tapekeeper_crds::workload::RunState;

use crate::context::Context;
use crate::controller::{self, Progress, Reconciled};
use crate::error::Error;
use crate::retry::Ending;
use crate::workload::{Role, observe};

impl Reconciled for ExchangeFeed {
    const KIND: &'static str = "ExchangeFeed";

    async fn reconcile(feed: Arc<Self>, context: Arc<Context>) -> Result<Progress, Error> {
        reconcile(&feed, &context).await
    }

    fn forget(feed: &ObjectName, context: &Context) {
        context.observer.forget(&(Role::Connector, feed.clone()));
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }
}

async fn reconcile(feed: &ExchangeFeed, context: &Context) -> Result<Progress, Error> {
    if feed.metadata.deletion_timestamp.is_some() {
        // Its pods go with it: they are owned.
        return Ok(Progress { ending: Ending::Settled, reason: "Deleted", within: None });
    }
    let name = controller::object_name(feed);
    let key = (Role::Connector, name.clone());

    // resolve (client required)
    let resolved = resolve::resolve(feed, &context.client).await?;
    // validate (pure)
    let validated = validate::validate(feed, &resolved, context.installation.extra_ca.is_some());
    // plan (pure and infallible)
    let planned = validated.feed.as_ref().map(|valid| plan::plan(valid, &context.installation));
    // apply (I/O)
    let paused = feed.spec.state == RunState::Paused;
    let outcome = apply::apply(&context.client, planned.as_ref(), &resolved, feed.uid().unwrap_or_default().as_str(), paused).await;
    // status (pure)
    let window = status::window(feed.spec.connection.idle_timeout.0);
    let reports = context.observer.reports(&key).await;
    let now = Timestamp::now();
    let mut findings = vec![validated.spec, validated.references];
    findings.extend(observe::findings(&outcome, &context.observer.pods(&key), paused));
    findings.push(if paused { status::paused() } else { status::flow(&reports, window, now) });
    let old = feed.status.clone().unwrap_or_default();
    let decision = status::decide(&old, findings, &reports, feed.metadata.generation, now);

    let progress = controller::progress(&decision.findings, decision.settles_in);
    let settled = progress.ending == Ending::Settled;
    context.observer.expect(key, settled, Arc::new(move |reports, now| status::verdict(reports, window, now)), &reports, now);
    if decision.write {
        controller::write_status(feed, &decision.status, &decision.status.conditions, context).await?;
    }
    Ok(progress)
}
