use std::{future::ready, sync::Arc, time::Duration};

use rosetta_proto::Lsn;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    batch::Batch,
    recovery::Recovery,
    replaying::{CaughtUp, Remains, Replaying, spill},
    spill::Spiller,
};
use crate::{
    dead_letters::DeskCommand,
    destination::{Destination, DestinationError},
};

/// How long after a commit the destination is asked whether it is on disk, when no other batch brings the
/// answer along. PostgreSQL's WAL writer writes after wal_writer_delay (200 ms by default).
const DURABLE_POLL: Duration = Duration::from_millis(100);

/// What a lane tells its pipeline.
#[derive(Debug, Clone, Copy)]
pub struct LaneReport {
    pub lane: usize,
    pub committed: Option<Lsn>,
    pub durable: Lsn,
    /// Changes that wait outside of the destination.
    pub letters: u64,
    /// The batch that this reports on; None when only durability or letters moved.
    pub batch: Option<BatchReport>,
}

#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    pub changes: usize,
    pub bytes: usize,
    pub committed_at: Option<i64>,
    pub missing_rows: u64,
    /// Microseconds that the destination took, its commit included; or the store of dead letters, while it is away.
    pub write_micros: u64,
}

/// What a lane does with its batches.
pub(super) enum Role {
    /// Applies them.
    Live { destination: Destination, recovery: Option<Box<Recovery>> },
    /// Its destination is away: writes them to the store of dead letters.
    Spilling(Box<Spiller>),
    /// Its destination is back: applies what was spilled, and spills what comes meanwhile.
    Replaying(Box<Replaying>),
    /// Its destination is away: is given none, and holds the slot.
    Held,
}

struct Live {
    number: usize,
    destination: Destination,
    recovery: Option<Box<Recovery>>,
    /// Of a spill that was replayed.
    remains: Option<Box<Remains>>,
}

/// Does with batches what its role says, in order, until there are no more; then ends the destination's session.
///
/// # Errors
/// The first batch with which that could not be done.
pub(super) async fn run_lane(
    number: usize,
    role: Role,
    mut batches: mpsc::Receiver<Arc<Batch>>,
    reports: mpsc::Sender<LaneReport>,
) -> Result<(), DestinationError> {
    let live = match role {
        Role::Held => return Ok(()),
        Role::Live { destination, recovery } => Live { number, destination, recovery, remains: None },
        Role::Spilling(mut spiller) => {
            while let Some(batch) = batches.recv().await {
                spill(&mut spiller, &batch, number, &reports).await?;
            }
            return Ok(());
        }
        Role::Replaying(replaying) => match Box::pin(replaying.run(number, &mut batches, &reports)).await? {
            CaughtUp::Ended => return Ok(()),
            CaughtUp::Live { destination, recovery, remains } => {
                Live { number, destination, recovery: Some(recovery), remains: Some(remains) }
            }
        },
    };
    run_live(live, batches, reports).await
}

async fn run_live(
    mut lane: Live,
    mut batches: mpsc::Receiver<Arc<Batch>>,
    reports: mpsc::Sender<LaneReport>,
) -> Result<(), DestinationError> {
    let mut poll_at = lane.has_more_to_ask().then(Instant::now);
    let mut was_batch = false;
    let _ = reports.send(lane.report(None, Lsn::ZERO)).await; // how many letters wait
    loop {
        let try_at = lane.recovery.as_mut().and_then(|recovery| recovery.due(lane.destination.letters()));
        let now = Instant::now();
        // Letters take turns with batches: a stream that is never at rest must not keep them for ever.
        let has_turn = was_batch && try_at.is_some_and(|at| at <= now);
        was_batch = false;
        let report = tokio::select! {
            biased;
            () = ready(()), if has_turn => lane.recover().await?,
            batch = batches.recv() => match batch {
                Some(batch) => {
                    was_batch = true;
                    lane.apply(&batch).await?
                }
                None => break,
            },
            () = sleep_until(poll_at.unwrap_or(now)), if poll_at.is_some() => {
                let durable = lane.destination.poll_durable().await?;
                lane.report(None, durable)
            }
            command = request(&mut lane.recovery), if lane.recovery.is_some() => lane.serve(command).await?,
            () = sleep_until(try_at.unwrap_or(now)), if try_at.is_some() => lane.recover().await?,
        };
        lane.settle(report.durable).await?;
        poll_at = lane.has_more_to_ask().then(|| Instant::now() + DURABLE_POLL);
        if reports.send(report).await.is_err() {
            break;
        }
    }
    lane.destination.close().await;
    Ok(())
}

async fn request(recovery: &mut Option<Box<Recovery>>) -> DeskCommand {
    match recovery {
        Some(recovery) => recovery.request().await,
        None => std::future::pending().await,
    }
}

impl Live {
    fn report(&self, committed: Option<Lsn>, durable: Lsn) -> LaneReport {
        LaneReport { lane: self.number, committed, durable, letters: self.destination.letters(), batch: None }
    }

    /// What is durable is of interest.
    fn has_more_to_ask(&self) -> bool {
        self.destination.has_unflushed() || self.remains.is_some()
    }

    async fn apply(&mut self, batch: &Batch) -> Result<LaneReport, DestinationError> {
        let began = Instant::now();
        let applied = self.destination.apply(batch).await?;
        let write_micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let committed_at = batch.end.and_then(|end| end.committed_at);
        let (changes, bytes, missing_rows) = (batch.changes, batch.bytes, applied.missing_rows);
        let report = BatchReport { changes, bytes, committed_at, missing_rows, write_micros };
        Ok(LaneReport { batch: Some(report), ..self.report(applied.committed, applied.durable) })
    }

    async fn serve(&mut self, command: DeskCommand) -> Result<LaneReport, DestinationError> {
        if let (Some(recovery), Destination::Postgres(writer)) = (&mut self.recovery, &mut self.destination) {
            recovery.serve(command, writer).await?;
        }
        Ok(self.report(None, Lsn::ZERO))
    }

    async fn recover(&mut self) -> Result<LaneReport, DestinationError> {
        if let (Some(recovery), Destination::Postgres(writer)) = (&mut self.recovery, &mut self.destination) {
            recovery.step(writer).await?;
        }
        Ok(self.report(None, Lsn::ZERO))
    }

    async fn settle(&mut self, durable: Lsn) -> Result<(), DestinationError> {
        if let Some(remains) = &mut self.remains
            && remains.settle(durable, &mut self.destination).await?
        {
            self.remains = None;
        }
        Ok(())
    }
}
