use rosetta_proto::{Epoch, Lsn};

use crate::postgres::{Connection, PgError, Row, sqlstate};

/// What Rosetta keeps in a destination. One row a pipeline, destination and worker; locked by every
/// transaction that writes, so that it is fence and position at once.
const SCHEMA: &str = "
CREATE SCHEMA IF NOT EXISTS rosetta;
CREATE TABLE IF NOT EXISTS rosetta.checkpoint (
    pipeline text NOT NULL,
    destination text NOT NULL,
    worker int NOT NULL,
    epoch bigint NOT NULL,
    phase text NOT NULL,
    commit_lsn pg_lsn,
    source_system_id text NOT NULL,
    source_timeline int NOT NULL,
    source_database text NOT NULL,
    slot text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, destination, worker)
) WITH (fillfactor = 10);
CREATE TABLE IF NOT EXISTS rosetta.table_copy (
    pipeline text NOT NULL,
    destination text NOT NULL,
    target_table text NOT NULL,
    source_table text NOT NULL,
    snapshot_lsn pg_lsn NOT NULL,
    parts int NOT NULL,
    PRIMARY KEY (pipeline, destination, target_table)
);
CREATE TABLE IF NOT EXISTS rosetta.copy_mark (
    pipeline text NOT NULL,
    destination text NOT NULL,
    target_table text NOT NULL,
    part int NOT NULL,
    rows bigint NOT NULL,
    PRIMARY KEY (pipeline, destination, target_table, part)
);
CREATE TABLE IF NOT EXISTS rosetta.dead_letter (
    pipeline text NOT NULL,
    destination text NOT NULL,
    source_table text NOT NULL,
    commit_lsn pg_lsn NOT NULL,
    ordinal bigint NOT NULL,
    PRIMARY KEY (pipeline, destination, source_table, commit_lsn, ordinal)
);
COMMENT ON SCHEMA rosetta IS 'Positions of Rosetta pipelines. Deleting a row makes its pipeline lose its place.'";

const READ: &str = "SELECT worker, epoch, phase, commit_lsn, source_system_id, source_timeline, source_database, slot \
     FROM rosetta.checkpoint WHERE pipeline = $1 AND destination = $2 ORDER BY worker";

/// Whose checkpoint: one lane of one pipeline into one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub pipeline: String,
    pub destination: String,
    pub worker: usize,
}

/// Where a pipeline stands in its life at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Claimed; its slot may or may not have been made yet.
    New,
    /// The slot exists; the first copy goes on.
    Copying,
    /// Follows the stream.
    Streaming,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::New => "new",
            Phase::Copying => "copying",
            Phase::Streaming => "streaming",
        }
    }

    fn parse(text: &str) -> Result<Phase, PgError> {
        [Phase::New, Phase::Copying, Phase::Streaming]
            .into_iter()
            .find(|phase| phase.name() == text)
            .ok_or_else(|| PgError::protocol(format!("phase '{text}' in rosetta.checkpoint")))
    }
}

/// The source as it was when the position was taken: what must not change beneath a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub system_id: String,
    pub timeline: u32,
    pub database: String,
    pub slot: String,
}

/// The checkpoints of a pipeline at one destination, taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    pub phase: Phase,
    /// Where the position was taken.
    pub origin: Origin,
    /// By worker; `None` in phase `New`.
    pub positions: Vec<Option<Lsn>>,
}

/// Why a destination's checkpoints could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    #[error(transparent)]
    Postgres(#[from] PgError),
    #[error("another process took this pipeline over at the same instant")]
    Raced,
    #[error(
        "apply_workers was changed from {from} to {to}, but the workers stand at different positions: start once with \
         apply_workers = {from}, let it catch up, and stop it before the change"
    )]
    WorkersApart { from: usize, to: usize },
}

struct Stored {
    epoch: Epoch,
    phase: Phase,
    position: Option<Lsn>,
    origin: Origin,
}

