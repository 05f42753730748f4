//! From a claim to the stream: the slot is made, and what the tables hold is copied.

use rosetta_proto::Lsn;

use super::{
    PipelineError,
    claim::Claim,
    job::Job,
    prepared::Prepared,
    selection::{self, Selected},
    status::State,
};
use crate::{
    config::SnapshotMode,
    destination::postgres::{Phase, checkpoint},
    postgres::{Connection, Session, ident, qualified},
    schema::{TargetTable, Transfer},
    snapshot::{CopyJob, CopyOwner, CopyTable, Piece, are_complete, copy_all},
    source::{
        publication,
        slot::{self, NewSlot, Slot},
    },
};

/// Pairs of connections that copy side by side.
const COPY_JOBS: usize = 4;

/// The lanes' positions, by destination and worker, once every destination is in phase `streaming`:
/// the slot is made and tables are copied where that was not done yet.
pub(super) async fn reach_stream(
    job: &Job,
    source: &mut Connection,
    prepared: &mut [Prepared],
    claim: &Claim,
    selected: &[Selected],
    (publications, all_are_here): (&[String], bool),
) -> Result<Vec<Vec<Lsn>>, PipelineError> {
    let name = &job.definition.slot;
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let found = slot::find(source, name).await.map_err(failed)?;
    // A destination that is away may need the slot as it is.
    let is_new = all_are_here && claim.taken.iter().all(|taken| taken.phase == Phase::New);
    let session = Session::replication(job.application_name(claim.epoch));
    let mut replication = Connection::connect(&job.source, &session).await.map_err(failed)?;
    let mut begin = found.as_ref().and_then(|slot| slot.confirmed);
    let mut snapshot = None;
    if is_new && let Some(made) = make_slot(job, source, &mut replication, claim, found.as_ref(), publications).await? {
        begin = Some(made.consistent_point);
        snapshot = Some(made);
    }
    let begin = begin.ok_or_else(|| PipelineError::Internal(format!("slot {name} has no position")))?;
    let mut positions = Vec::new();
    let lacking = lacking_copies(job, prepared, claim).await?;
    if lacking.contains(&true) {
        let snapshot = match snapshot {
            Some(made) => made,
            // The snapshot of the first try is gone with its session; what is left is copied from a new one.
            None => slot::create(&mut replication, &temporary_name(name), true, true).await.map_err(failed)?,
        };
        for ((destination, taken), is_lacking) in prepared.iter_mut().zip(&claim.taken).zip(lacking) {
            if taken.phase != Phase::Streaming {
                enter(
                    destination,
                    job,
                    claim,
                    Phase::Copying,
                    taken.positions.first().copied().flatten().unwrap_or(begin),
                )
                .await?;
            }
            if is_lacking {
                Box::pin(copy(job, source, destination, claim, selected, &snapshot)).await?;
            }
        }
    }
    replication.close().await;
    for (destination, taken) in prepared.iter_mut().zip(&claim.taken) {
        let here: Vec<Lsn> = taken.positions.iter().map(|position| position.unwrap_or(begin)).collect();
        if taken.phase != Phase::Streaming {
            enter(destination, job, claim, Phase::Streaming, here.first().copied().unwrap_or(begin)).await?;
        }
        positions.push(here);
    }
    if positions.is_empty() {
        positions.push(vec![begin; job.definition.apply_workers]);
    }
    Ok(positions)
}

/// Which destinations lack the copy of a table: all of a new pipeline's, and those of a pipeline whose file
/// names more tables than before.
async fn lacking_copies(job: &Job, prepared: &mut [Prepared], claim: &Claim) -> Result<Vec<bool>, PipelineError> {
    let mut lacking = Vec::new();
    for destination in prepared {
        let targets = destination.tables.iter().map(|(_, table)| qualified(&table.target_schema, &table.target_name));
        let targets: Vec<_> = targets.collect();
        let (pipeline, name) = (job.definition.name.clone(), destination.name.clone());
        let owner = CopyOwner { pipeline, destination: name, epoch: claim.epoch };
        let is_complete = are_complete(&mut destination.session, &owner, &targets)
            .await
            .map_err(|error| PipelineError::destination(&destination.label(), error))?;
        lacking.push(job.definition.snapshot == SnapshotMode::Initial && !is_complete);
    }
    Ok(lacking)
}

fn temporary_name(slot: &str) -> String {
    format!("{}_copy", slot.get(..slot.len().min(50)).unwrap_or(slot))
}

