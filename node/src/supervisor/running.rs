use std::time::Duration;

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use super::{Wish, supervise};
use crate::pipeline::{PipelineError, job::Job, start::Ready};

/// A pipeline that is kept running, with back-off, by whoever holds this. Dropping it ends it where it is; that loses
/// nothing.
pub struct Running {
    cancel: CancellationToken,
    // One task; aborted on drop.
    task: JoinSet<Result<(), PipelineError>>,
    // Nobody wishes anything else of it.
    _wish: watch::Sender<Wish>,
}

impl Running {
    /// Starts it; with what is `ready`, if anything, the first time.
    pub fn start(job: Job, ready: Option<Ready>) -> Running {
        let (wish, mut wishes) = watch::channel(Wish::default());
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        // Whoever starts it may be within a span of the same name.
        let span = info_span!(parent: None, "pipeline", pipeline = job.definition.name);
        let mut task = JoinSet::new();
        task.spawn(async move { supervise(&job, ready, &mut wishes, &stop).await }.instrument(span));
        Running { cancel, task, _wish: wish }
    }

    /// Waits until trying again does not help; says why. Cancel-safe.
    pub async fn gave_up(&mut self) -> PipelineError {
        match self.task.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => abnormal(&panic),
            Some(Ok(Ok(()))) | None => std::future::pending().await,
        }
    }

    /// Ends it at the end of a transaction; where it is, if that takes longer than `within`. After this nothing of it runs.
    pub async fn stop(mut self, within: Duration) {
        self.cancel.cancel();
        let ended = async { while self.task.join_next().await.is_some() {} };
        if timeout(within, ended).await.is_err() {
            warn!("the pipeline did not come to the end of a transaction within {within:?} and is ended where it is");
            self.task.shutdown().await;
        }
    }
}

fn abnormal(panic: &JoinError) -> PipelineError {
    PipelineError::Internal(format!("a pipeline's task ended abnormally: {panic}"))
}
