//! The changes of a store, as they come.

use tokio::{sync::mpsc, task::JoinSet};

use super::{Entry, Revision, StoreError};

/// How many groups of changes may wait for the user of a watch; beyond, the store itself has to wait.
pub(super) const WAITING: usize = 64;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Put(Entry),
    Delete { key: String, revision: Revision },
}

impl Event {
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Event::Put(entry) => &entry.key,
            Event::Delete { key, .. } => key,
        }
    }

    /// The revision that the change made.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Event::Put(entry) => entry.modified,
            Event::Delete { revision, .. } => *revision,
        }
    }
}

/// Changes that belong together: what one write did is never in two of these. In the order of their revisions.
pub type Changes = Vec<Event>;

/// A watch under way. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Result<Changes, StoreError>>,
    // Aborted with the watch.
    _source: JoinSet<()>,
}

impl Watch {
    pub(super) fn new(changes: mpsc::Receiver<Result<Changes, StoreError>>, source: JoinSet<()>) -> Watch {
        Watch { changes, _source: source }
    }

    /// The next changes; cancel-safe. After an error the watch is over.
    ///
    /// # Errors
    /// `Compacted`; `Unavailable` when the store fell silent or broke the connection.
    pub async fn next(&mut self) -> Result<Changes, StoreError> {
        self.changes.recv().await.unwrap_or_else(|| {
            Err(StoreError::Unavailable {
                place: "the watched store".to_owned(),
                cause: "the watch is over".to_owned(),
            })
        })
    }
}
