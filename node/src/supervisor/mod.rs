//! Which pipelines run here, and the one place that starts and stops them.

mod backoff;
mod heartbeat;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::pipeline::{
    PipelineError, Severity,
    follow::follow,
    job::Job,
    start::start,
    status::{Figures, State},
};
use backoff::Backoff;

/// How a pipeline's life in this process ended.
#[derive(Debug)]
pub enum Ending {
    /// It was asked to stop.
    Stopped,
    /// It will not be tried again.
    GaveUp { pipeline: String, error: PipelineError },
}

/// Runs every pipeline in a task of its own until it is cancelled or gives up; one never disturbs another.
pub async fn run_all(jobs: Vec<Job>, cancel: CancellationToken) -> Vec<Ending> {
    let mut tasks = JoinSet::new();
    for job in jobs {
        let span = info_span!("pipeline", pipeline = job.definition.name);
        tasks.spawn(supervise(job, cancel.child_token()).instrument(span));
    }
    let mut endings = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(ending) => endings.push(ending),
            Err(panic) => endings.push(Ending::GaveUp {
                pipeline: String::new(),
                error: PipelineError::Internal(format!("a pipeline's task ended abnormally: {panic}")),
            }),
        }
    }
    endings
}

/// Runs one pipeline, again and again with back-off while trying again can help.
async fn supervise(job: Job, cancel: CancellationToken) -> Ending {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        let before = job.status.figures();
        // It ends by itself when cancelled: there are batches to bring home and sessions to end.
        let Err(error) = start_and_follow(&job, cancel.clone()).await else {
            job.status.update(|figures| figures.state = State::Stopped);
            info!("stopped");
            return Ending::Stopped;
        };
        let state = match error.severity() {
            Severity::Transient => State::Retrying,
            Severity::Permanent | Severity::Fenced => State::Failed,
            Severity::NeedsResync => State::NeedsResync,
        };
        job.status.update(|figures| {
            figures.state = state;
            figures.error = Some(error.to_string());
        });
        if state != State::Retrying {
            error!(state = state.name(), "{error}");
            return Ending::GaveUp { pipeline: job.definition.name.clone(), error };
        }
        if has_progressed(&before, &job.status.figures()) {
            backoff.reset();
        }
        let delay = backoff.next(rand::random());
        warn!(retry_in_ms = delay.as_millis() as u64, after_ms = began.elapsed().as_millis() as u64, "{error}");
        tokio::select! {
            () = cancel.cancelled() => {}
            () = sleep(delay) => job.status.update(|figures| figures.restarts += 1),
        }
    }
}

/// It came as far as the stream, or copied a table.
fn has_progressed(before: &Figures, now: &Figures) -> bool {
    now.streams > before.streams || now.changes > before.changes || now.tables_copied > before.tables_copied
}

async fn start_and_follow(job: &Job, cancel: CancellationToken) -> Result<(), PipelineError> {
    let following = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ok(()),
        started = Box::pin(start(job)) => started?,
    };
    job.status.update(|figures| {
        figures.state = State::Running;
        figures.error = None;
        figures.streams += 1;
    });
    info!(epoch = job.status.figures().epoch.0, "streaming");
    // follow() ends by itself when cancelled: it has batches in flight to bring home.
    tokio::select! {
        biased;
        result = Box::pin(follow(following, cancel)) => result,
        () = heartbeat::beat(job) => Ok(()),
    }
}
