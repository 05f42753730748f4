use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rosetta_proto::Lsn;
use tokio::task::JoinSet;

use super::{
    marks::{self, CopyOwner, TargetCopy},
    plan::{CopyTable, Part, parts, table_parts},
};
use crate::{
    destination::postgres::open_session,
    pipeline::status::Status,
    postgres::{Connection, PgError, PgUrl, ServerError, Session, literal, next_frame},
};

/// Bytes that are gathered before they are sent on.
const SEND_AT: usize = 256 * 1024;

/// The first copy of a pipeline into one destination.
#[derive(Clone)]
pub struct CopyJob {
    pub owner: CopyOwner,
    pub source: PgUrl,
    pub destination: PgUrl,
    /// An exported snapshot that lives as long as the session that exported it.
    pub snapshot: String,
    /// The stream begins here for what is copied now.
    pub snapshot_lsn: Lsn,
    /// Pairs of connections.
    pub jobs: usize,
    pub status: Arc<Status>,
}

/// Why a copy stopped; what is marked as copied stays so.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("source {server}: {error}")]
    Source { server: String, error: PgError },
    #[error("destination {server}: {error}")]
    Destination { server: String, error: PgError },
    #[error(
        "destination table {target} has rows already, which this pipeline did not copy: empty it, or use snapshot = \"never\" \
         if they are the right ones"
    )]
    NotEmpty { target: String },
    #[error("another process has taken this pipeline over")]
    Fenced,
    #[error("a copy task ended abnormally: {0}")]
    Task(String),
}

/// Copies what is not complete yet; each table from the snapshot given, or not at all.
///
/// # Errors
/// The first failure; complete tables stay.
pub async fn copy_all(job: &CopyJob, tables: Vec<CopyTable>) -> Result<(), CopyError> {
    let pending = prepare(job, tables).await?;
    let parts = parts(&pending);
    let left = (0..pending.len()).map(|table| parts.iter().filter(|part| part.table == table).count());
    let left = left.map(AtomicUsize::new).collect();
    let queue = Arc::new(Queue { parts, left, next: AtomicUsize::new(0), tables: pending });
    let mut workers = JoinSet::new();
    for _ in 0..job.jobs.min(queue.parts.len()) {
        workers.spawn(copy_parts(job.clone(), Arc::clone(&queue)));
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| CopyError::Task(error.to_string()))??;
    }
    Ok(())
}

struct Queue {
    tables: Vec<CopyTable>,
    parts: Vec<Part>,
    /// Parts of each table that are not copied yet.
    left: Vec<AtomicUsize>,
    next: AtomicUsize,
}

/// Empties what an interrupted copy left, checks that the rest is empty, and returns what is to be copied.
async fn prepare(job: &CopyJob, tables: Vec<CopyTable>) -> Result<Vec<CopyTable>, CopyError> {
    let failed = |error| CopyError::Destination { server: job.destination.server(), error };
    let mut connection = destination_session(job).await?;
    let known = marks::read(&mut connection, &job.owner).await.map_err(failed)?;
    connection.simple("BEGIN").await.map_err(failed)?;
    if !marks::guard(&mut connection, &job.owner).await.map_err(failed)? {
        return Err(CopyError::Fenced);
    }
    let mut pending = Vec::new();
    let (mut complete, total) = (0, tables.len() as u64);
    for table in tables {
        let state = known.get(&table.target_sql);
        if state.is_some_and(TargetCopy::is_complete) {
            complete += 1;
            continue;
        }
        begin_table(job, &mut connection, &table, state).await?;
        pending.push(table);
    }
    connection.simple("COMMIT").await.map_err(failed)?;
    connection.close().await;
    job.status.update(|figures| {
        figures.tables = total;
        figures.tables_copied = complete;
    });
    Ok(pending)
}

async fn begin_table(
    job: &CopyJob,
    connection: &mut Connection,
    table: &CopyTable,
    state: Option<&TargetCopy>,
) -> Result<(), CopyError> {
    let failed = |error| CopyError::Destination { server: job.destination.server(), error };
    let target = &table.target_sql;
    if state.is_some() {
        connection.simple(&format!("DELETE FROM {target}")).await.map_err(failed)?;
    } else if !connection.simple(&format!("SELECT 1 FROM {target} LIMIT 1")).await.map_err(failed)?.is_empty() {
        return Err(CopyError::NotEmpty { target: table.target_name.clone() });
    }
    let count = table_parts(0, table).len();
    marks::begin(connection, &job.owner, target, &table.source_name, job.snapshot_lsn, count).await.map_err(failed)
}

