//! Finds out that another node's process is gone, long before its lease ends.
//!
//!     hold a stream -> it breaks -> connect again -> refused: gone. Revoke its lease, tell the leader.
//!                                                 -> connected: hold again; another incarnation answers: gone.
//!                                                 -> anything else proves nothing: try again, slower.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rosetta_coordinator::{
    leader::Finding,
    records::{Incarnation, NodeRecord, Owner},
};
use rosetta_proto::{
    NodeId, error_details,
    v1::{HoldRequest, peers_client::PeersClient},
};
use tokio::{
    net::{TcpStream, lookup_host},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tonic::{Status, transport::Endpoint};
use tracing::{debug, info, warn};

use super::Node;

/// How often a node that is held says that it lives.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A stream without a beat for so long is opened anew: the way may have died without a word.
const SILENT_AFTER: Duration = Duration::from_secs(4);
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
/// After a break: at once, for a process that ends may take a moment to close its port; then slower.
const RETRY_AFTER_MS: [u64; 8] = [0, 2, 5, 10, 20, 40, 80, 250];
const LATER: Duration = Duration::from_secs(1);
/// A lease ends by itself after six seconds: as long it is worth trying to revoke it.
const REVOKE_ATTEMPTS: u32 = 12;
const REVOKE_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The reason in the error of a process that is not the one that was asked for.
pub const OTHER_INCARNATION: &str = "OTHER_INCARNATION";

/// The nodes that this one holds at this moment, by beats that come.
#[derive(Default)]
pub struct Held(Mutex<BTreeSet<NodeId>>);

impl Held {
    pub fn all(&self) -> BTreeSet<NodeId> {
        self.locked().clone()
    }

    fn set(&self, id: &NodeId, is_held: bool) {
        let mut held = self.locked();
        if is_held {
            held.insert(id.clone());
        } else {
            held.remove(id);
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds every other node of the cluster, for ever. Starts of nodes that are found gone are sent to `findings`, and
/// their leases are revoked.
pub async fn watch_peers(node: Arc<Node>, findings: mpsc::Sender<Finding>) {
    let mut holds = JoinSet::new();
    let mut held: HashMap<NodeId, (Incarnation, AbortHandle)> = HashMap::new();
    let mut views = node.views.subscribe();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        node.channels.retain(|address| view.nodes.values().any(|peer| peer.record.address == address));
        held.retain(|id, (incarnation, hold)| {
            let is_there = view.nodes.get(id).is_some_and(|recorded| recorded.record.incarnation == *incarnation);
            if !is_there {
                hold.abort();
                node.held.set(id, false);
            }
            is_there
        });
        for (id, recorded) in view.nodes.iter().filter(|(id, _)| **id != node.record.id) {
            if held.contains_key(id) {
                continue;
            }
            let hold = holds.spawn(hold(Arc::clone(&node), recorded.record.clone(), findings.clone()));
            held.insert(id.clone(), (recorded.record.incarnation, hold));
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            Some(_) = holds.join_next() => {}
        }
    }
}

/// How an attempt to hold a peer ended.
enum End {
    /// It listens no more.
    Refused,
    /// Its port is another process's.
    Replaced,
    /// Which proves nothing; `had_beats`: it was held until now.
    Broken { had_beats: bool, cause: String },
}

/// Holds one start of a node until it is found gone.
async fn hold(node: Arc<Node>, peer: NodeRecord, findings: mpsc::Sender<Finding>) {
    // One that was never held may listen elsewhere than it says, or not yet: its silence tells nothing.
    let mut was_held = false;
    let mut failures = 0;
    loop {
        let end = attempt(&node, &peer).await;
        node.held.set(&peer.id, false);
        match end {
            End::Refused | End::Replaced if was_held => break,
            End::Refused | End::Replaced => failures += 1,
            End::Broken { had_beats, cause } => {
                debug!(peer = %peer.id, cause, "not held; trying again");
                was_held |= had_beats;
                failures = if had_beats { 0 } else { failures + 1 };
            }
        }
        let wait = RETRY_AFTER_MS.get(failures).map_or(LATER, |millis| Duration::from_millis(*millis));
        sleep(wait).await;
    }
    info!("node {} is gone: its process ({}) listens no more; its lease is revoked", peer.id, peer.incarnation);
    // Whoever leads finds it by itself; a full queue is nobody's who leads.
    let start = Owner { node: peer.id.clone(), incarnation: peer.incarnation };
    let _ = findings.try_send(Finding::Dead(start));
    revoke(&node, &peer).await;
}

/// Connects, and reads beats until they end.
async fn attempt(node: &Node, peer: &NodeRecord) -> End {
    if is_refused(&peer.address).await {
        return End::Refused;
    }
    let broken = |had_beats, cause: String| End::Broken { had_beats, cause };
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{}", peer.address)) else {
        return broken(false, format!("'{}' is not an address", peer.address));
    };
    let endpoint = endpoint.connect_timeout(CONNECTED_WITHIN);
    let request = HoldRequest { node: node.record.id.to_string(), expected_incarnation: peer.incarnation.to_string() };
    let opened = async {
        let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
        PeersClient::new(channel).hold(request).await
    };
    let mut beats = match timeout(SILENT_AFTER, opened).await {
        Ok(Ok(beats)) => beats.into_inner(),
        Ok(Err(status)) if is_of_another(&status) => return End::Replaced,
        Ok(Err(status)) => return broken(false, status.to_string()),
        Err(_) => return broken(false, "no answer".to_owned()),
    };
    let mut had_beats = false;
    loop {
        match timeout(SILENT_AFTER, beats.message()).await {
            Ok(Ok(Some(_))) => {
                had_beats = true;
                node.held.set(&peer.id, true);
            }
            Ok(Ok(None)) => return broken(had_beats, "it ended the stream".to_owned()),
            Ok(Err(status)) => return broken(had_beats, status.to_string()),
            Err(_) => return broken(had_beats, "no beat".to_owned()),
        }
    }
}

fn is_of_another(status: &Status) -> bool {
    error_details(status).reason.as_deref() == Some(OTHER_INCARNATION)
}

/// Whether nobody listens there: every address of the name refuses. Silence, resets and unknown names are no refusal.
async fn is_refused(address: &str) -> bool {
    let Ok(Ok(addresses)) = timeout(CONNECTED_WITHIN, lookup_host(address)).await else { return false };
    let mut has_any = false;
    for address in addresses {
        has_any = true;
        match timeout(CONNECTED_WITHIN, TcpStream::connect(address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(Ok(_) | Err(_)) | Err(_) => return false,
        }
    }
    has_any
}

/// Ends the lease of that very start, if its record is still there.
async fn revoke(node: &Node, peer: &NodeRecord) {
    for _ in 0..REVOKE_ATTEMPTS {
        let view = node.views.now();
        let recorded = view.nodes.get(&peer.id).filter(|now| now.record.incarnation == peer.incarnation);
        let Some(lease) = recorded.and_then(|recorded| recorded.lease) else { return };
        match node.store.revoke(lease).await {
            Ok(()) => return,
            Err(error) => debug!(peer = %peer.id, %error, "cannot revoke its lease; trying again"),
        }
        sleep(REVOKE_AGAIN_AFTER).await;
    }
    warn!("the lease of node {} could not be revoked, and ends by itself", peer.id);
}