/// Makes the slot of a new pipeline; None when one is there that may be used as it is.
async fn make_slot(
    job: &Job,
    source: &mut Connection,
    replication: &mut Connection,
    claim: &Claim,
    found: Option<&Slot>,
    publications: &[String],
) -> Result<Option<NewSlot>, PipelineError> {
    let name = &job.definition.slot;
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let copies = job.definition.snapshot == SnapshotMode::Initial && !claim.taken.is_empty();
    if let Some(slot) = found {
        if !copies {
            return Ok(None);
        }
        // No destination records a position, yet each records the claim, which is only made while there is
        // no such slot: a try of ours made it and ended before its position was recorded.
        if slot.is_active {
            slot::end_older_reader(source, name, claim.epoch.0).await.map_err(failed)?;
        }
        slot::drop_slot(source, name).await.map_err(failed)?;
    }
    match slot::create(replication, name, false, copies).await {
        Ok(made) => Ok(Some(made)),
        Err(error) => {
            abandon_publications(job, source, publications).await;
            Err(failed(error))
        }
    }
}

/// A publication that no slot of ours reads is not left behind.
async fn abandon_publications(job: &Job, source: &mut Connection, publications: &[String]) {
    if job.definition.publication.is_some() {
        return;
    }
    let ours = "SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name LIKE 'rosetta\\_%' \
                AND database = pg_catalog.current_database()";
    if source.simple(ours).await.is_ok_and(|rows| rows.is_empty()) {
        for publication in publications {
            let _ = publication::drop_publication(source, publication).await;
        }
    }
}

async fn enter(
    destination: &mut Prepared,
    job: &Job,
    claim: &Claim,
    phase: Phase,
    position: Lsn,
) -> Result<(), PipelineError> {
    let lane = (job.definition.name.as_str(), destination.name.as_str());
    let timeline = claim.origin.timeline;
    let owned = checkpoint::set_phase(&mut destination.session, lane, claim.epoch, phase, position, timeline)
        .await
        .map_err(|error| PipelineError::destination(&destination.label(), error))?;
    if owned { Ok(()) } else { Err(PipelineError::fenced("another process has taken this pipeline over".to_owned())) }
}

async fn copy(
    job: &Job,
    source: &mut Connection,
    destination: &mut Prepared,
    claim: &Claim,
    selected: &[Selected],
    snapshot: &NewSlot,
) -> Result<(), PipelineError> {
    job.status.update(|figures| figures.state = State::Copying);
    let mut tables = Vec::new();
    for (index, target) in &destination.tables {
        if let Some(table) = selected.get(*index) {
            tables.push(copy_table(job, source, table, target).await?);
        }
    }
    let (pipeline, name) = (job.definition.name.clone(), destination.name.clone());
    let copy = CopyJob {
        owner: CopyOwner { pipeline, destination: name, epoch: claim.epoch },
        source: job.source.clone(),
        destination: destination.url.clone(),
        snapshot: snapshot.snapshot.clone().unwrap_or_default(),
        snapshot_lsn: snapshot.consistent_point,
        jobs: COPY_JOBS,
        status: std::sync::Arc::clone(&job.status),
    };
    Ok(copy_all(&copy, tables).await?)
}

async fn copy_table(
    job: &Job,
    source: &mut Connection,
    selected: &Selected,
    target: &TargetTable,
) -> Result<CopyTable, PipelineError> {
    let table = &selected.table;
    let mut pieces = Vec::new();
    if selection::is_partitioned(table) {
        let sql = format!(
            "SELECT n.nspname, c.relname, pg_catalog.pg_relation_size(c.oid) / 8192 FROM pg_catalog.pg_partition_tree({}::oid) t \
             JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf",
            table.oid
        );
        for row in source.simple(&sql).await.map_err(|error| PipelineError::source(&job.source_label(), error))? {
            let (schema, name) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
            pieces.push(Piece { schema, name, pages: row.parse(2)? });
        }
    } else {
        pieces.push(Piece { schema: table.schema.clone(), name: table.name.clone(), pages: table.approximate_pages });
    }
    Ok(CopyTable {
        source_name: table.table_name().to_string(),
        pieces,
        target_name: format!("{}.{}", target.target_schema, target.target_name),
        target_sql: qualified(&target.target_schema, &target.target_name),
        columns_sql: target.columns.iter().map(|column| ident(&column.name)).collect(),
        filter: selected.filter.clone(),
        binary: target.columns.iter().all(|column| column.transfer == Transfer::Binary),
    })
}
