use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rosetta_coordinator::{session::SessionState, view::Contact};
use tokio::time::sleep;
use tracing::{info, warn};

use super::Node;
use crate::dead_letters::RedisStore;

/// Between attempts to reach a server at the start.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whether what a node needs at its start was reached. What goes away later does not make a node unready: its pipelines
/// run on.
pub struct Readiness {
    catalog: Reached,
    dead_letters: Reached,
}

/// Why a server was not reached yet.
struct Reached(Mutex<Option<String>>);

impl Readiness {
    pub(super) fn new(has_dead_letters: bool) -> Readiness {
        let unasked = || Some("not asked yet".to_owned());
        Readiness {
            catalog: Reached(Mutex::new(unasked())),
            dead_letters: Reached(Mutex::new(unasked().filter(|_| has_dead_letters))),
        }
    }
}

impl Default for Readiness {
    /// Of a node without dead letters.
    fn default() -> Readiness {
        Readiness::new(false)
    }
}

impl Reached {
    fn note(&self, missing: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = missing;
    }

    fn missing(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It was asked in vain. Says so once for each cause, and waits for the next time.
    async fn missed(&self, error: impl Display) {
        let reason = error.to_string();
        if self.missing().as_ref() != Some(&reason) {
            warn!("not ready: {reason}; trying again");
        }
        self.note(Some(reason));
        sleep(RETRY_AFTER).await;
    }
}

impl Node {
    /// What keeps this node from serving, each with its cause; nothing: it is ready.
    pub fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        match (self.session.state(), self.views.contact().borrow().clone()) {
            (SessionState::Active { .. }, Contact::Current { .. }) => {}
            (_, Contact::Away { error, .. }) => lacks.push(format!("etcd: {error}")),
            (state, _) => lacks.push(format!("etcd: this node is not registered ({state:?})")),
        }
        lacks.extend(self.readiness.catalog.missing().map(|reason| format!("config database: {reason}")));
        lacks.extend(self.readiness.dead_letters.missing().map(|reason| format!("Redis: {reason}")));
        lacks
    }
}

/// Returns once the config database was reached and has its tables.
pub(super) async fn reach_catalog(node: &Node) {
    while let Err(error) = node.catalog.migrate().await {
        node.readiness.catalog.missed(error).await;
    }
    node.readiness.catalog.note(None);
    info!("the config database is there");
}

/// Returns once Redis was reached, and is one that loses nothing.
pub(super) async fn reach_letters(node: &Node, letters: &RedisStore) {
    while let Err(error) = letters.check().await {
        node.readiness.dead_letters.missed(error).await;
    }
    node.readiness.dead_letters.note(None);
    info!("the store of dead letters is there");
}
