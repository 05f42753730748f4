use rosetta_proto::{Epoch, Lsn};

use crate::postgres::{Connection, PgError, sqlstate};

/// What Rosetta keeps in a destination. One row a pipeline, destination and worker; locked by every
/// transaction that writes, so that it is fence and position at once.
const SCHEMA: &str = "
CREATE SCHEMA IF NOT EXISTS rosetta;
CREATE TABLE IF NOT EXISTS rosetta.checkpoint (
    pipeline text NOT NULL,
    destination text NOT NULL,
    worker int NOT NULL,
    workers int NOT NULL,
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
    source_table text NOT NULL,
    target_table text NOT NULL,
    snapshot_lsn pg_lsn NOT NULL,
    parts int NOT NULL,
    is_complete boolean NOT NULL DEFAULT false,
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
COMMENT ON SCHEMA rosetta IS 'Positions of Rosetta pipelines. Deleting a row makes its pipeline lose its place.'";

/// Whose checkpoint: one lane of one pipeline into one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub pipeline: String,
    pub destination: String,
    pub worker: usize,
    /// How many lanes share the pipeline's tables.
    pub workers: usize,
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

/// A checkpoint as it stands in the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub epoch: Epoch,
    pub phase: Phase,
    pub commit_lsn: Option<Lsn>,
    pub origin: Origin,
    pub workers: usize,
}

/// Makes the tables of schema `rosetta` when they are not there.
pub async fn install(connection: &mut Connection) -> Result<(), PgError> {
    let complete = "SELECT count(*) = 3 FROM pg_catalog.pg_tables WHERE schemaname = 'rosetta' \
                    AND tablename IN ('checkpoint', 'table_copy', 'copy_mark')";
    if connection.simple(complete).await?.first().is_some_and(|row| row.is_true(0)) {
        return Ok(());
    }
    // IF NOT EXISTS does not hold against another session that creates at the same instant.
    for _ in 0..5 {
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

/// The checkpoint of `lane`, without a lock.
pub async fn read(connection: &mut Connection, lane: &Lane) -> Result<Option<Checkpoint>, PgError> {
    let sql = "SELECT epoch, phase, commit_lsn, source_system_id, source_timeline, source_database, slot, workers \
               FROM rosetta.checkpoint WHERE pipeline = $1 AND destination = $2 AND worker = $3::int";
    let worker = lane.worker.to_string();
    let rows = connection.query(sql, &[Some(&lane.pipeline), Some(&lane.destination), Some(&worker)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Checkpoint {
        epoch: Epoch(row.parse(0)?),
        phase: Phase::parse(row.text(1)?)?,
        commit_lsn: row.get(2).map(|_| row.parse(2)).transpose()?,
        origin: Origin {
            system_id: row.text(3)?.to_owned(),
            timeline: row.parse(4)?,
            database: row.text(5)?.to_owned(),
            slot: row.text(6)?.to_owned(),
        },
        workers: row.parse(7)?,
    }))
}

/// Writes the first row of `lane`, in phase `new`; false when another process was faster.
pub async fn create(connection: &mut Connection, lane: &Lane, epoch: Epoch, origin: &Origin) -> Result<bool, PgError> {
    let sql = "INSERT INTO rosetta.checkpoint (pipeline, destination, worker, workers, epoch, phase, \
               source_system_id, source_timeline, source_database, slot) \
               VALUES ($1, $2, $3::int, $4::int, $5::bigint, 'new', $6, $7::int, $8, $9) ON CONFLICT DO NOTHING RETURNING 1";
    let (worker, workers) = (lane.worker.to_string(), lane.workers.to_string());
    let (epoch, timeline) = (epoch.to_string(), origin.timeline.to_string());
    let parameters = [
        &lane.pipeline, &lane.destination, &worker, &workers, &epoch, &origin.system_id, &timeline, &origin.database, &origin.slot,
    ]
    .map(|parameter| Some(parameter.as_str()));
    Ok(!connection.query(sql, &parameters).await?.is_empty())
}

/// Takes the lane over from epoch `from`; false when another process was faster. Waits for a transaction
/// of the old owner that is still open, at most `lock_timeout` of this session.
pub async fn claim(connection: &mut Connection, lane: &Lane, from: Epoch, to: Epoch) -> Result<bool, PgError> {
    let sql = "UPDATE rosetta.checkpoint SET epoch = $5::bigint, updated_at = now() \
               WHERE pipeline = $1 AND destination = $2 AND worker = $3::int AND epoch = $4::bigint RETURNING 1";
    let (worker, from, to) = (lane.worker.to_string(), from.to_string(), to.to_string());
    let parameters = [&lane.pipeline, &lane.destination, &worker, &from, &to].map(|parameter| Some(parameter.as_str()));
    Ok(!connection.query(sql, &parameters).await?.is_empty())
}

/// Records a new phase and position under the fence; false when this session no longer owns the lane.
pub async fn set_phase(
    connection: &mut Connection,
    lane: &Lane,
    epoch: Epoch,
    phase: Phase,
    position: Lsn,
) -> Result<bool, PgError> {
    let sql = "UPDATE rosetta.checkpoint SET phase = $5, commit_lsn = $6::pg_lsn, workers = $7::int, updated_at = now() \
               WHERE pipeline = $1 AND destination = $2 AND worker = $3::int AND epoch = $4::bigint RETURNING 1";
    let (worker, workers) = (lane.worker.to_string(), lane.workers.to_string());
    let (epoch, position) = (epoch.to_string(), position.to_string());
    let parameters = [
        lane.pipeline.as_str(), &lane.destination, &worker, &epoch, phase.name(), &position, &workers,
    ]
    .map(Some);
    Ok(!connection.query(sql, &parameters).await?.is_empty())
}

/// Ends sessions of older epochs of this pipeline in this destination: a stopped process may hold the
/// checkpoint's row in an open transaction that nothing else would end.
pub async fn end_older_sessions(connection: &mut Connection, pipeline: &str, owner: Epoch) -> Result<(), PgError> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
               WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() \
               AND application_name ~ '^rosetta:[0-9]+:' \
               AND pg_catalog.split_part(application_name, ':', 3) = $1 \
               AND pg_catalog.split_part(application_name, ':', 2)::bigint <= $2::bigint";
    connection.query(sql, &[Some(pipeline), Some(&owner.to_string())]).await?;
    Ok(())
}
