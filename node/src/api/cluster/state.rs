//! A cluster as it is shown, from its records. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rosetta_coordinator::{
    placement::{Mode, Plan},
    records::{Assignment, Handover, MoveReason, NodeIntent, Step},
    view::View,
};
use rosetta_proto::{NodeId, v1};

use super::{
    placement::{blocked, pipelines, settled_plan},
    stored::at,
};

/// Everything.
pub(super) fn cluster(view: &View, name: &str) -> v1::ClusterState {
    let gone = wanted_of(view).into_iter().filter(|id| !view.nodes.contains_key(id));
    let ids: BTreeSet<NodeId> = view.nodes.keys().cloned().chain(gone).collect();
    let figures = Figures::of(view);
    v1::ClusterState {
        name: name.to_owned(),
        nodes: ids.iter().map(|id| figures.node(view, id)).collect(),
        leader: view.leader().map(|leader| leader.node.to_string()).unwrap_or_default(),
        assignments: view.assignments.values().map(|recorded| assignment(view, &recorded.record)).collect(),
        revision: u64::try_from(view.revision.0).unwrap_or_default(),
    }
}

/// One node; `None` if there is none of that id and nothing is wanted of it.
pub(super) fn node(view: &View, id: &NodeId) -> Option<v1::Node> {
    is_known(view, id).then(|| Figures::of(view).node(view, id))
}

/// It lives, or something is wanted of it.
pub(super) fn is_known(view: &View, id: &NodeId) -> bool {
    view.nodes.contains_key(id) || wanted_of(view).contains(id)
}

/// The nodes of which something is wanted: an intent, a pipeline, a pin.
fn wanted_of(view: &View) -> BTreeSet<NodeId> {
    let intents = view.intents.iter().filter(|(_, intent)| intent.record != NodeIntent::default());
    let owners = view.assignments.values().map(|assignment| assignment.record.owner.node.clone());
    let pins = view.pipelines.values().filter_map(|pipeline| pipeline.record.pin.clone());
    intents.map(|(id, _)| id.clone()).chain(owners).chain(pins).collect()
}

/// What nodes carry.
struct Figures {
    /// Pipelines, and the sum of their weights.
    carried: BTreeMap<NodeId, (u32, f64)>,
    /// The nodes to which something is on its way.
    receivers: BTreeSet<NodeId>,
    /// Only where a node is to be emptied or gone: what is in the way.
    plan: Option<Plan>,
}

impl Figures {
    fn of(view: &View) -> Figures {
        let mut carried: BTreeMap<NodeId, (u32, f64)> = BTreeMap::new();
        let mut receivers = BTreeSet::new();
        for pipeline in pipelines(view) {
            let Some(assignment) = &pipeline.assignment else { continue };
            let (count, load) = carried.entry(assignment.owner.node.clone()).or_default();
            *count += 1;
            *load += pipeline.effective_weight();
            receivers.extend(assignment.handover.as_ref().map(|handover| handover.next.node.clone()));
        }
        let is_leaving = |id: &NodeId| intent(view, id).draining || !view.nodes.contains_key(id);
        let plan = carried.keys().any(is_leaving).then(|| settled_plan(view, Mode::Steady));
        Figures { carried, receivers, plan }
    }

    fn node(&self, view: &View, id: &NodeId) -> v1::Node {
        let (pipelines, load) = self.carried.get(id).copied().unwrap_or_default();
        let state = self.state(view, id);
        let is_leaving = matches!(state, v1::NodeState::Draining | v1::NodeState::Gone);
        let plan = self.plan.as_ref().filter(|_| is_leaving);
        let seen = v1::Node {
            id: id.to_string(),
            state: state.into(),
            is_leader: view.leader().is_some_and(|leader| leader.node == *id),
            pipelines,
            load,
            blocked: plan.map(|plan| blocked(view, plan, id)).unwrap_or_default(),
            ..v1::Node::default()
        };
        let Some(record) = view.nodes.get(id).map(|recorded| &recorded.record) else { return seen };
        v1::Node {
            incarnation: record.incarnation.to_string(),
            address: record.address.clone(),
            version: record.version.clone(),
            capacity: record.capacity,
            started_at: Some(at(record.started_at_ms).into()),
            ..seen
        }
    }

    fn state(&self, view: &View, id: &NodeId) -> v1::NodeState {
        let is_empty = !self.carried.contains_key(id) && !self.receivers.contains(id);
        match intent(view, id) {
            _ if !view.nodes.contains_key(id) => v1::NodeState::Gone,
            NodeIntent { draining: true, .. } if is_empty => v1::NodeState::Drained,
            NodeIntent { draining: true, .. } => v1::NodeState::Draining,
            NodeIntent { cordoned: true, .. } => v1::NodeState::Cordoned,
            NodeIntent { .. } => v1::NodeState::Active,
        }
    }
}

