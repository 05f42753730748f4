//! What a node does about leading: it stands for it, and while it leads it plans and publishes.

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    election::{Candidate, Leadership},
    leader,
    records::Owner,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{Node, publish::publish};
use crate::catalog::Listener;

/// After a failure of the config database or of etcd.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Stands for leader, and leads, until the session has ended. `found_dead` brings starts of nodes whose processes are gone;
/// `check_interval` is how often definitions are read without a notification.
pub(super) async fn stand(node: Arc<Node>, mut found_dead: mpsc::Receiver<Owner>, check_interval: Duration) {
    let mut candidate =
        Candidate::new(Arc::clone(&node.store), node.keys.clone(), node.record.id.clone(), node.session.clone());
    while let Ok(leadership) = candidate.win().await {
        info!("this node leads");
        tokio::select! {
            biased;
            () = leader::lead(Arc::clone(&node.store), &node.keys, &node.views, &leadership, &mut found_dead) => {}
            () = keep_published(&node, &leadership, check_interval) => {}
        }
    }
}

/// Carries definitions from the config database to etcd whenever they change. Never ends.
async fn keep_published(node: &Node, leadership: &Leadership, check_interval: Duration) {
    let mut listener: Listener = node.catalog.listen();
    let mut is_told = false;
    loop {
        let wait = match publish(node, leadership).await {
            Ok(()) => {
                is_told = false;
                check_interval
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
            () = sleep_until(Instant::now() + wait) => {}
        }
    }
}
