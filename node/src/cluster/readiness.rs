use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rosetta_coordinator::{session::SessionState, view::Contact};
use tokio::time::sleep;
use tracing::{info, warn};

use super::Node;

/// Between attempts to reach the config database at the start.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whether what a node needs at its start was reached. What goes away later does not make a node unready: its pipelines
/// run on.
pub struct Readiness {
    /// Why the config database was not reached yet.
    catalog: Mutex<Option<String>>,
}

impl Default for Readiness {
    fn default() -> Readiness {
        Readiness { catalog: Mutex::new(Some("the config database was not asked yet".to_owned())) }
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
        let catalog = self.readiness.catalog.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lacks.extend(catalog.map(|reason| format!("config database: {reason}")));
        lacks
    }
}

/// Returns once the config database was reached and has its tables.
pub(super) async fn reach_catalog(node: &Node) {
    let note = |reason| *node.readiness.catalog.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    let mut told = None;
    while let Err(error) = node.catalog.migrate().await {
        let reason = error.to_string();
        if told.as_ref() != Some(&reason) {
            warn!("not ready: {reason}; trying again");
            told = Some(reason.clone());
        }
        note(Some(reason));
        sleep(RETRY_AFTER).await;
    }
    note(None);
    if told.is_some() {
        info!("the config database is there");
    }
}
