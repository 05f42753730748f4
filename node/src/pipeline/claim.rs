//! Whether the pipeline may go on where its destinations stand, and its claim on them.

use rosetta_proto::{Epoch, Lsn};

use super::{
    PipelineError,
    away::{self, Spills},
    job::Job,
    prepared::Prepared,
};
use crate::{
    config::SnapshotMode,
    dead_letters::{Owner, StoreError},
    destination::DestinationError,
    destination::postgres::{Origin, Phase, TakenOver, Takeover, checkpoint},
    postgres::{Connection, Session},
    source::slot::{self, Discontinuity, Slot, Standing},
};

/// The pipeline's claim on everything it touches.
pub(super) struct Claim {
    pub(super) epoch: Epoch,
    pub(super) origin: Origin,
    /// One for each of `Prepared`.
    pub(super) taken: Vec<TakenOver>,
}

/// Whether the slot of our name is one that we can use.
pub(super) fn check_slot(job: &Job, found: Option<&Slot>) -> Result<(), PipelineError> {
    let Some(slot) = found else { return Ok(()) };
    let name = &job.definition.slot;
    if slot.plugin != "pgoutput" {
        return Err(PipelineError::Refused(format!(
            "slot {name} belongs to another program (its plugin is {}): name another one with slot = \"…\"",
            slot.plugin
        )));
    }
    if slot.database != job.source.database {
        return Err(PipelineError::Refused(format!(
            "slot {name} belongs to database '{}': name another one with slot = \"…\"",
            slot.database
        )));
    }
    Ok(())
}

/// A slot that no destination knows of was not made by us, and may be anybody's.
pub(super) fn check_unclaimed_slot(
    job: &Job,
    found: Option<&Slot>,
    prepared: &[Prepared],
) -> Result<(), PipelineError> {
    let name = &job.definition.slot;
    let copies = job.definition.snapshot == SnapshotMode::Initial && !prepared.is_empty();
    if found.is_none() || !copies || prepared.iter().any(|destination| destination.known != Epoch::NONE) {
        return Ok(());
    }
    Err(PipelineError::Refused(format!(
        "slot {name} exists, but the destination has no checkpoint: to copy afresh, drop it with \
         SELECT pg_drop_replication_slot('{name}') at the source; to go on from its position, use snapshot = \"never\""
    )))
}

/// Takes the pipeline over at every destination, with one epoch for all, and ends what older owners left.
pub(super) async fn claim(
    job: &Job,
    source: &mut Connection,
    prepared: &mut [Prepared],
) -> Result<Claim, PipelineError> {
    let server = job.source_label();
    let failed = |error| PipelineError::source(&server, error);
    let session = Session::replication(job.application_name(Epoch::NONE));
    let mut replication = Connection::connect(&job.source, &session).await.map_err(failed)?;
    let origin = slot::identify(&mut replication, &job.definition.slot).await.map_err(failed)?;
    replication.close().await;
    let pipeline = &job.definition.name;
    let newest = prepared.iter().map(|destination| destination.known).max().unwrap_or(Epoch::NONE);
    let newest = newest.max(away::newest_owner(job.desk.as_ref(), pipeline).await);
    let epoch = job.ownership.claim(pipeline, newest)?;
    if let Some(desk) = &job.desk {
        let owner = Owner { pipeline: pipeline.clone(), epoch };
        match desk.store.claim(&owner).await {
            Err(error @ StoreError::Fenced { .. }) => return Err(DestinationError::from(error).into()),
            // Needed only when something is to be written there.
            Err(error) => tracing::warn!("{error}"),
            Ok(()) => {}
        }
    }
    let mut taken = Vec::new();
    for destination in prepared.iter_mut() {
        let server = destination.label();
        let failed = |error| PipelineError::destination(&server, error);
        checkpoint::end_older_sessions(&mut destination.session, pipeline, epoch).await.map_err(failed)?;
        let workers = job.definition.apply_workers;
        let wanted = Takeover { pipeline, destination: &destination.name, workers, epoch, origin: &origin };
        let session = &mut destination.session;
        taken.push(checkpoint::take_over(session, &wanted).await?);
        let name = format!("SET application_name = {}", crate::postgres::literal(&job.application_name(epoch)));
        session.simple(&name).await.map_err(failed)?;
    }
    slot::end_older_reader(source, &job.definition.slot, epoch.0).await.map_err(failed)?;
    Ok(Claim { epoch, origin, taken })
}

/// Whether the source and its slot still have what comes after the positions that the destinations record.
pub(super) async fn check_continuity(
    job: &Job,
    source: &mut Connection,
    claim: &Claim,
    slot: Option<&Slot>,
    (prepared, spills): (&[Prepared], &Spills),
) -> Result<(), PipelineError> {
    let current =
        slot::current_position(source).await.map_err(|error| PipelineError::source(&job.source_label(), error))?;
    let standing = Standing { origin: &claim.origin, slot, current };
    for (destination, taken) in prepared.iter().zip(&claim.taken).filter(|(_, taken)| taken.phase != Phase::New) {
        for (worker, position) in taken.positions.iter().enumerate() {
            let Some(position) = *position else { continue };
            // What the store holds of the time after the destination's position continues it.
            let spilled = spills.find(&destination.name, worker).map_or(position, |spill| position.max(spill.end));
            match (slot::check_continuity(&taken.origin, standing, spilled), spills.error(&destination.name)) {
                (Err(Discontinuity::SlotAhead { .. }), Some(error)) => {
                    return Err(DestinationError::from(error.clone()).into());
                }
                (checked, _) => checked?,
            }
            if taken.origin.timeline != claim.origin.timeline {
                check_timeline(job, taken, claim, position).await?;
            }
        }
    }
    Ok(())
}

/// After a failover of the source: what the destination has must lie on the history that went on.
async fn check_timeline(job: &Job, taken: &TakenOver, claim: &Claim, position: Lsn) -> Result<(), PipelineError> {
    let failed = |error| PipelineError::source(&job.source_label(), error);
    let session = Session::replication(job.application_name(Epoch::NONE));
    let mut replication = Connection::connect(&job.source, &session).await.map_err(failed)?;
    let (from, to) = (taken.origin.timeline, claim.origin.timeline);
    let branched = slot::branch_point(&mut replication, from, to).await.map_err(failed)?.unwrap_or(Lsn::ZERO);
    replication.close().await;
    if position > branched {
        return Err(slot::Discontinuity::TimelineDiverged { from, to, branched, position }.into());
    }
    Ok(())
}
