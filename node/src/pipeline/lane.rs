use std::{sync::Arc, time::Duration};

use rosetta_proto::Lsn;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::batch::Batch;
use crate::destination::{Destination, DestinationError};

/// How long after a commit the destination is asked whether it is on disk, when no other batch brings the
/// answer along. PostgreSQL's WAL writer writes after wal_writer_delay (200 ms by default).
const DURABLE_POLL: Duration = Duration::from_millis(100);

/// What a lane tells its pipeline.
#[derive(Debug, Clone, Copy)]
pub struct LaneReport {
    pub lane: usize,
    pub committed: Option<Lsn>,
    pub durable: Lsn,
    /// The batch that this reports on; None when only durability moved.
    pub batch: Option<BatchReport>,
}

#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    pub changes: usize,
    pub bytes: usize,
    pub committed_at: Option<i64>,
    pub missing_rows: u64,
}

/// Applies batches in order until there are no more, then ends the destination's session.
///
/// # Errors
/// The first batch that could not be applied.
pub async fn run_lane(
    lane: usize,
    mut destination: Destination,
    mut batches: mpsc::Receiver<Arc<Batch>>,
    reports: mpsc::Sender<LaneReport>,
) -> Result<(), DestinationError> {
    let mut poll_at: Option<Instant> = None;
    loop {
        let report = tokio::select! {
            biased;
            batch = batches.recv() => match batch {
                Some(batch) => apply(lane, &mut destination, &batch).await?,
                None => break,
            },
            () = sleep_until(poll_at.unwrap_or_else(Instant::now)), if poll_at.is_some() => {
                let durable = destination.poll_durable().await?;
                LaneReport { lane, committed: None, durable, batch: None }
            }
        };
        poll_at = destination.has_unflushed().then(|| Instant::now() + DURABLE_POLL);
        if reports.send(report).await.is_err() {
            break;
        }
    }
    destination.close().await;
    Ok(())
}

async fn apply(lane: usize, destination: &mut Destination, batch: &Batch) -> Result<LaneReport, DestinationError> {
    let applied = destination.apply(batch).await?;
    let committed_at = batch.end.and_then(|end| end.committed_at);
    let (changes, bytes, missing_rows) = (batch.changes, batch.bytes, applied.missing_rows);
    let report = BatchReport { changes, bytes, committed_at, missing_rows };
    Ok(LaneReport { lane, committed: applied.committed, durable: applied.durable, batch: Some(report) })
}
