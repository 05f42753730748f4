use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    records::{EpochBlock, PipelineRecord},
    session::Authority,
};
use rosetta_proto::Epoch;
use tokio::time::sleep;

use super::Workshop;
use crate::{
    catalog::record,
    cluster::epochs::BlockEpochs,
    pipeline::{PipelineError, job::Job, start::Ready},
    supervisor::Running,
};

/// What the node does with a pipeline at the moment.
pub(super) enum Activity {
    Idle,
    /// It can be taken over at once.
    Ready {
        ready: Box<Ready>,
        version: Version,
    },
    Running {
        running: Running,
        version: Version,
        /// Every destination refuses an older owner by itself.
        is_fenced: bool,
    },
    /// Trying again does not help, until something else is wanted.
    GaveUp {
        version: Version,
        /// Another process took it over; the newest epoch that is known of it.
        fenced_by: Option<Epoch>,
    },
}

/// Why what runs cannot go on.
pub(super) enum Ended {
    GaveUp(PipelineError),
    /// This node's lease may end, and a destination would not refuse what an old owner writes.
    LeaseMayEnd,
}

/// Waits until the lease may end.
async fn lapsed(authority: &Authority) {
    loop {
        let margin = authority.margin();
        if margin.is_zero() {
            return;
        }
        sleep(margin).await;
    }
}

/// What is run: another one is a reason to start anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) block: EpochBlock,
    pub(super) revision: u64,
    pub(super) restarts: u64,
}

impl Version {
    pub(super) fn new(block: EpochBlock, record: &PipelineRecord) -> Version {
        Version { block, revision: record.revision, restarts: record.restarts }
    }
}

impl Activity {
    /// Whether `version` is being run, or was and gave up.
    pub(super) fn is(&self, wanted: Version) -> bool {
        match self {
            Activity::Running { version, .. } | Activity::GaveUp { version, .. } => *version == wanted,
            Activity::Idle | Activity::Ready { .. } => false,
        }
    }

    /// Waits until what runs cannot go on. Cancel-safe.
    pub(super) async fn ended(&mut self, authority: &Authority) -> Ended {
        match self {
            Activity::Running { running, is_fenced, .. } => tokio::select! {
                error = running.gave_up() => Ended::GaveUp(error),
                () = lapsed(authority), if !*is_fenced => Ended::LeaseMayEnd,
            },
            Activity::Idle | Activity::Ready { .. } | Activity::GaveUp { .. } => std::future::pending().await,
        }
    }

    /// Ends it gently. After this nothing of the pipeline runs.
    pub(super) async fn halt(&mut self, within: Duration) {
        if let Activity::Running { running, .. } = std::mem::replace(self, Activity::Idle) {
            running.stop(within).await;
        }
    }
}

/// The job of a record.
///
/// # Errors
/// The record cannot be understood here: its secrets do not open, or it is of a later version.
pub(super) fn job(
    workshop: &Workshop,
    record: &PipelineRecord,
    epochs: Arc<BlockEpochs>,
) -> Result<Job, PipelineError> {
    let refused = |reason: String| PipelineError::Refused(reason);
    let definitions = record::open(record, &workshop.keys).map_err(|error| refused(error.to_string()))?;
    let pipeline = definitions.pipelines.first();
    let pipeline = pipeline.ok_or_else(|| refused(format!("pipeline {}: the record has no pipeline", record.name)))?;
    Job::new(&definitions, pipeline, &workshop.settings, epochs)
}
