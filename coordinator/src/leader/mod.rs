//! The leader's work: look at the records, decide, write what follows. Everything that it writes carries the condition
//! that it still leads, and that the record is the one it decided from; so it may be late or wrong, but never harmful.

mod memory;
mod reports;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

pub use self::{
    memory::{Decision, Finding, Memory, Write},
    reports::Report,
};
use crate::{
    election::Leadership,
    records::Keys,
    store::{Condition, Put, Revision, Store, StoreError, Txn},
    view::Views,
};

/// Deadlines and graces are looked at this often, when nothing else happens.
const TICK: Duration = Duration::from_secs(1);
/// For our own writes to be seen. Without, the next decision is made from what is known, and its writes are refused.
const SEEN_WITHIN: Duration = Duration::from_secs(1);
/// After a failure of the store.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Leads until `leadership` is over. `findings` brings what is known beside the records.
pub async fn lead(
    store: Arc<dyn Store>,
    keys: &Keys,
    views: &Views,
    leadership: &Leadership,
    findings: &mut mpsc::Receiver<Finding>,
) {
    let led = work(&*store, keys, views, leadership, findings);
    tokio::select! {
        biased;
        () = leadership.lost() => info!("another node leads"),
        () = led => {}
    }
}

/// Never ends.
async fn work(
    store: &dyn Store,
    keys: &Keys,
    views: &Views,
    leadership: &Leadership,
    findings: &mut mpsc::Receiver<Finding>,
) {
    let began = Instant::now();
    let mut memory = Memory::default();
    let mut changes = views.subscribe();
    // What was there when this leadership began: a picture from before might lack the last leader's writes.
    let mut view = views.reached(leadership.created()).await;
    loop {
        let decision = memory.decide(&view, began.elapsed());
        let mut wake = decision.due.map_or(Instant::now() + TICK, |due| (began + due).min(Instant::now() + TICK));
        for blocked in &decision.blocked {
            debug!("pipeline {}: {}", blocked.0, blocked.1);
        }
        match write_all(store, keys, leadership, &decision.writes).await {
            Ok(Some(revision)) => drop(timeout(SEEN_WITHIN, views.reached(revision)).await),
            Ok(None) => {}
            Err(error) => {
                warn!("cannot write assignments: {error}");
                wake = Instant::now() + RETRY_AFTER;
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            Some(finding) = findings.recv() => {
                memory.learn(&finding, began.elapsed());
                // They come together, and need one decision.
                while let Ok(finding) = findings.try_recv() {
                    memory.learn(&finding, began.elapsed());
                }
            }
            () = sleep_until(wake) => {}
        }
        view = Arc::clone(&changes.borrow_and_update());
    }
}

/// Writes each by itself, so that one that somebody else was faster with does not keep the others. Answers the last
/// revision that was written.
async fn write_all(
    store: &dyn Store,
    keys: &Keys,
    leadership: &Leadership,
    writes: &[Write],
) -> Result<Option<Revision>, StoreError> {
    let mut last = None;
    for write in writes {
        match store.txn(transaction(keys, leadership, write)).await {
            Ok(revision) => {
                info!("{write}");
                last = Some(revision);
            }
            // A node has gone on with it, or this leadership is over: either is seen next.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(last)
}

fn transaction(keys: &Keys, leadership: &Leadership, write: &Write) -> Txn {
    let guarded = Txn::when(leadership.guard());
    match write {
        Write::Put { assignment, expected, .. } => {
            let key = keys.assignment(&assignment.pipeline);
            // A record of ours always is JSON.
            let value = serde_json::to_vec(assignment).unwrap_or_default();
            guarded.and(Condition::last_write(&key, *expected)).put(Put::new(&key, value))
        }
        Write::Forget { pipeline, expected } => {
            let key = keys.assignment(pipeline);
            guarded.and(Condition::Modified(key.clone(), *expected)).delete(&key)
        }
    }
}

#[cfg(test)]
mod tests;