/// Makes the tables of schema `rosetta` when they are not there.
///
/// # Errors
/// The destination's.
pub async fn install(connection: &mut Connection) -> Result<(), PgError> {
    let complete = "SELECT count(*) = 4 FROM pg_catalog.pg_tables WHERE schemaname = 'rosetta' \
                    AND tablename IN ('checkpoint', 'table_copy', 'copy_mark', 'dead_letter')";
    // IF NOT EXISTS does not hold against another session that creates at the same instant.
    for _ in 0..10 {
        if connection.simple(complete).await?.first().is_some_and(|row| row.is_true(0)) {
            return Ok(());
        }
        match connection.simple(&format!("BEGIN; {SCHEMA}; COMMIT")).await {
            Err(error) if error.code().is_some_and(|code| sqlstate::DUPLICATE_DATABASE_OBJECT.contains(&code)) => {
                connection.simple("ROLLBACK").await?;
            }
            Err(error) => {
                connection.simple("ROLLBACK").await?;
                return Err(error);
            }
            Ok(_) => return Ok(()),
        }
    }
    Err(PgError::protocol("schema rosetta keeps being created by others"))
}

/// The newest epoch of the pipeline at this destination, without a lock.
///
/// # Errors
/// The destination's.
pub async fn newest_epoch(connection: &mut Connection, pipeline: &str, destination: &str) -> Result<Epoch, PgError> {
    let rows = connection.query(READ, &[Some(pipeline), Some(destination)]).await?;
    let epochs = rows.iter().map(|row| row.parse(1).map(Epoch)).collect::<Result<Vec<_>, _>>()?;
    Ok(epochs.into_iter().max().unwrap_or(Epoch::NONE))
}

/// Takes away what is kept of a pipeline at this destination. Its rows stay.
///
/// # Errors
/// The destination's.
pub async fn forget(connection: &mut Connection, pipeline: &str, destination: &str) -> Result<(), PgError> {
    for table in ["copy_mark", "table_copy", "dead_letter", "checkpoint"] {
        let sql = format!("DELETE FROM rosetta.{table} WHERE pipeline = $1 AND destination = $2");
        match connection.query(&sql, &[Some(pipeline), Some(destination)]).await {
            // It never came as far as making the table, or its schema.
            Err(error) if error.code() == Some(sqlstate::UNDEFINED_TABLE) => {}
            result => drop(result?),
        }
    }
    Ok(())
}

/// Who takes a pipeline over, and where.
#[derive(Debug, Clone, Copy)]
pub struct Takeover<'a> {
    pub pipeline: &'a str,
    pub destination: &'a str,
    pub workers: usize,
    pub epoch: Epoch,
    /// The source as it is now.
    pub origin: &'a Origin,
}

/// Takes the pipeline's checkpoints at this destination over with the new epoch: from then on no older owner can
/// commit. Waits for a transaction of the old owner that is still open. Without checkpoints, makes them.
///
/// # Errors
/// The destination's; `Raced` when a newer owner was faster.
pub async fn take_over(connection: &mut Connection, wanted: &Takeover<'_>) -> Result<TakenOver, TakeoverError> {
    connection.simple("BEGIN").await?;
    let result = take_over_locked(connection, wanted).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.simple(end).await?;
    result
}

async fn take_over_locked(connection: &mut Connection, wanted: &Takeover<'_>) -> Result<TakenOver, TakeoverError> {
    let Takeover { pipeline, destination, workers, epoch, origin } = *wanted;
    let rows = connection.query(&format!("{READ} FOR UPDATE"), &[Some(pipeline), Some(destination)]).await?;
    let stored = rows.iter().map(Stored::read).collect::<Result<Vec<_>, _>>()?;
    if stored.iter().any(|row| row.epoch >= epoch) {
        return Err(TakeoverError::Raced);
    }
    let Some(first) = stored.first() else {
        let taken = TakenOver { phase: Phase::New, origin: origin.clone(), positions: vec![None; workers] };
        write(connection, wanted, &taken).await?;
        return Ok(taken);
    };
    let (phase, origin) = (first.phase, first.origin.clone());
    let mut positions: Vec<_> = stored.iter().map(|row| row.position).collect();
    if positions.len() != workers {
        if positions.iter().any(|position| *position != first.position) {
            return Err(TakeoverError::WorkersApart { from: positions.len(), to: workers });
        }
        positions = vec![first.position; workers];
    }
    let sql = "DELETE FROM rosetta.checkpoint WHERE pipeline = $1 AND destination = $2";
    connection.query(sql, &[Some(pipeline), Some(destination)]).await?;
    let taken = TakenOver { phase, origin, positions };
    write(connection, wanted, &taken).await?;
    Ok(taken)
}

