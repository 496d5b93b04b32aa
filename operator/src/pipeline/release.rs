//! Release (I/O): drops the broker's objects of a Pipeline that is being deleted, and lets go when its time is up or there is nothing left to ask.

use tapekeeper_crds::Pipeline;

use super::{apply, resolve, validate};
use crate::blocker::Blocker;
use crate::context::Context;
use crate::controller::{Progress, tell};
use crate::error::Error;
use crate::external::DropReport;
use crate::kubernetes::events::Happened;
use crate::kubernetes::finalizer;
use crate::retry::Ending;

/// What a release came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// Everything that was ours is gone.
    Dropped(DropReport),
    /// Something is left, and may be gone later.
    Remains(String),
    /// Nothing can be asked any more: the Secret is gone.
    Unreachable(Blocker),
    /// It failed, and may succeed later.
    Failed(Blocker),
}

/// Releases a Pipeline.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server does not answer.
pub async fn release(pipeline: &Pipeline, context: &Context, overdue: bool) -> Result<Progress, Error> {
    let resolved = resolve::resolve(pipeline, &context.client).await?;
    // To drop, only the management interface is needed.
    let resolved = resolve::Resolved { broker_secret: resolved.broker_secret.or_else(|_| resolved.management_secret.clone()), ..resolved };
    let released = match &resolved.management_secret {
        Err(blocker) => Released::Unreachable(blocker.clone()),
        Ok(_) => drop_all(pipeline, &resolved, context).await,
    };
    finish(pipeline, context, released, overdue).await
}

async fn drop_all(pipeline: &Pipeline, resolved: &resolve::Resolved, context: &Context) -> Released {
    let dropped = async {
        let management = resolved.management_secret.clone()?.https()?;
        let valid = validate::ValidPipeline {
            name: crate::controller::object_name(pipeline),
            vhost: pipeline.spec.broker.vhost.clone(),
            topology: validate::topology_of(&pipeline.spec),
            options: validate::options_of(&pipeline.spec),
            management,
        };
        let admin = apply::admin(context, &valid)?;
        Ok::<_, Blocker>(context.timed("broker", admin.drop_owned(&valid.vhost, &valid.topology, &valid.name)).await?)
    };
    outcome(dropped.await)
}

/// What the drop's report means.
#[must_use]
pub fn outcome(report: Result<DropReport, Blocker>) -> Released {
    match report {
        Ok(report) if report.is_complete() => Released::Dropped(report),
        Ok(report) => Released::Remains(report.kept.iter().map(|kept| format!("{}: {}", kept.object, kept.why)).collect::<Vec<_>>().join("; ")),
        Err(blocker) => Released::Failed(blocker),
    }
}

/// What is told, and whether the finalizer goes.
#[must_use]
pub fn verdict(released: &Released, overdue: bool) -> (bool, Option<Happened>) {
    let event = |warning, reason: &str, note: String| Some(Happened { warning, reason: reason.to_owned(), note });
    match released {
        Released::Dropped(report) if report.dropped.is_empty() => (true, event(false, "Released", "there was nothing of ours to drop".to_owned())),
        Released::Dropped(report) => (true, event(false, "Dropped", format!("dropped {}", report.dropped.join(", ")))),
        Released::Unreachable(blocker) => (true, event(true, "LetGo", format!("what was declared outside stays there: {}", blocker.message))),
        Released::Remains(what) if overdue => (true, event(true, "LetGo", format!("the deadline has passed; this stays: {what}"))),
        Released::Failed(blocker) if overdue => {
            (true, event(true, "LetGo", format!("the deadline has passed; what was declared outside stays there: {}", blocker.message)))
        }
        Released::Remains(_) | Released::Failed(_) => (false, None),
    }
}

/// Tells what happened, and takes the finalizer off when it is time.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server does not answer.
pub async fn finish<K: crate::controller::Reconciled>(object: &K, context: &Context, released: Released, overdue: bool) -> Result<Progress, Error> {
    let (done, happened) = verdict(&released, overdue);
    if let Some(happened) = &happened {
        tracing::info!(kind = K::KIND, name = %crate::controller::object_name(object), reason = happened.reason, note = happened.note, "released");
        tell(object, happened, context).await;
    }
    if !done {
        tracing::info!(kind = K::KIND, name = %crate::controller::object_name(object), ?released, "not released yet");
        return Ok(Progress { ending: Ending::Waiting, reason: "Releasing", within: Some(std::time::Duration::from_secs(10)) });
    }
    finalizer::set(&context.client, object, false).await?;
    Ok(Progress { ending: Ending::Settled, reason: "Released", within: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizer_goes_when_all_is_dropped_or_nobody_can_be_asked_or_time_is_up() {
        let failed = Released::Failed(Blocker::transient("BrokerUnreachable", "no route"));
        for (released, overdue, expected) in [
            (Released::Dropped(DropReport { dropped: vec!["exchange x".to_owned()], kept: vec![] }), false, (true, Some("Dropped"))),
            (Released::Dropped(DropReport::default()), false, (true, Some("Released"))),
            (Released::Unreachable(Blocker::transient("SecretNotFound", "no Secret")), false, (true, Some("LetGo"))),
            (Released::Remains("queue x: 5 messages".to_owned()), false, (false, None)),
            (Released::Remains("queue x: 5 messages".to_owned()), true, (true, Some("LetGo"))),
            (failed.clone(), false, (false, None)),
            (failed, true, (true, Some("LetGo"))),
        ] {
            let (done, happened) = verdict(&released, overdue);
            assert_eq!((done, happened.as_ref().map(|happened| happened.reason.as_str())), expected, "{released:?} {overdue}");
        }
    }
}
