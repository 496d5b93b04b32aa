//! Release (I/O): drops the tables of a TickSink that is being deleted, and lets go when its time is up or there is nothing left to ask.

use tapekeeper_crds::TickSink;

use super::validate;
use crate::blocker::Blocker;
use crate::context::Context;
use crate::controller::{Progress, object_name};
use crate::error::Error;
use crate::external::database::DatabaseAdmin;
use crate::kubernetes::references::{self, SecretView};
use crate::pipeline::release::{Released, finish, outcome};

/// Releases a sink.
///
/// # Errors
/// [`Error::Kubernetes`] when the API server does not answer.
pub async fn release(sink: &TickSink, context: &Context, overdue: bool) -> Result<Progress, Error> {
    let namespace = object_name(sink).namespace;
    let secret = references::secret(&context.client, &namespace, &sink.spec.clickhouse.secret_ref.name).await?;
    let released = match secret {
        Err(blocker) => Released::Unreachable(blocker),
        Ok(secret) => drop_all(sink, &secret, context).await,
    };
    finish(sink, context, released, overdue).await
}

async fn drop_all(sink: &TickSink, secret: &SecretView, context: &Context) -> Released {
    let dropped = async {
        let credentials = secret.https()?;
        let admin = DatabaseAdmin::new(&credentials, context.tls(&credentials)?)?;
        let database = validate::database_of(&sink.spec)?;
        Ok::<_, Blocker>(context.timed("database", admin.drop_owned(&database, &object_name(sink))).await?)
    };
    outcome(dropped.await)
}
