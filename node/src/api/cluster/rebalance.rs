//! `Cluster/Rebalance`: the planner's best placement, shown, and carried out a few moves at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rosetta_coordinator::{
    placement::{Action, Mode, Plan},
    store::StoreError,
    view::View,
};
use rosetta_proto::{NodeId, PipelineName, v1};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::{
    Api, moves,
    placement::{next_plan, node, pipelines, settled_plan},
    state,
};

/// What is not moved by then stays; each move takes a second or so, and 32 go at once.
const DONE_WITHIN: Duration = Duration::from_mins(10);

/// What would be moved, and how even it makes the cluster.
pub(super) fn show(view: &View) -> v1::RebalanceResponse {
    let plan = settled_plan(view, Mode::Rebalance);
    let mut loads = Loads::of(view);
    let imbalance_before = loads.imbalance();
    let moves: Vec<v1::PlannedMove> = begun(&plan).filter_map(|step| planned(view, &step)).collect();
    for step in begun(&plan) {
        loads.take(view, &step);
    }
    v1::RebalanceResponse { moves, imbalance_before, imbalance_after: loads.imbalance() }
}

/// Moves until nothing is left to be moved and nothing is under way. What does not succeed is not tried again.
pub(super) async fn carry_out(api: Arc<Api>) {
    let until = Instant::now() + DONE_WITHIN;
    let mut views = api.node.views.subscribe();
    let mut tried = BTreeSet::new();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let plan = next_plan(&view, Mode::Rebalance);
        let new: Vec<Step<'_>> = begun(&plan).filter(|step| !tried.contains(&step.key())).collect();
        let is_under_way = view.assignments.values().any(|assignment| assignment.record.handover.is_some());
        if new.is_empty() && !is_under_way {
            info!("the cluster is balanced: {} pipelines were moved", tried.len());
            return;
        }
        for step in new {
            match begin(&api, &view, step.action).await {
                Ok(()) => drop(tried.insert(step.key())),
                // The record is another one by now: the next picture shows it.
                Err(StoreError::Conflict) => {}
                Err(error) => warn!("pipeline {} is not moved yet: {error}", step.pipeline),
            }
        }
        if !matches!(timeout_at(until, views.changed()).await, Ok(Ok(()))) {
            warn!("rebalancing took more than {DONE_WITHIN:?} and is given up; repeat it if loads are still apart");
            return;
        }
    }
}

async fn begin(api: &Api, view: &View, action: &Action) -> Result<(), StoreError> {
    let Some(current) = view.assignments.get(action.pipeline()) else { return Ok(()) };
    let Some(after) = action.record(Some(&current.record)) else { return Ok(()) };
    api.node.store.txn(moves::write(&api.node.keys, &after, Some(current.modified))).await.map(drop)
}

/// A handover that a plan begins. What has no owner is the leader's.
struct Step<'a> {
    action: &'a Action,
    pipeline: &'a PipelineName,
    to: &'a NodeId,
    reason: v1::MoveReason,
}

impl Step<'_> {
    fn key(&self) -> (PipelineName, NodeId) {
        (self.pipeline.clone(), self.to.clone())
    }
}

fn begun(plan: &Plan) -> impl Iterator<Item = Step<'_>> {
    plan.actions.iter().filter_map(|action| match action {
        Action::Move { pipeline, to, reason } => {
            Some(Step { action, pipeline, to: &to.node, reason: state::reason(*reason) })
        }
        Action::Assign { .. } | Action::Blocked { .. } => None,
    })
}

fn planned(view: &View, step: &Step<'_>) -> Option<v1::PlannedMove> {
    let from = &view.assignments.get(step.pipeline)?.record.owner.node;
    Some(v1::PlannedMove {
        pipeline: step.pipeline.to_string(),
        from: from.to_string(),
        to: step.to.to_string(),
        reason: step.reason.into(),
    })
}

/// What the nodes carry that may be given something, with what is on its way.
struct Loads {
    /// Capacity and weight.
    nodes: BTreeMap<NodeId, (f64, f64)>,
    weights: BTreeMap<PipelineName, f64>,
}

impl Loads {
    fn of(view: &View) -> Loads {
        let open =
            view.nodes.iter().map(|(id, recorded)| (id, node(view, recorded))).filter(|(_, node)| node.is_eligible());
        let mut loads = Loads {
            nodes: open.map(|(id, node)| (id.clone(), (node.capacity, 0.0))).collect(),
            weights: BTreeMap::new(),
        };
        for pipeline in pipelines(view) {
            let weight = pipeline.effective_weight();
            if let Some(on) = view.assignments.get(&pipeline.name).map(|recorded| destined(&recorded.record)) {
                loads.add(on, weight);
            }
            loads.weights.insert(pipeline.name, weight);
        }
        loads
    }

    fn take(&mut self, view: &View, step: &Step<'_>) {
        let weight = self.weights.get(step.pipeline).copied().unwrap_or_default();
        if let Some(current) = view.assignments.get(step.pipeline) {
            self.add(destined(&current.record), -weight);
        }
        self.add(step.to, weight);
    }

    fn add(&mut self, node: &NodeId, weight: f64) {
        if let Some((_, load)) = self.nodes.get_mut(node) {
            *load += weight;
        }
    }

    /// The greatest load of a node divided by the mean, both in relation to what nodes can carry. 1 when there is none.
    fn imbalance(&self) -> f64 {
        let capacity: f64 = self.nodes.values().map(|(capacity, _)| capacity).sum();
        let load: f64 = self.nodes.values().map(|(_, load)| load).sum();
        if load <= 0.0 || capacity <= 0.0 {
            return 1.0;
        }
        let greatest = self.nodes.values().map(|(capacity, load)| load / capacity).fold(0.0, f64::max);
        greatest / (load / capacity)
    }
}

/// Where it will be.
fn destined(assignment: &rosetta_coordinator::records::Assignment) -> &NodeId {
    assignment.handover.as_ref().map_or(&assignment.owner.node, |handover| &handover.next.node)
}

#[cfg(test)]
mod tests {
    use super::{super::placement::samples::Sample, *};

    #[test]
    fn what_is_uneven_is_shown_with_the_way_to_even() {
        let sample = Sample::default().node("a").node("b").owned("one", "a").owned("two", "a");
        let shown = show(&sample.owned("three", "a").owned("four", "a").view());
        assert_eq!((shown.imbalance_before, shown.imbalance_after), (2.0, 1.0));
        let ways: Vec<_> = shown.moves.iter().map(|one| (one.from.as_str(), one.to.as_str(), one.reason())).collect();
        assert_eq!(ways, [("a", "b", v1::MoveReason::Asked); 2]);
    }

    #[test]
    fn what_is_even_or_empty_stays() {
        for sample in [Sample::default().node("a").node("b").owned("one", "a").owned("two", "b"), Sample::default()] {
            let shown = show(&sample.view());
            assert_eq!((shown.moves.len(), shown.imbalance_before, shown.imbalance_after), (0, 1.0, 1.0));
        }
    }

    #[test]
    fn closed_nodes_count_neither_as_givers_nor_in_the_mean() {
        let sample = Sample::default().node("a").node("b").node("c").intent("c", true, false);
        let shown = show(&sample.owned("one", "a").owned("two", "b").owned("three", "c").view());
        assert_eq!((shown.moves, shown.imbalance_before), (vec![], 1.0));
    }
}
