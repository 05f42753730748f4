//! A stream whose messages a task makes, and that ends with it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::Stream;
use tonic::Status;

/// Messages that may wait for a slow caller; the task waits beyond.
const WAITING: usize = 4;

/// Where the task sends.
pub(super) type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// The stream that a caller reads. Dropping it ends the task.
pub(super) struct Produced<T> {
    messages: mpsc::Receiver<Result<T, Status>>,
    // Aborted on drop.
    _task: JoinSet<()>,
}

impl<T: Send + 'static> Produced<T> {
    /// Starts `produce`, which sends until it returns.
    pub(super) fn by<F: Future<Output = ()> + Send + 'static>(produce: impl FnOnce(Sender<T>) -> F) -> Produced<T> {
        let (sender, messages) = mpsc::channel(WAITING);
        let mut task = JoinSet::new();
        task.spawn(produce(sender));
        Produced { messages, _task: task }
    }
}

impl<T> Stream for Produced<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.messages.poll_recv(context)
    }
}