async fn write(connection: &mut Connection, wanted: &Takeover<'_>, taken: &TakenOver) -> Result<(), TakeoverError> {
    let sql = "INSERT INTO rosetta.checkpoint (pipeline, destination, worker, epoch, phase, commit_lsn, \
               source_system_id, source_timeline, source_database, slot) \
               VALUES ($1, $2, $3::int, $4::bigint, $5, $6::pg_lsn, $7, $8::int, $9, $10) ON CONFLICT DO NOTHING RETURNING 1";
    let (epoch, timeline) = (wanted.epoch.to_string(), taken.origin.timeline.to_string());
    let origin = &taken.origin;
    for (worker, position) in taken.positions.iter().enumerate() {
        let (worker, position) = (worker.to_string(), position.map(|position| position.to_string()));
        let parameters = [
            Some(wanted.pipeline),
            Some(wanted.destination),
            Some(worker.as_str()),
            Some(epoch.as_str()),
            Some(taken.phase.name()),
            position.as_deref(),
            Some(origin.system_id.as_str()),
            Some(timeline.as_str()),
            Some(origin.database.as_str()),
            Some(origin.slot.as_str()),
        ];
        if connection.query(sql, &parameters).await?.is_empty() {
            return Err(TakeoverError::Raced);
        }
    }
    Ok(())
}

/// Records a new phase, position and origin for all lanes of the pipeline here, under the fence; false when
/// `epoch` is no longer theirs.
///
/// # Errors
/// The destination's.
pub async fn set_phase(
    connection: &mut Connection,
    lane: (&str, &str),
    epoch: Epoch,
    phase: Phase,
    position: Lsn,
    timeline: u32,
) -> Result<bool, PgError> {
    let sql = "UPDATE rosetta.checkpoint SET phase = $4, commit_lsn = $5::pg_lsn, source_timeline = $6::int, updated_at = now() \
               WHERE pipeline = $1 AND destination = $2 AND epoch = $3::bigint RETURNING 1";
    let (epoch, position, timeline) = (epoch.to_string(), position.to_string(), timeline.to_string());
    let parameters = [lane.0, lane.1, &epoch, phase.name(), &position, &timeline].map(Some);
    Ok(!connection.query(sql, &parameters).await?.is_empty())
}

/// Ends sessions of older epochs of this pipeline in this destination: a stopped process may hold the
/// checkpoint's row in an open transaction that nothing else would end.
///
/// # Errors
/// The destination's.
pub async fn end_older_sessions(connection: &mut Connection, pipeline: &str, epoch: Epoch) -> Result<(), PgError> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
               WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() \
               AND application_name ~ '^rosetta:[0-9]+:' \
               AND pg_catalog.split_part(application_name, ':', 3) = $1 \
               AND pg_catalog.split_part(application_name, ':', 2)::bigint < $2::bigint \
               AND pg_catalog.split_part(application_name, ':', 2)::bigint > 0";
    connection.query(sql, &[Some(pipeline), Some(&epoch.to_string())]).await?;
    Ok(())
}

impl Stored {
    fn read(row: &Row) -> Result<Stored, PgError> {
        Ok(Stored {
            epoch: Epoch(row.parse(1)?),
            phase: Phase::parse(row.text(2)?)?,
            position: row.get(3).map(|_| row.parse(3)).transpose()?,
            origin: Origin {
                system_id: row.text(4)?.to_owned(),
                timeline: row.parse(5)?,
                database: row.text(6)?.to_owned(),
                slot: row.text(7)?.to_owned(),
            },
        })
    }
}
