//! The life of a node: everything is started here, and ended in the order that loses nothing.

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    leader::Finding,
    records::{Incarnation, Keys, NodeRecord, PROTOCOL},
    session::{Session, SessionEnded},
    store::{EtcdOptions, EtcdStore, Store},
    view::Views,
};
use rosetta_proto::NodeId;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Channels, Held, Local, Node, Readiness, Tally, Workshop, history, leader, peers, readiness, runner, tally,
};
use crate::{
    catalog::{Catalog, Recorder},
    config::Settings,
    dead_letters::{Desk, RedisStore},
    secret::Keyring,
};

/// For all pipelines to come to the end of a transaction.
const PIPELINES_STOPPED_WITHIN: Duration = Duration::from_millis(1900);
/// What may be found out before the leader looks at it; more has to wait.
const FINDINGS: usize = 1024;

/// What a node is started with.
pub struct NodeOptions {
    pub cluster: String,
    pub id: NodeId,
    /// Where peers and clients reach its gRPC, `host:port`.
    pub address: String,
    pub etcd: EtcdOptions,
    pub catalog: Catalog,
    pub settings: Settings,
    pub keys: Arc<Keyring>,
    /// Where dead letters wait; without, a row that a destination refuses ends its pipeline.
    pub dead_letters: Option<RedisStore>,
}

/// A node that runs.
pub struct Running {
    pub node: Arc<Node>,
    session: Session,
    runner: JoinSet<()>,
    stop_runner: CancellationToken,
    // Aborted on drop.
    _others: JoinSet<()>,
}

/// Starts a node. It registers itself, takes what it is given, and stands for leader, whatever is away at first.
///
/// # Errors
/// The system gives no thread for the session.
pub fn start(options: NodeOptions) -> std::io::Result<Running> {
    let store: Arc<dyn Store> = Arc::new(EtcdStore::new(options.etcd));
    let keys = Keys::new(&options.cluster);
    let record = record(&options.id, &options.address);
    info!(node = %record.id, incarnation = %record.incarnation, cluster = options.cluster, "starting");
    let session = Session::start(&*store, &keys, record.clone())?;
    let views = Views::start(Arc::clone(&store), keys.clone());
    let (local, held) = (Local::default(), Held::default());
    let readiness = Readiness::new(options.dead_letters.is_some());
    let recorder = Recorder::start(options.catalog.clone());
    let letters = options.dead_letters.map(Arc::new);
    let desk = letters.clone().map(|letters| Arc::new(Desk::new(letters)));
    let node = Arc::new(Node {
        record,
        keys,
        store,
        views,
        session: session.watch(),
        catalog: options.catalog,
        recorder,
        channels: Channels::default(),
        local,
        readiness,
        desk,
        held,
        tally: Tally::default(),
    });
    let workshop = Arc::new(Workshop { settings: options.settings, keys: options.keys });
    let (finder, findings) = mpsc::channel::<Finding>(FINDINGS);
    let stop_runner = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(runner::run(Arc::clone(&node), Arc::clone(&workshop), stop_runner.clone()));
    let mut others = JoinSet::new();
    others.spawn(leader::stand(Arc::clone(&node), Arc::clone(&workshop), (finder.clone(), findings)));
    others.spawn(history::keep(Arc::clone(&node)));
    others.spawn(peers::watch_peers(Arc::clone(&node), finder));
    others.spawn(tally::count_taken(Arc::clone(&node)));
    let reached = Arc::clone(&node);
    others.spawn(async move { readiness::reach_catalog(&reached).await });
    if let Some(letters) = letters {
        let reached = Arc::clone(&node);
        others.spawn(async move { readiness::reach_letters(&reached, &letters).await });
    }
    Ok(Running { node, session, runner: running, stop_runner, _others: others })
}

fn record(id: &NodeId, address: &str) -> NodeRecord {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    NodeRecord {
        id: id.clone(),
        incarnation: Incarnation(rand::random()),
        address: address.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        capacity: 1.0,
        started_at_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
    }
}

impl Running {
    /// Waits until the node can go on no more; says why.
    pub async fn ended(&mut self) -> SessionEnded {
        self.node.session.clone().ended().await
    }

    /// Ends all pipelines gently and at once, then the session: other nodes take over what does not come back soon.
    pub async fn stop(mut self) {
        self.stop_runner.cancel();
        let stopped = async { while self.runner.join_next().await.is_some() {} };
        let _ = timeout(PIPELINES_STOPPED_WITHIN, stopped).await;
        self.runner.shutdown().await;
        self.session.stop().await;
    }
}