fn intent(view: &View, id: &NodeId) -> NodeIntent {
    view.intents.get(id).map(|intent| intent.record).unwrap_or_default()
}

fn assignment(view: &View, assignment: &Assignment) -> v1::PipelineAssignment {
    let pin = view.pipelines.get(&assignment.pipeline).and_then(|pipeline| pipeline.record.pin.as_ref());
    v1::PipelineAssignment {
        pipeline: assignment.pipeline.to_string(),
        node: assignment.owner.node.to_string(),
        epoch: assignment.block.first().0,
        handover: assignment.handover.as_ref().map(handover),
        pin: pin.map(ToString::to_string).unwrap_or_default(),
    }
}

fn handover(handover: &Handover) -> v1::Handover {
    let step = match handover.step {
        Step::Preparing => v1::HandoverStep::Preparing,
        Step::Prepared => v1::HandoverStep::Prepared,
        Step::Released => v1::HandoverStep::Released,
    };
    v1::Handover { next: handover.next.node.to_string(), step: step.into(), reason: reason(handover.reason).into() }
}

pub(super) fn reason(reason: MoveReason) -> v1::MoveReason {
    match reason {
        MoveReason::Placed => v1::MoveReason::Placed,
        MoveReason::Failover => v1::MoveReason::Failover,
        MoveReason::Drain => v1::MoveReason::Drain,
        MoveReason::Balance => v1::MoveReason::Balance,
        MoveReason::Asked => v1::MoveReason::Asked,
        MoveReason::Unreachable => v1::MoveReason::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::placement::samples::Sample, *};

    fn states(view: &View) -> Vec<(String, v1::NodeState, u32)> {
        cluster(view, "test").nodes.iter().map(|node| (node.id.clone(), node.state(), node.pipelines)).collect()
    }

    fn seen(id: &str, state: v1::NodeState, pipelines: u32) -> (String, v1::NodeState, u32) {
        (id.to_owned(), state, pipelines)
    }

    #[test]
    fn nodes_are_shown_by_what_is_wanted_of_them() {
        use v1::NodeState::{Active, Cordoned, Drained, Draining, Gone};
        let view = Sample::default()
            .node("a")
            .node("b")
            .node("c")
            .node("d")
            .intent("b", true, false)
            .intent("c", false, true)
            .intent("d", false, true)
            .intent("e", true, false)
            .intent("old", false, false)
            .owned("one", "c")
            .owned("two", "f")
            .pinned("three", Some("g"))
            .view();
        let expected = [
            seen("a", Active, 0),
            seen("b", Cordoned, 0),
            seen("c", Draining, 1),
            seen("d", Drained, 0),
            seen("e", Gone, 0),
            seen("f", Gone, 1),
            seen("g", Gone, 0),
        ];
        assert_eq!(states(&view), expected);
    }

    #[test]
    fn a_draining_node_to_which_something_comes_is_not_drained() {
        let view = Sample::default().node("a").node("b").intent("b", false, true);
        let view = view.moving("one", "a", "b", Step::Preparing).view();
        assert_eq!(states(&view)[1], seen("b", v1::NodeState::Draining, 0));
    }

    #[test]
    fn leader_assignments_and_figures() {
        let view = Sample::default().node("a").node("b").leader("b").leader("a");
        let view = view.moving("one", "a", "b", Step::Prepared).pinned("two", Some("a")).owned("two", "a").view();
        let state = cluster(&view, "test");
        assert_eq!((state.name.as_str(), state.leader.as_str(), state.revision > 0), ("test", "b", true));
        assert_eq!(state.nodes.iter().map(|node| node.is_leader).collect::<Vec<_>>(), [false, true]);
        let a = &state.nodes[0];
        assert_eq!((a.incarnation.as_str(), a.address.as_str(), a.load), ("0000000000000001", "a:50051", 2.0));
        let one = &state.assignments[0];
        assert_eq!((one.node.as_str(), one.epoch, one.pin.as_str()), ("a", 7000, ""));
        let handover = one.handover.clone().expect("it moves");
        assert_eq!((handover.next.as_str(), handover.step()), ("b", v1::HandoverStep::Prepared));
        assert_eq!((state.assignments[1].pin.as_str(), &state.assignments[1].handover), ("a", &None));
    }

    #[test]
    fn only_known_nodes_are_found() {
        let view = Sample::default().node("a").intent("b", true, false).view();
        let known = |id: &str| node(&view, &id.parse().unwrap()).map(|node| node.state());
        assert_eq!(known("a"), Some(v1::NodeState::Active));
        assert_eq!(known("b"), Some(v1::NodeState::Gone));
        assert_eq!(known("c"), None);
    }
}
