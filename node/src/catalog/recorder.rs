//! Writes the history in the background. It never blocks who has something to tell, and outlives an outage.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Catalog, CatalogError, Event, events};

/// Events that wait at most; beyond, the oldest go. Some megabytes, hours of an outage in which little happens.
const MAX_WAITING: usize = 10_000;
/// Events in one statement.
const MAX_BATCH: usize = 500;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often old events are removed.
const CLEANED_EVERY: Duration = Duration::from_secs(3600);

/// Takes events, from anywhere, at once.
#[derive(Clone)]
pub struct Recorder {
    queue: Arc<Queue>,
    /// Ends with the last clone.
    _task: Arc<JoinSet<()>>,
}

#[derive(Default)]
struct Queue {
    /// With a random token each, so that a repeated insert is recognised.
    waiting: Mutex<VecDeque<(i64, Event)>>,
    arrived: Notify,
    dropped: AtomicU64,
}

impl Recorder {
    pub fn start(catalog: Catalog) -> Recorder {
        let queue = Arc::new(Queue::default());
        let mut task = JoinSet::new();
        task.spawn(write(catalog, Arc::clone(&queue)));
        Recorder { queue, _task: Arc::new(task) }
    }

    /// Takes an event; the oldest one goes where too many wait.
    pub fn record(&self, event: Event) {
        self.queue.push(event);
    }

    /// How many events were not written because the database was away for too long.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }

    /// How many events wait to be written.
    pub fn waiting(&self) -> usize {
        self.queue.lock().len()
    }
}

impl Queue {
    fn push(&self, event: Event) {
        let mut waiting = self.lock();
        if waiting.len() >= MAX_WAITING {
            waiting.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        waiting.push_back((rand::random(), event));
        drop(waiting);
        self.arrived.notify_one();
    }

    /// The oldest events, which stay until they are written.
    fn oldest(&self) -> Vec<(i64, Event)> {
        self.lock().iter().take(MAX_BATCH).cloned().collect()
    }

    /// Removes what was written; some of it may have been dropped meanwhile.
    fn written(&self, batch: &[(i64, Event)]) {
        let mut waiting = self.lock();
        while waiting.front().is_some_and(|(token, _)| batch.iter().any(|(written, _)| written == token)) {
            waiting.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(i64, Event)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(catalog: Catalog, queue: Arc<Queue>) {
    let mut wait = FIRST_WAIT;
    let mut cleaned: Option<Instant> = None;
    loop {
        let batch = queue.oldest();
        if batch.is_empty() {
            queue.arrived.notified().await;
            continue;
        }
        let is_due = cleaned.is_none_or(|at| at.elapsed() > CLEANED_EVERY);
        match catalog.record(&batch, is_due).await {
            Ok(()) => {
                queue.written(&batch);
                wait = FIRST_WAIT;
                if is_due {
                    cleaned = Some(Instant::now());
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot write the history; trying again");
                sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

impl Catalog {
    async fn record(&self, batch: &[(i64, Event)], with_cleaning: bool) -> Result<(), CatalogError> {
        self.within(Box::pin(async {
            let client = self.client().await?;
            let inserted = events::insert(&**client, batch).await;
            inserted.map_err(|error| self.failed(&error))?;
            if with_cleaning {
                let statement = "delete from rosetta.events where at < now() - interval '90 days'";
                client.execute(statement, &[]).await.map_err(|error| self.failed(&error))?;
            }
            Ok(())
        }))
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_are_counted() {
        let queue = Queue::default();
        for number in 0..MAX_WAITING + 3 {
            queue.push(Event::now("test").with("number", number));
        }
        let batch = queue.oldest();
        assert_eq!((queue.lock().len(), batch.len()), (MAX_WAITING, MAX_BATCH));
        assert_eq!((batch[0].1.detail["number"].as_str(), queue.dropped.load(Ordering::Relaxed)), ("3", 3));
        queue.push(Event::now("test"));
        queue.written(&batch);
        assert_eq!(
            queue.lock().len(),
            MAX_WAITING - (MAX_BATCH - 1),
            "one of the batch was dropped while it was written"
        );
    }
}
