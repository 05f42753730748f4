//! A destination that is back: what was spilled meanwhile is applied in order, as batches, while what comes from the
//! stream goes behind it. The checkpoint moves with each batch, so that after a crash the rest is applied, once.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use foldhash::HashSet;
use rosetta_proto::Lsn;
use tokio::{sync::mpsc, time::Instant};

use super::{
    batch::{Batch, Position},
    lane::{BatchReport, LaneReport},
    recovery::Recovery,
    spill::Spiller,
};
use crate::{
    dead_letters::{Addressed, LetterId, Merged, batch_of},
    destination::{
        Destination, DestinationError,
        postgres::{Format, Writer},
    },
};

/// Letters that are applied together: enough to make a commit cheap.
const MOST: usize = 8192;
const BYTES: usize = 8 << 20;

/// A lane that catches up from the store.
pub(super) struct Replaying {
    replayer: Replayer,
    spiller: Spiller,
    recovery: Box<Recovery>,
}

/// The side that writes to the destination.
struct Replayer {
    writer: Box<Writer>,
    format: Format,
    /// Up to where the destination has everything.
    position: Lsn,
    round: Option<(Merged, Lsn)>,
    settling: Settling,
    worker: u32,
    /// The source tables that lead to the destination.
    tables: Arc<HashSet<u32>>,
}

/// Letters that were applied, and may leave the store once that is on the destination's disk.
#[derive(Default)]
struct Settling(VecDeque<(Lsn, Vec<(String, LetterId)>)>);

/// What is left of a spill when its lane is live again.
pub(super) struct Remains {
    spiller: Spiller,
    settling: Settling,
}

/// How a lane that catches up ends.
pub(super) enum CaughtUp {
    Live {
        destination: Destination,
        recovery: Box<Recovery>,
        remains: Box<Remains>,
    },
    /// No more batches come.
    Ended,
}

enum Step {
    Applied {
        changes: usize,
    },
    /// Everything that the store had when the round began is applied.
    RoundEnded,
}

impl Replaying {
    /// The writer stands at `position`; the stream's values come in `format`.
    pub(super) fn new(
        writer: Writer,
        recovery: Box<Recovery>,
        spiller: Spiller,
        position: Lsn,
        format: Format,
    ) -> Replaying {
        let (round, settling) = (None, Settling::default());
        let (worker, tables) = (spiller.worker(), spiller.tables());
        let replayer = Replayer { writer: Box::new(writer), format, position, round, settling, worker, tables };
        Replaying { replayer, spiller, recovery }
    }

    /// Runs until the destination has everything and nothing has come since.
    ///
    /// # Errors
    /// The destination's, the store's.
    pub(super) async fn run(
        self,
        lane: usize,
        batches: &mut mpsc::Receiver<Arc<Batch>>,
        reports: &mpsc::Sender<LaneReport>,
    ) -> Result<CaughtUp, DestinationError> {
        let Replaying { mut replayer, mut spiller, recovery } = self;
        let store = Arc::clone(&spiller.desk.store);
        let mailbox = spiller.mailbox.clone();
        tracing::info!(
            destination = mailbox.destination,
            "the destination is back: its changes are applied from the store"
        );
        let mut applied = 0;
        loop {
            let end = spiller.end();
            if replayer.round.is_none() {
                if replayer.position >= end {
                    if !spiller.is_in_transaction() {
                        break;
                    }
                    // The rest of a transaction that began to be spilled has to be spilled, too.
                    let Some(batch) = batches.recv().await else { return Ok(CaughtUp::Ended) };
                    spill(&mut spiller, &batch, lane, reports).await?;
                    continue;
                }
                let merged = Merged::new(Arc::clone(&store), mailbox.clone(), (replayer.position, end)).await?;
                replayer.round = Some((merged, end));
            }
            let step = spill_during(replayer.step(), &mut spiller, lane, batches, reports).await?;
            let Some(step) = step.transpose()? else { return Ok(CaughtUp::Ended) };
            if let Step::Applied { changes } = step {
                applied += changes;
            }
            let durable = replayer.writer.poll_durable().await?;
            replayer.settle(&spiller, durable).await?;
            let letters = spiller.letters().saturating_sub(applied as u64);
            let report = LaneReport { lane, committed: None, durable: Lsn::ZERO, letters, batch: None };
            let _ = reports.send(report).await;
        }
        tracing::info!(destination = mailbox.destination, changes = applied, "the destination is live again");
        let Replayer { mut writer, format, settling, .. } = replayer;
        writer.set_format(format);
        let remains = Box::new(Remains { spiller, settling });
        Ok(CaughtUp::Live { destination: Destination::Postgres(writer), recovery, remains })
    }
}

/// Does the work, while batches that come go to the store; None when no more come.
async fn spill_during<T>(
    work: impl Future<Output = T>,
    spiller: &mut Spiller,
    lane: usize,
    batches: &mut mpsc::Receiver<Arc<Batch>>,
    reports: &mpsc::Sender<LaneReport>,
) -> Result<Option<T>, DestinationError> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(Some(done)),
            batch = batches.recv() => {
                let Some(batch) = batch else { return Ok(None) };
                self::spill(spiller, &batch, lane, reports).await?;
            }
        }
    }
}

