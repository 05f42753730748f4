//! What a node does about leading: it stands for it, and while it leads it plans, publishes, and takes away what deleted
//! pipelines leave.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rosetta_coordinator::{
    election::{Candidate, Leadership},
    leader::{self, Finding},
};
use rosetta_proto::PipelineName;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    Node, Workshop,
    publish::{PublishError, publish},
    removal::remove,
    reports,
};
use crate::{
    catalog::{Catalog, Deletion},
    secret::Keyring,
};

/// After a failure of the config database or of etcd.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Stands for leader, and leads, until the session has ended. `findings` is what it
/// then knows beside the records.
pub(super) async fn stand(
    node: Arc<Node>,
    workshop: Arc<Workshop>,
    (finder, mut findings): (mpsc::Sender<Finding>, mpsc::Receiver<Finding>),
) {
    let mut candidate =
        Candidate::new(Arc::clone(&node.store), node.keys.clone(), node.record.id.clone(), node.session.clone());
    while let Ok(leadership) = candidate.win().await {
        info!("this node leads");
        let publisher = Publisher {
            node: &node,
            workshop: &workshop,
            leadership: &leadership,
            removals: JoinSet::new(),
            removed: BTreeSet::new(),
        };
        tokio::select! {
            biased;
            () = leader::lead(Arc::clone(&node.store), &node.keys, &node.views, &leadership, &mut findings) => {}
            () = publisher.keep() => {}
            () = reports::gather(&node, &finder) => {}
        }
    }
}

/// Carries the config database's will to etcd.
struct Publisher<'a> {
    node: &'a Node,
    workshop: &'a Workshop,
    leadership: &'a Leadership,
    /// What deleted pipelines leave is being taken away.
    removals: JoinSet<Result<(), String>>,
    /// Those pipelines: none of them is published anew meanwhile.
    removed: BTreeSet<PipelineName>,
}

impl Publisher<'_> {
    /// Publishes whenever something has changed. Never ends.
    async fn keep(mut self) {
        let mut listener = self.node.catalog.listen();
        let mut is_told = false;
        loop {
            let wait = match self.round().await {
                Ok(wait) => {
                    is_told = false;
                    wait
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        warn!("definitions are not published: {error}; what is published already runs on");
                    }
                    RETRY_AFTER
                }
            };
            tokio::select! {
                () = listener.changed() => {}
                Some(removed) = self.removals.join_next() => if let Ok(Err(reason)) = removed { warn!("{reason}") },
                () = sleep_until(Instant::now() + wait) => {}
            }
        }
    }

    /// How long to wait for the next round, if nobody tells of a change.
    async fn round(&mut self) -> Result<Duration, PublishError> {
        if self.removals.is_empty() {
            self.removed.clear();
        }
        let deletions = self.node.catalog.deletions().await?;
        publish(self.node, self.leadership, &self.removed).await?;
        if deletions.is_empty() || !self.removals.is_empty() {
            return Ok(self.workshop.settings.check_interval);
        }
        let view = self.node.views.now();
        for deletion in deletions {
            let Ok(name) = deletion.pipeline.parse::<PipelineName>() else { continue };
            if view.pipelines.contains_key(&name) || view.assignments.contains_key(&name) {
                continue;
            }
            self.removed.insert(name);
            self.removals.spawn(take_away(self.node.catalog.clone(), Arc::clone(&self.workshop.keys), deletion));
        }
        Ok(RETRY_AFTER)
    }
}

async fn take_away(catalog: Catalog, keys: Arc<Keyring>, deletion: Deletion) -> Result<(), String> {
    let failed = |cause: String| {
        format!(
            "pipeline {} is deleted, but what it left is not taken away yet: {cause}; trying again",
            deletion.pipeline
        )
    };
    let definitions = deletion.open(&keys).map_err(|error| failed(error.to_string()))?;
    remove(&definitions).await.map_err(|error| failed(error.to_string()))?;
    catalog.deleted(&deletion).await.map_err(|error| failed(error.to_string()))
}
