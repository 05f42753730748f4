//! Leaders over a store in memory: what they write, and what is refused when they are late.

use std::collections::BTreeSet;

use rosetta_proto::{NodeId, PipelineName};

use super::*;
use crate::{
    election::Candidate,
    placement::UNREACHABLE_AFTER,
    records::{Assignment, Desired, Incarnation, NodeRecord, PROTOCOL, PipelineRecord},
    session::Session,
    store::MemoryStore,
    view::View,
};

struct Cluster {
    store: MemoryStore,
    keys: Keys,
    views: Views,
}

impl Cluster {
    fn new() -> Cluster {
        let (store, keys) = (MemoryStore::new(), Keys::new("test"));
        let views = Views::start(Arc::new(store.clone()), keys.clone());
        Cluster { store, keys, views }
    }

    fn node(&self, id: &str, incarnation: u64) -> Session {
        let record = NodeRecord {
            id: id.parse().unwrap(),
            incarnation: Incarnation(incarnation),
            address: String::new(),
            version: String::new(),
            protocol: PROTOCOL,
            capacity: 1.0,
            started_at_ms: 0,
        };
        Session::start_here(Arc::new(self.store.client(id)), &self.keys, record)
    }

    async fn define(&self, count: usize) {
        for number in 0..count {
            let name: PipelineName = format!("p{number}").parse().unwrap();
            let record = PipelineRecord {
                name: name.clone(),
                revision: 1,
                desired: Desired::Start,
                pin: None,
                restarts: 0,
                definition: serde_json::Value::Null,
            };
            let put = Put::new(&self.keys.pipeline(&name), serde_json::to_vec(&record).unwrap());
            self.store.txn(Txn::default().put(put)).await.unwrap();
        }
    }

    /// Leads in a task of its own, as the node of `session`.
    async fn lead(&self, id: &str, session: &Session) -> tokio::task::JoinHandle<()> {
        let store: Arc<dyn Store> = Arc::new(self.store.client(id));
        let mut candidate = Candidate::new(Arc::clone(&store), self.keys.clone(), id.parse().unwrap(), session.watch());
        let leadership = candidate.win().await.unwrap();
        let (keys, views) = (self.keys.clone(), Views::start(Arc::clone(&store), self.keys.clone()));
        tokio::spawn(async move {
            let (_finder, mut findings) = mpsc::channel(1);
            lead(store, &keys, &views, &leadership, &mut findings).await;
        })
    }

    async fn wait_for(&self, what: &str, is_so: impl Fn(&View) -> bool) -> Arc<View> {
        let mut views = self.views.subscribe();
        let seen = timeout(Duration::from_secs(60), views.wait_for(|view| is_so(view)));
        let view = seen.await.unwrap_or_else(|_| panic!("not within a minute: {what}")).unwrap();
        Arc::clone(&view)
    }
}

fn owners(view: &View) -> BTreeSet<NodeId> {
    view.assignments.values().map(|assignment| assignment.record.owner.node.clone()).collect()
}

fn is_settled(assignment: &Assignment) -> bool {
    assignment.handover.is_none()
}

#[tokio::test]
async fn pipelines_are_spread_and_a_dead_node_s_are_taken_over_with_greater_epochs() {
    let cluster = Cluster::new();
    let (a, b, c) = (cluster.node("a", 1), cluster.node("b", 2), cluster.node("c", 3));
    cluster.wait_for("three nodes", |view| view.nodes.len() == 3).await;
    cluster.define(12).await;
    let leader = cluster.lead("a", &a).await;
    let before = cluster.wait_for("all are assigned", |view| view.assignments.len() == 12).await;
    assert_eq!(owners(&before).len(), 3, "every node has some");
    let lease = c.watch().active().await.unwrap();
    drop(c);
    cluster.store.expire(lease);
    let gone: NodeId = "c".parse().unwrap();
    let after = cluster.wait_for("c has none", |view| view.nodes.len() == 2 && !owners(view).contains(&gone)).await;
    for (name, assignment) in &after.assignments {
        let old = &before.assignments[name].record;
        if old.owner.node == gone {
            assert!(assignment.record.block > old.block, "{name}: a new owner needs a new block");
        } else {
            assert_eq!(assignment.record, *old, "{name} had nothing to do with it");
        }
    }
    drop((b, leader));
}