/// One pair of connections takes parts until none are left.
async fn copy_parts(job: CopyJob, queue: Arc<Queue>) -> Result<(), CopyError> {
    let source_failed = |error| CopyError::Source { server: job.source.server(), error };
    let mut source =
        Connection::connect(&job.source, &Session::sql(application_name(&job))).await.map_err(source_failed)?;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ";
    source.simple(&format!("{begin}{}", literal(&job.snapshot))).await.map_err(source_failed)?;
    let mut destination = destination_session(&job).await?;
    while let Some(part) = queue.parts.get(queue.next.fetch_add(1, Ordering::Relaxed)) {
        let Some(table) = queue.tables.get(part.table) else { continue };
        copy_part(&job, &mut source, &mut destination, table, part).await?;
        if queue.left.get(part.table).is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) == 1) {
            job.status.update(|figures| figures.tables_copied += 1);
        }
    }
    source.close().await;
    destination.close().await;
    Ok(())
}

/// Moves one part: rows and mark in one transaction, under the fence.
async fn copy_part(
    job: &CopyJob,
    source: &mut Connection,
    destination: &mut Connection,
    table: &CopyTable,
    part: &Part,
) -> Result<(), CopyError> {
    let failed = |error| CopyError::Destination { server: job.destination.server(), error };
    destination.simple("BEGIN").await.map_err(failed)?;
    if !marks::guard(destination, &job.owner).await.map_err(failed)? {
        return Err(CopyError::Fenced);
    }
    let format = if table.binary { "binary" } else { "text" };
    let columns = table.columns_sql.join(", ");
    let copy_in = format!("COPY {} ({columns}) FROM STDIN (FORMAT {format})", table.target_sql);
    destination.start_copy(&copy_in).await.map_err(failed)?;
    source
        .start_copy(&part.copy_out)
        .await
        .map_err(|error| CopyError::Source { server: job.source.server(), error })?;
    let counted = pipe(job, source, destination).await?;
    let rows = destination.finish_copy_in().await.map_err(failed)?;
    // A binary COPY has a message more than rows: its end.
    job.status.update(|figures| figures.rows_copied = (figures.rows_copied + rows).saturating_sub(counted));
    marks::record(destination, &job.owner, &table.target_sql, part.number, rows).await.map_err(failed)?;
    destination.simple("COMMIT").await.map_err(failed)?;
    Ok(())
}

/// Hands CopyData messages on as they are, many at a time; returns how many.
async fn pipe(job: &CopyJob, source: &mut Connection, destination: &mut Connection) -> Result<u64, CopyError> {
    let source_failed = |error| CopyError::Source { server: job.source.server(), error };
    let destination_failed = |error| CopyError::Destination { server: job.destination.server(), error };
    let mut failure = None;
    let mut total = 0;
    loop {
        let (mut at, mut rows, mut run) = (0, 0, 0);
        let mut is_ready = false;
        let received = source.received();
        while let Some(frame) = next_frame(received, at).map_err(source_failed)? {
            let body = received.get(frame.body.clone()).unwrap_or_default();
            if frame.tag != b'd' {
                // Only data is handed on; it comes in one run, the end after it.
                destination.out().extend_from_slice(received.get(run..at).unwrap_or_default());
                run = frame.end();
            }
            match frame.tag {
                b'd' => rows += 1,
                b'E' => failure = Some(PgError::Server(Box::new(ServerError::parse(body)))),
                b'Z' => is_ready = true,
                _ => {}
            }
            at = frame.end();
        }
        destination.out().extend_from_slice(received.get(run..at).unwrap_or_default());
        source.consume(at);
        total += rows;
        job.status.update(|figures| figures.rows_copied += rows);
        if is_ready {
            return failure.map_or(Ok(total), |error| Err(source_failed(error)));
        }
        if destination.out().len() >= SEND_AT {
            destination.flush().await.map_err(destination_failed)?;
        }
        source.fill().await.map_err(source_failed)?;
    }
}

async fn destination_session(job: &CopyJob) -> Result<Connection, CopyError> {
    open_session(&job.destination, &application_name(job))
        .await
        .map_err(|error| CopyError::Destination { server: job.destination.server(), error })
}

fn application_name(job: &CopyJob) -> String {
    format!("rosetta:{}:{}", job.owner.epoch, job.owner.pipeline)
}
