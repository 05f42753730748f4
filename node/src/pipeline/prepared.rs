//! A destination before the pipeline writes to it: reached, writable, with tables that fit.

use rosetta_proto::Epoch;

use super::{
    PipelineError,
    job::{Job, JobDestination},
    selection::Selected,
};
use crate::{
    config::SnapshotMode,
    destination::postgres::{checkpoint, open_session},
    postgres::{Connection, PgError, PgUrl, literal},
    schema::{self, TableName, TargetTable},
    snapshot::CopyError,
};

/// Tables that one query looks into.
const TABLES_PER_QUERY: usize = 500;

/// A PostgreSQL destination whose tables fit, with what leads where.
pub(super) struct Prepared {
    pub(super) name: String,
    pub(super) url: PgUrl,
    pub(super) session: Connection,
    /// The newest epoch that its checkpoints hold.
    pub(super) known: Epoch,
    pub(super) tables: Vec<(usize, TargetTable)>,
}

impl Prepared {
    /// The destination as messages call it.
    pub(super) fn label(&self) -> String {
        label(&self.name, &self.url)
    }

    /// Reads anew what another owner may have changed since.
    pub(super) async fn refresh(&mut self, pipeline: &str) -> Result<(), PipelineError> {
        let known = checkpoint::newest_epoch(&mut self.session, pipeline, &self.name).await;
        self.known = known.map_err(|error| PipelineError::destination(&self.label(), error))?;
        Ok(())
    }
}

pub(super) async fn prepare_destination(
    job: &Job,
    source: &mut Connection,
    destination: &JobDestination,
    url: &PgUrl,
    selected: &[Selected],
) -> Result<Prepared, PipelineError> {
    let server = label(&destination.name, url);
    let failed = |error| PipelineError::destination(&server, error);
    let mut session = open_session(url, &job.application_name(Epoch::NONE)).await.map_err(failed)?;
    let read_only =
        session.simple("SELECT pg_catalog.current_setting('transaction_read_only')").await.map_err(failed)?;
    if read_only.first().and_then(|row| row.get(0)) == Some("on") {
        return Err(PipelineError::Refused(format!(
            "destination {server} is read-only: is it a standby, or is default_transaction_read_only on?"
        )));
    }
    checkpoint::install(&mut session).await.map_err(failed)?;
    let known =
        checkpoint::newest_epoch(&mut session, &job.definition.name, &destination.name).await.map_err(failed)?;
    let mut wanted = Vec::new();
    let mut indexes = Vec::new();
    for (index, table) in selected.iter().enumerate() {
        for route in table.routes.iter().filter(|route| route.destination == destination.name) {
            wanted.push(table.wanted(route));
            indexes.push(index);
        }
    }
    let tables = Box::pin(schema::prepare(source, &mut session, &wanted)).await?;
    for warning in tables.iter().flat_map(|table| &table.warnings) {
        tracing::warn!(destination = destination.name, "{warning}");
    }
    if known == Epoch::NONE && job.definition.snapshot == SnapshotMode::Initial {
        refuse_rows(&mut session, &tables)
            .await
            .map_err(failed)?
            .map_or(Ok(()), |refusal| Err(PipelineError::Refused(refusal)))?;
    }
    let tables = indexes.into_iter().zip(tables).collect();
    Ok(Prepared { name: destination.name.clone(), url: url.clone(), session, known, tables })
}

fn label(name: &str, url: &PgUrl) -> String {
    format!("{name} ({}@{})", url.user, url.server())
}

/// Copying into tables that hold rows would double them, or fail on them.
async fn refuse_rows(session: &mut Connection, tables: &[TargetTable]) -> Result<Option<String>, PgError> {
    for tables in tables.chunks(TABLES_PER_QUERY) {
        let has_rows = |table: &TargetTable| {
            let name = TableName::new(&*table.target_schema, &*table.target_name);
            format!("SELECT {} WHERE EXISTS (SELECT FROM {})", literal(&name.to_string()), name.sql())
        };
        let sql = tables.iter().map(has_rows).collect::<Vec<_>>().join(" UNION ALL ");
        if let Some(row) = session.simple(&format!("{sql} LIMIT 1")).await?.first() {
            return Ok(Some(CopyError::NotEmpty { target: row.text(0)?.to_owned() }.to_string()));
        }
    }
    Ok(None)
}
