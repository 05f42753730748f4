//! The letters that a destination's lanes find when they start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rosetta_proto::Lsn;

use super::{PipelineError, claim::Claim, job::Job, prepared::Prepared, recovery::Recovery, selection};
use crate::{
    dead_letters::{Desk, LetterId, Mailbox, Owner, Parked, StoreError, Waiting, load_parked, sweep},
    destination::{
        DestinationError,
        postgres::{Parking, Writer, flush, read_waiting},
    },
    schema::TableName,
};

/// What one lane starts with.
pub(super) struct LaneLetters {
    desk: Arc<Desk>,
    owner: Owner,
    mailbox: Mailbox,
    worker: usize,
    parked: Parked,
}

impl LaneLetters {
    /// Lets the writer set changes aside; what tries them again.
    pub(super) fn attach(self, writer: &mut Writer) -> Box<Recovery> {
        let LaneLetters { desk, owner, mailbox, worker, parked } = self;
        writer.set_parking(Parking::new(Arc::clone(&desk.store), owner.clone(), mailbox.clone(), parked));
        Box::new(Recovery::new(desk, owner, mailbox, worker))
    }
}

/// What waits at this destination, for each worker; nothing at all where the process has no store.
///
/// # Errors
/// The destination's; the store's, if the destination waits for letters.
pub(super) async fn find(
    job: &Job,
    destination: &mut Prepared,
    claim: &Claim,
    positions: &[Lsn],
    binary: bool,
) -> Result<std::vec::IntoIter<LaneLetters>, PipelineError> {
    let Some(desk) = &job.desk else { return Ok(Vec::new().into_iter()) };
    let server = destination.label();
    let failed = |error| PipelineError::destination(&server, error);
    let mailbox = Mailbox::new(&job.definition.name, &destination.name);
    let owner = Owner { pipeline: mailbox.pipeline.clone(), epoch: claim.epoch };
    let waiting = read_waiting(&mut destination.session, &mailbox).await.map_err(failed)?;
    // Each worker's own: one that is ahead of the others has settled what they have still to do.
    let below = |table: &str| positions.get(worker_of(table, positions.len())).copied().unwrap_or_default();
    if has_letters(desk, &mailbox).await {
        flush(&mut destination.session, &mailbox).await.map_err(failed)?;
        end_spills(desk, &owner, &mailbox, positions).await.map_err(store_failed)?;
        let swept = sweep(desk.store.as_ref(), &owner, &mailbox, &waiting, below).await.map_err(store_failed)?;
        if swept > 0 {
            tracing::info!(destination = destination.name, letters = swept, "settled dead letters left the store");
        }
    }
    let mut lanes = Vec::new();
    for worker in 0..positions.len() {
        let mine = of_worker(&waiting, worker, positions.len());
        let parked = load_parked(desk.store.as_ref(), &mailbox, &mine, binary).await.map_err(store_failed)?;
        let (desk, owner, mailbox) = (Arc::clone(desk), owner.clone(), mailbox.clone());
        lanes.push(LaneLetters { desk, owner, mailbox, worker, parked });
    }
    Ok(lanes.into_iter())
}

/// Spills that were applied to their end before the process could say so.
async fn end_spills(desk: &Desk, owner: &Owner, mailbox: &Mailbox, positions: &[Lsn]) -> Result<(), StoreError> {
    for spill in desk.store.spills(mailbox).await? {
        let position = usize::try_from(spill.worker).ok().and_then(|worker| positions.get(worker));
        if position.is_some_and(|position| *position >= spill.end) {
            desk.store.end_spill(owner, &mailbox.destination, spill.worker).await?;
        }
    }
    Ok(())
}

/// A store that is away keeps no pipeline from running that waits for nothing in it.
async fn has_letters(desk: &Desk, mailbox: &Mailbox) -> bool {
    match desk.store.streams(mailbox).await {
        Ok(streams) => !streams.is_empty(),
        Err(error) => {
            tracing::warn!(destination = mailbox.destination, "{error}");
            false
        }
    }
}

fn of_worker(waiting: &Waiting, worker: usize, workers: usize) -> BTreeMap<String, BTreeSet<LetterId>> {
    let is_mine = |table: &str| worker_of(table, workers) == worker;
    waiting.iter().filter(|(table, _)| is_mine(table)).map(|(table, ids)| (table.clone(), ids.clone())).collect()
}

/// What is no name any more belongs to the first worker, where it is found missing in the pipeline.
fn worker_of(table: &str, workers: usize) -> usize {
    table.parse::<TableName>().map_or(0, |table| selection::worker_of(&table, workers))
}

fn store_failed(error: StoreError) -> PipelineError {
    DestinationError::from(error).into()
}
