//! What etcd says: who is there, who leads, who owns what, and what has moved.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rosetta_coordinator::{
    records::{Assignment, Incarnation, Keys, MoveReason},
    store::{EtcdOptions, EtcdStore, Store},
    view::{View, Views},
};
use tokio::task::JoinSet;

use super::node::CLUSTER;

/// One start of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub incarnation: Incarnation,
    pub started_at_ms: i64,
}

/// The records of the cluster under test, as its own nodes read them.
pub struct Records {
    pub store: Arc<dyn Store>,
    pub keys: Keys,
    views: Views,
}

impl Records {
    pub(super) fn of(endpoints: &[String]) -> Records {
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(EtcdOptions::new(endpoints.to_vec())));
        let keys = Keys::new(CLUSTER);
        let views = Views::start(Arc::clone(&store), keys.clone());
        Records { store, keys, views }
    }

    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.views.now()
    }

    /// The nodes that are registered.
    #[must_use]
    pub fn live(&self) -> BTreeMap<String, Start> {
        let start = |record: &rosetta_coordinator::records::NodeRecord| Start {
            incarnation: record.incarnation,
            started_at_ms: record.started_at_ms,
        };
        self.view().nodes.iter().map(|(id, node)| (id.to_string(), start(&node.record))).collect()
    }

    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.view().leader().map(|leader| leader.node.to_string())
    }

    /// The owner of each pipeline that has one.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<String, String> {
        owners(&self.view())
    }

    /// The pipelines of `node`.
    #[must_use]
    pub fn owned_by(&self, node: &str) -> Vec<String> {
        self.owners().into_iter().filter(|(_, owner)| owner == node).map(|(pipeline, _)| pipeline).collect()
    }

    #[must_use]
    pub fn assignment(&self, pipeline: &str) -> Option<Assignment> {
        let name = pipeline.parse().ok()?;
        self.view().assignments.get(&name).map(|recorded| recorded.record.clone())
    }

    /// How many handovers are under way.
    #[must_use]
    pub fn moving(&self) -> usize {
        self.view().assignments.values().filter(|recorded| recorded.record.handover.is_some()).count()
    }

    /// Takes down from now on which pipelines change their node.
    #[must_use]
    pub fn watch_moves(&self) -> Moves {
        let mut views = self.views.subscribe();
        let seen: Arc<Mutex<Vec<Move>>> = Arc::default();
        let moves = Arc::clone(&seen);
        let mut last = self.view();
        views.mark_unchanged();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while views.changed().await.is_ok() {
                let view = Arc::clone(&views.borrow_and_update());
                let found = moves_between(&last, &view);
                moves.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                last = view;
            }
        });
        Moves { seen, _task: task }
    }
}

fn owners(view: &View) -> BTreeMap<String, String> {
    let owner = |(name, recorded): (&rosetta_proto::PipelineName, &Arc<_>)| {
        let recorded: &rosetta_coordinator::view::Recorded<Assignment> = recorded;
        (name.to_string(), recorded.record.owner.node.to_string())
    };
    view.assignments.iter().map(owner).collect()
}

/// A pipeline has another node than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub pipeline: String,
    pub from: String,
    pub to: String,
    /// Of the handover that was under way; none for a failover.
    pub reason: Option<MoveReason>,
}

pub struct Moves {
    seen: Arc<Mutex<Vec<Move>>>,
    // Aborted on drop.
    _task: JoinSet<()>,
}

impl Moves {
    /// All so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Move> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often each pipeline that moved did.
    #[must_use]
    pub fn by_pipeline(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in self.seen() {
            *counts.entry(seen.pipeline).or_default() += 1;
        }
        counts
    }
}

fn moves_between(before: &View, after: &View) -> Vec<Move> {
    let (old, new) = (owners(before), owners(after));
    let moved = new.into_iter().filter_map(|(pipeline, to)| {
        let from = old.get(&pipeline).filter(|from| **from != to)?.clone();
        let name = pipeline.parse().ok()?;
        let reason = before.assignments.get(&name).and_then(|a| Some(a.record.handover.as_ref()?.reason));
        Some(Move { pipeline, from, to, reason })
    });
    moved.collect()
}