#[tokio::test]
async fn a_definition_that_goes_takes_its_assignment_with_it() {
    let cluster = Cluster::new();
    let a = cluster.node("a", 1);
    cluster.define(2).await;
    let _leader = cluster.lead("a", &a).await;
    cluster.wait_for("both are assigned", |view| view.assignments.len() == 2).await;
    let name: PipelineName = "p0".parse().unwrap();
    cluster.store.txn(Txn::default().delete(&cluster.keys.pipeline(&name))).await.unwrap();
    let view = cluster.wait_for("one is left", |view| view.assignments.len() == 1).await;
    assert!(view.assignments.values().all(|assignment| is_settled(&assignment.record)));
}

#[tokio::test]
async fn who_leads_no_more_writes_nothing() {
    let cluster = Cluster::new();
    let a = cluster.node("a", 1);
    let store: Arc<dyn Store> = Arc::new(cluster.store.client("a"));
    let mut candidate = Candidate::new(store, cluster.keys.clone(), "a".parse().unwrap(), a.watch());
    let leadership = candidate.win().await.unwrap();
    cluster.define(1).await;
    let view =
        cluster.wait_for("a node and a pipeline", |view| view.nodes.len() == 1 && view.pipelines.len() == 1).await;
    let decision = Memory::default().decide(&view, Duration::ZERO);
    assert_eq!(decision.writes.len(), 1, "{decision:?}");
    leadership.resign().await.unwrap();
    let written = write_all(&cluster.store, &cluster.keys, &leadership, &decision.writes).await;
    assert_eq!(written, Ok(None));
    assert_eq!(cluster.store.list(&cluster.keys.assignments()).await.unwrap().entries, []);
}

#[tokio::test]
async fn a_node_that_joins_is_offered_its_share_and_no_more() {
    let cluster = Cluster::new();
    let a = cluster.node("a", 1);
    cluster.define(8).await;
    let _leader = cluster.lead("a", &a).await;
    cluster.wait_for("all are assigned", |view| view.assignments.len() == 8).await;
    let _b = cluster.node("b", 2);
    let moving = |view: &View| view.assignments.values().filter(|one| !is_settled(&one.record)).count();
    let view = cluster.wait_for("moves begin", |view| moving(view) > 0).await;
    assert!(moving(&view) <= 4, "{} moves at once", moving(&view));
    // Nobody gets ready, since no node runs here: after the deadline all stay where they are.
    let view = cluster.wait_for("the moves are given up", |view| view.nodes.len() == 2 && moving(view) == 0).await;
    assert_eq!(owners(&view).len(), 1);
}

#[tokio::test]
async fn a_pipeline_whose_owner_cannot_reach_its_servers_is_offered_to_another_node() {
    let cluster = Cluster::new();
    let (_a, _b) = (cluster.node("a", 1), cluster.node("b", 2));
    cluster.wait_for("two nodes", |view| view.nodes.len() == 2).await;
    cluster.define(1).await;
    let leader = cluster.lead("a", &_a).await;
    let view = cluster.wait_for("it is assigned", |view| view.assignments.len() == 1).await;
    leader.abort();
    let (name, owned) = view.assignments.first_key_value().unwrap();
    let owner = owned.record.owner.node.clone();
    let report =
        |is_cut_off| Finding::Fares(Report { pipeline: name.clone(), node: owner.clone(), bytes: 0, is_cut_off });
    let mut memory = Memory::default();
    memory.learn(&report(true), Duration::ZERO);
    let early = memory.decide(&view, UNREACHABLE_AFTER - Duration::from_secs(1));
    assert_eq!(early.writes, [], "others had this for a moment, too");
    memory.learn(&report(true), UNREACHABLE_AFTER);
    let moves = memory.decide(&view, UNREACHABLE_AFTER).writes;
    assert!(matches!(&moves[..], [Write::Put { assignment, .. }] if !is_settled(assignment)), "{moves:?}");
    memory.learn(&report(false), UNREACHABLE_AFTER);
    assert_eq!(memory.decide(&view, UNREACHABLE_AFTER).writes, [], "it reaches them again");
}
