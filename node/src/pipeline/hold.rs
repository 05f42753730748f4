//! What a pipeline does while it follows when one of its destinations fails: the others go on without it.

use std::{io, time::Duration};

use tokio::{task::JoinError, time::Instant};

use super::{
    PipelineError, away,
    follow::{Follower, LaneHandle},
};
use crate::{destination::DestinationError, postgres::PgError};

/// Between two starts on account of the log that the source keeps.
const BUDGET_AGAIN: Duration = Duration::from_secs(15);

impl Follower {
    /// A destination that takes nothing any more holds the others up: they go on without it.
    pub(super) fn hold_stuck(&mut self) {
        let after = self.job.definition.spill.after;
        let is_stuck = |lane: &LaneHandle| lane.outstanding > 1 && lane.moved_at.elapsed() >= after;
        let Some(name) = self.lanes.iter().find(|lane| is_stuck(lane)).map(|lane| lane.destination.clone()) else {
            return;
        };
        let others_go_on = self.lanes.iter().any(|lane| lane.destination != name && lane.batches.is_some());
        if others_go_on && self.job.desk.is_some() {
            let reason = format!("it has not finished a batch for {} s", after.as_secs());
            let error = PgError::Lost(io::Error::new(io::ErrorKind::TimedOut, reason));
            let error = PipelineError::destination(&name, error);
            self.job.outages.failed(&name, error.to_string(), Instant::now());
            self.hold(&name, &error, true);
        }
    }

    /// The source keeps so much of its log for a destination that is away that its changes have to go elsewhere.
    pub(super) fn is_near_budget(&mut self) -> bool {
        let retained = self.progress.received_lsn().bytes_since(self.progress.confirmable());
        let is_held = self.lanes.iter().any(|lane| lane.batches.is_none());
        let limit = self.job.definition.spill.max_slot_wal;
        is_held && retained >= limit / 10 * 9 && self.started_at.elapsed() >= BUDGET_AGAIN
    }

    /// A lane ended although nobody asked it to. When its destination may be well again by itself, the others go on
    /// without it.
    pub(super) fn lane_ended(
        &mut self,
        ended: Result<(String, Result<(), DestinationError>), JoinError>,
    ) -> Result<(), PipelineError> {
        let (name, error) = match ended {
            Ok((name, Err(error))) => (name, error),
            Ok((name, Ok(()))) if self.is_held(&name) => return Ok(()),
            Ok((_, Ok(()))) => return Err(PipelineError::Internal("a lane ended before its pipeline".to_owned())),
            Err(error) => return Err(PipelineError::Internal(format!("a lane panicked: {error}"))),
        };
        if self.is_held(&name) {
            return Ok(()); // another worker of a destination that has failed
        }
        let others_go_on = self.lanes.iter().any(|lane| lane.destination != name && lane.batches.is_some());
        let (error, may_pass) = match error {
            DestinationError::DeadLetters(error) => {
                let may_pass = error.is_transient();
                (PipelineError::from(DestinationError::DeadLetters(error)), may_pass)
            }
            error => {
                let error = PipelineError::from(error);
                let may_pass = away::may_pass(&error);
                (error, may_pass)
            }
        };
        if may_pass {
            self.job.outages.failed(&name, error.to_string(), Instant::now());
        }
        if !may_pass || !others_go_on || self.job.desk.is_none() {
            return Err(error);
        }
        self.hold(&name, &error, false);
        Ok(())
    }

    /// Goes on without a destination: its changes stay in the source's log for now.
    pub(super) fn hold(&mut self, name: &str, error: &PipelineError, is_stuck: bool) {
        tracing::warn!(destination = name, "a destination is away, the others go on: {error}");
        for lane in self.lanes.iter_mut().filter(|lane| lane.destination == name) {
            (lane.batches, lane.outstanding) = (None, 0);
            lane.is_stuck = is_stuck;
        }
        let away = format!("destination {name} is away, its changes wait in the source's log: {error}");
        self.status.update(|figures| figures.away = Some(away));
        if !is_stuck {
            away::watch_one(&self.job, name, &mut self.watchers);
        }
        away::look_again(self.job.definition.spill.after, &mut self.watchers);
    }

    pub(super) fn is_held(&self, destination: &str) -> bool {
        self.lanes.iter().any(|lane| lane.destination == destination && lane.batches.is_none())
    }
}
