//! The stream and the lanes of a pipeline that has reached its stream.

use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use rosetta_proto::{Epoch, Lsn};
use tokio::time::{Instant, sleep};

use super::{
    PipelineError,
    away::{self, Spills},
    claim::Claim,
    follow::LaneStart,
    intake::{Catalog, CatalogTable},
    job::Job,
    lane::Role,
    letters,
    prepared::Prepared,
    replaying::Replaying,
    selection::{self, Selected},
    spill::Spiller,
};
use crate::{
    destination::{
        Destination,
        null::Null,
        postgres::{Format, Lane, Target, TargetColumn, Writer, open_session},
    },
    postgres::{Connection, Session, qualified, sqlstate},
    schema::{self, TargetTable, Transfer},
    snapshot::{CopyOwner, stream_starts},
    source::{slot, stream::ReplicationStream},
};

/// For the walsender of an owner that was just ended to let go of the slot.
const SLOT_RELEASE: Duration = Duration::from_secs(15);

/// Values travel in binary only when every column of every table may; it is one option for the whole stream.
pub(super) fn is_binary(prepared: &[Prepared]) -> bool {
    let columns = prepared.iter().flat_map(|destination| &destination.tables).flat_map(|(_, table)| &table.columns);
    columns.into_iter().all(|column| column.transfer == Transfer::Binary)
}

pub(super) async fn start_stream(
    job: &Job,
    source: &mut Connection,
    epoch: Epoch,
    position: Lsn,
    publications: &[String],
    binary: bool,
) -> Result<ReplicationStream, PipelineError> {
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let slot = &job.definition.slot;
    let deadline = Instant::now() + SLOT_RELEASE;
    loop {
        let session = Session::replication(job.application_name(epoch));
        let replication = Connection::connect(&job.source, &session).await.map_err(failed)?;
        match ReplicationStream::start(replication, slot, position, publications, binary).await {
            Err(error) if error.code() == Some(sqlstate::OBJECT_IN_USE) && Instant::now() < deadline => {
                slot::end_older_reader(source, slot, epoch.0).await.map_err(failed)?;
                // The only sign that the server gives is that the next try succeeds.
                sleep(Duration::from_millis(50)).await;
            }
            result => return result.map_err(failed),
        }
    }
}

pub(super) async fn open_lanes(
    job: &Job,
    prepared: Vec<Prepared>,
    claim: &Claim,
    positions: &[Vec<Lsn>],
    (spills, selected): (&Spills, &[Selected]),
    binary: bool,
) -> Result<Vec<LaneStart>, PipelineError> {
    let format = if binary { Format::Binary } else { Format::Text };
    let mut lanes = Vec::new();
    for (mut destination, positions) in prepared.into_iter().zip(positions) {
        let (pipeline, name) = (job.definition.name.clone(), destination.name.clone());
        let owner = CopyOwner { pipeline, destination: name, epoch: claim.epoch };
        let server = destination.label();
        let failed = |error| PipelineError::destination(&server, error);
        let starts = stream_starts(&mut destination.session, &owner).await.map_err(failed)?;
        let mut parked = letters::find(job, &mut destination, claim, positions, binary).await?;
        let mut session = Some(destination.session);
        for (worker, position) in positions.iter().enumerate() {
            let targets = targets(&destination.tables, &starts, (worker, positions.len()));
            let connection = match session.take() {
                Some(session) => session,
                None => open_session(&destination.url, &job.application_name(claim.epoch)).await.map_err(failed)?,
            };
            let lane = Lane { pipeline: owner.pipeline.clone(), destination: owner.destination.clone(), worker };
            let mut writer = Writer::new(connection, lane, claim.epoch, format, targets, *position);
            writer.prepare().await?;
            let recovery = parked.next().map(|found| found.attach(&mut writer));
            let name = owner.destination.clone();
            let spill = spills.find(&name, worker).filter(|spill| spill.end > *position);
            let parts = away::spiller_parts(job, &name, worker, claim.epoch, selected, binary);
            let (position, role) = match (spill, recovery, parts) {
                (Some(spill), Some(recovery), Some(parts)) => {
                    let spiller = Spiller::new(parts, Some(spill), spill.end);
                    let replaying = Replaying::new(writer, recovery, spiller, *position, format);
                    (spill.end, Role::Replaying(Box::new(replaying)))
                }
                (_, recovery, _) => {
                    let destination = Destination::Postgres(Box::new(writer));
                    (*position, Role::Live { destination, recovery })
                }
            };
            lanes.push(LaneStart { worker, destination: name, position, role });
        }
    }
    let start = positions.iter().flatten().copied().min().unwrap_or_default();
    for counted in job.destinations.iter().filter(|destination| destination.url.is_none()) {
        for worker in 0..job.definition.apply_workers {
            let role = Role::Live { destination: Destination::Null(Null::at(start)), recovery: None };
            lanes.push(LaneStart { worker, destination: counted.name.clone(), position: start, role });
        }
    }
    Ok(lanes)
}

/// The targets of the tables that belong to this worker of so many.
fn targets(
    tables: &[(usize, TargetTable)],
    starts: &HashMap<String, Lsn>,
    (worker, workers): (usize, usize),
) -> Vec<Target> {
    let target = |table: &TargetTable| {
        let table_sql = qualified(&table.target_schema, &table.target_name);
        let column = |column: &schema::TargetColumn| TargetColumn {
            name: column.name.clone(),
            type_sql: column.cast_sql.clone(),
            source_type_oid: column.source_type_oid,
            type_oid: column.type_oid,
            is_array: column.is_array,
            identity_always: column.identity_always,
        };
        Target {
            source_oid: table.source_oid,
            start: starts.get(&table_sql).copied().unwrap_or_default(),
            table_sql,
            columns: table.columns.iter().map(column).collect(),
            is_projection: table.is_projection,
        }
    };
    let is_mine = |table: &&TargetTable| selection::worker_of(&table.source_name, workers) == worker;
    tables.iter().map(|(_, table)| table).filter(is_mine).map(target).collect()
}

pub(super) fn catalog(job: &Job, selected: &[Selected]) -> Catalog {
    let mut tables = HashMap::new();
    for selected in selected {
        let worker = selection::worker_of(&selected.table.table_name(), job.definition.apply_workers);
        // A deferrable primary key is not among the indexes: inside a transaction two rows may have one key.
        let primary = selected.table.unique_indexes.iter().find(|index| index.is_primary);
        let primary_key = primary.map(|index| index.columns.clone()).unwrap_or_default();
        let entry = CatalogTable { primary_key, worker };
        tables.insert(selected.table.oid, entry);
    }
    Catalog { tables }
}
