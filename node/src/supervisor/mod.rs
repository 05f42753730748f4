//! Which pipelines run here, and the one place that starts and stops them.

mod backoff;
mod fleet;
mod heartbeat;
mod running;
mod slot_watch;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::pipeline::{
    PipelineError, Severity,
    follow::{Follow, follow},
    job::Job,
    start::{Ready, prepare, take_over},
    status::{Figures, State},
};
use backoff::Backoff;

pub use fleet::{Ending, Fleet, Member};
pub use running::Running;
pub use slot_watch::watch_slot;

/// What is wanted of a pipeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    pub is_paused: bool,
    /// How often somebody asked for it to be started anew.
    pub restarts: u64,
}

/// Runs one pipeline as it is wished, again and again with back-off while trying again can help, until it is cancelled.
/// The first time with what is `ready`, if anything.
///
/// # Errors
/// What trying again cannot help. It may be called anew when the wish has changed.
async fn supervise(
    job: &Job,
    mut ready: Option<Ready>,
    wish: &mut watch::Receiver<Wish>,
    cancel: &CancellationToken,
) -> Result<(), PipelineError> {
    let mut backoff = Backoff::default();
    while !cancel.is_cancelled() {
        if wish.borrow_and_update().is_paused {
            pause(job, wish, cancel).await;
            backoff.reset();
            continue;
        }
        let began = Instant::now();
        let before = job.status.figures();
        let Err(error) = run_until_wished_otherwise(job, ready.take(), wish, cancel).await else {
            backoff.reset();
            continue;
        };
        note_failure(job, error.severity(), &error);
        if error.severity() != Severity::Transient {
            return Err(error);
        }
        if has_progressed(&before, &job.status.figures()) {
            backoff.reset();
        }
        let delay = backoff.next(rand::random());
        warn!(retry_in_ms = delay.as_millis() as u64, after_ms = began.elapsed().as_millis() as u64, "{error}");
        tokio::select! {
            () = cancel.cancelled() => {}
            _ = wish.changed() => backoff.reset(),
            () = sleep(delay) => job.status.update(|figures| figures.restarts += 1),
        }
    }
    job.status.update(|figures| figures.state = State::Stopped);
    info!("stopped");
    Ok(())
}

async fn pause(job: &Job, wish: &mut watch::Receiver<Wish>, cancel: &CancellationToken) {
    job.status.update(|figures| {
        figures.state = State::Paused;
        figures.error = None;
    });
    info!("paused");
    tokio::select! {
        () = cancel.cancelled() => {}
        _ = wish.wait_for(|wish| !wish.is_paused) => {}
    }
}

/// Runs it once. Whatever ends it from outside does so gently: there are batches to bring home and sessions to end.
async fn run_until_wished_otherwise(
    job: &Job,
    ready: Option<Ready>,
    wish: &mut watch::Receiver<Wish>,
    cancel: &CancellationToken,
) -> Result<(), PipelineError> {
    let stop = cancel.child_token();
    let mut running = std::pin::pin!(start_and_follow(job, ready, stop.clone()));
    tokio::select! {
        biased;
        result = &mut running => return result,
        _ = wish.changed() => stop.cancel(),
    }
    running.await
}

fn note_failure(job: &Job, severity: Severity, error: &PipelineError) {
    let state = match severity {
        Severity::Transient => State::Retrying,
        Severity::Permanent | Severity::Fenced => State::Failed,
        Severity::NeedsResync => State::NeedsResync,
    };
    job.status.update(|figures| {
        figures.state = state;
        figures.error = Some(error.to_string());
        let count = match severity {
            Severity::Transient => &mut figures.failures.transient,
            Severity::Permanent => &mut figures.failures.permanent,
            Severity::Fenced => &mut figures.failures.fenced,
            Severity::NeedsResync => &mut figures.failures.needs_resync,
        };
        *count += 1;
    });
    if state != State::Retrying {
        error!(state = state.name(), "{error}");
    }
}

/// It came as far as the stream, or copied a table.
fn has_progressed(before: &Figures, now: &Figures) -> bool {
    now.streams > before.streams || now.changes > before.changes || now.tables_copied > before.tables_copied
}

async fn start(job: &Job, ready: Option<Ready>) -> Result<Follow, PipelineError> {
    job.status.update(|figures| figures.state = State::Starting);
    let ready = match ready {
        Some(ready) => ready,
        None => prepare(job).await?,
    };
    take_over(job, ready).await
}

async fn start_and_follow(job: &Job, ready: Option<Ready>, cancel: CancellationToken) -> Result<(), PipelineError> {
    let following = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ok(()),
        started = Box::pin(start(job, ready)) => started?,
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
        result = Box::pin(follow(following, cancel)) => result.map(drop),
        () = heartbeat::beat(job) => Ok(()),
    }
}
