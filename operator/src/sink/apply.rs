//! Apply (I/O): brings the tables to the plan, then the batchers. Without a plan the last known good keeps running.

use super::plan::Planned;
use super::resolve::Resolved;
use super::validate::ValidSink;
use crate::blocker::Blocker;
use crate::context::Context;
use crate::external::database::{DatabaseAdmin, DatabaseError, DatabaseReport, TableFigures};
use crate::workload::{Outcome, apply};

/// What became of a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// What was done to the tables, why it could not be, or nothing when there was no plan.
    pub schema: Option<Result<DatabaseReport, Blocker>>,
    /// Rows and bytes, when the database told.
    pub figures: Option<Vec<TableFigures>>,
    /// What became of the batchers.
    pub workload: Outcome,
}

/// Brings a sink to its plan, or keeps what runs.
pub async fn apply(context: &Context, planned: Option<(&ValidSink, &Planned)>, resolved: &Resolved, owner_uid: &str, paused: bool) -> Applied {
    let (Some((sink, planned)), Ok(pipeline)) = (planned, &resolved.pipeline) else {
        return Applied { schema: None, figures: None, workload: apply::keep(&context.client, &resolved.live, owner_uid, paused).await };
    };
    let (schema, figures) = match converge(context, sink, planned).await {
        Ok((report, figures)) => (Ok(report), figures),
        Err(blocker) => (Err(blocker), None),
    };
    let gate = pipeline
        .topology
        .clone()
        .and_then(|()| schema.as_ref().map(drop).map_err(|_| Blocker::transient("SchemaNotReady", "the batchers wait for the tables")));
    let workload = apply::apply(&context.client, &planned.workload, &resolved.live, owner_uid, &gate).await;
    Applied { schema: Some(schema), figures, workload }
}

async fn converge(context: &Context, sink: &ValidSink, planned: &Planned) -> Result<(DatabaseReport, Option<Vec<TableFigures>>), Blocker> {
    let admin = DatabaseAdmin::new(&sink.credentials, context.tls(&sink.credentials)?)?;
    let report = context.timed("database", admin.converge(&planned.schema)).await?;
    for statement in &report.applied {
        tracing::info!(sink = %sink.name, object = statement.object, what = statement.what, "the database was put right");
    }
    let figures = context.timed("database", admin.figures(&sink.database)).await;
    Ok((report, figures.inspect_err(|error| tracing::warn!(sink = %sink.name, %error, "the database told no figures")).ok()))
}

impl From<DatabaseError> for Blocker {
    fn from(error: DatabaseError) -> Self {
        Self { reason: error.reason(), message: error.to_string(), permanent: error.is_permanent() }
    }
}