/// Writes a batch to the store, and reports it.
pub(super) async fn spill(
    spiller: &mut Spiller,
    batch: &Batch,
    lane: usize,
    reports: &mpsc::Sender<LaneReport>,
) -> Result<(), DestinationError> {
    let began = Instant::now();
    spiller.spill(batch).await?;
    let write_micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (changes, bytes) = (batch.changes, batch.bytes);
    let done = BatchReport { changes, bytes, committed_at: None, missing_rows: 0, write_micros };
    let durable = batch.end.map(|end| end.lsn).unwrap_or_default();
    let report = LaneReport { lane, committed: None, durable, letters: spiller.letters(), batch: Some(done) };
    let _ = reports.send(report).await; // the receiver outlives its lanes
    Ok(())
}

impl Replayer {
    /// Applies some letters of the round.
    async fn step(&mut self) -> Result<Step, DestinationError> {
        let Some((merged, end)) = &mut self.round else { return Ok(Step::RoundEnded) };
        let (letters, is_complete) = merged.next(MOST, BYTES).await?;
        if letters.is_empty() {
            let end = Position { lsn: *end, committed_at: None };
            self.round = None;
            self.apply(&Batch { end: Some(end), ..Batch::default() }, end.lsn, Vec::new()).await?;
            return Ok(Step::RoundEnded);
        }
        // Other workers take theirs. What belongs to no table of the destination any more is wanted by nobody.
        let is_mine = |letter: &Addressed| {
            let oid = letter.table.relation.oid;
            self.writer.is_mine(oid) || (self.worker == 0 && !self.tables.contains(&oid))
        };
        let letters: Vec<_> = letters.into_iter().filter(|(_, letter)| is_mine(letter)).collect();
        let names: Vec<_> = letters.iter().map(|(table, letter)| (table.clone(), letter.letter.id)).collect();
        let addressed: Vec<Addressed> = letters.into_iter().map(|(_, letter)| letter).collect();
        let changes = addressed.len();
        let groups: Vec<_> = addressed.chunk_by(|one, other| one.is_binary == other.is_binary).collect();
        for (index, group) in groups.iter().enumerate() {
            let is_last = index + 1 == groups.len();
            let Some((first, last)) = group.first().zip(group.last()) else { continue };
            self.writer.set_format(if first.is_binary { Format::Binary } else { Format::Text });
            // The form of values changes only between owners, and so between transactions.
            let lsn = Lsn(last.letter.id.commit_lsn.0 + 1);
            let end = (!is_last || is_complete).then_some(Position { lsn, committed_at: None });
            let batch = batch_of(group, end);
            let settled = if is_last { names.clone() } else { Vec::new() };
            self.apply(&batch, lsn, settled).await?;
        }
        Ok(Step::Applied { changes })
    }

    async fn apply(
        &mut self,
        batch: &Batch,
        end: Lsn,
        settled: Vec<(String, LetterId)>,
    ) -> Result<(), DestinationError> {
        self.writer.apply(batch).await?;
        if batch.end.is_some() {
            self.position = self.position.max(end);
        }
        self.settling.0.push_back((end, settled));
        Ok(())
    }

    async fn settle(&mut self, spiller: &Spiller, durable: Lsn) -> Result<(), DestinationError> {
        self.settling.settle(spiller, durable, &mut self.writer).await
    }
}

impl Settling {
    /// Removes what is on the destination's disk from the store, but for letters that were refused.
    async fn settle(&mut self, spiller: &Spiller, durable: Lsn, writer: &mut Writer) -> Result<(), DestinationError> {
        while let Some((_, names)) = self.0.pop_front_if(|(end, _)| *end <= durable) {
            let tables: BTreeSet<_> = names.iter().map(|(table, _)| table).collect();
            for table in tables {
                let mut ids: Vec<_> = names.iter().filter(|(of, _)| of == table).map(|(_, id)| *id).collect();
                if writer.letters() > 0 {
                    let kept = writer.waits_for(table, &ids).await?;
                    ids.retain(|id| !kept.contains(id));
                }
                spiller.desk.store.remove(&spiller.owner, &spiller.mailbox.stream(table), &ids).await?;
            }
        }
        Ok(())
    }
}

impl Remains {
    /// Ends the spill once the destination has all of it on disk; true when that is done.
    ///
    /// # Errors
    /// The destination's. That the store is away is none: the next start does it.
    pub(super) async fn settle(
        &mut self,
        durable: Lsn,
        destination: &mut Destination,
    ) -> Result<bool, DestinationError> {
        if durable < self.spiller.end() {
            return Ok(false);
        }
        let Destination::Postgres(writer) = destination else { return Ok(true) };
        if !writer.is_between_transactions() {
            return Ok(false);
        }
        match self.finish(durable, writer).await {
            Ok(()) => {}
            Err(DestinationError::DeadLetters(error)) => {
                tracing::warn!(
                    destination = self.spiller.mailbox.destination,
                    "letters that were applied stay in the store until the next start: {error}"
                );
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    async fn finish(&mut self, durable: Lsn, writer: &mut Writer) -> Result<(), DestinationError> {
        self.settling.settle(&self.spiller, durable, writer).await?;
        let Spiller { desk, owner, mailbox, .. } = &self.spiller;
        Ok(desk.store.end_spill(owner, &mailbox.destination, self.spiller.worker()).await?)
    }
}
