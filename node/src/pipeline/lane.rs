use std::{future::ready, sync::Arc, time::Duration};

use rosetta_proto::Lsn;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{batch::Batch, follow::LaneStart, recovery::Recovery};
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
}

struct Lane {
    number: usize,
    destination: Destination,
    recovery: Option<Recovery>,
}

/// Applies batches in order until there are no more, then ends the destination's session.
///
/// # Errors
/// The first batch that could not be applied.
pub(super) async fn run_lane(
    number: usize,
    start: LaneStart,
    mut batches: mpsc::Receiver<Arc<Batch>>,
    reports: mpsc::Sender<LaneReport>,
) -> Result<(), DestinationError> {
    let mut lane = Lane { number, destination: start.destination, recovery: start.recovery };
    let mut poll_at: Option<Instant> = None;
    let mut was_batch = false;
    if lane.destination.letters() > 0 {
        let _ = reports.send(lane.report(None, start.position)).await; // the receiver outlives its lanes
    }
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
        poll_at = lane.destination.has_unflushed().then(|| Instant::now() + DURABLE_POLL);
        if reports.send(report).await.is_err() {
            break;
        }
    }
    lane.destination.close().await;
    Ok(())
}

async fn request(recovery: &mut Option<Recovery>) -> DeskCommand {
    match recovery {
        Some(recovery) => recovery.request().await,
        None => std::future::pending().await,
    }
}

impl Lane {
    fn report(&self, committed: Option<Lsn>, durable: Lsn) -> LaneReport {
        LaneReport { lane: self.number, committed, durable, letters: self.destination.letters(), batch: None }
    }

    async fn apply(&mut self, batch: &Batch) -> Result<LaneReport, DestinationError> {
        let applied = self.destination.apply(batch).await?;
        let committed_at = batch.end.and_then(|end| end.committed_at);
        let (changes, bytes, missing_rows) = (batch.changes, batch.bytes, applied.missing_rows);
        let report = BatchReport { changes, bytes, committed_at, missing_rows };
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
}
