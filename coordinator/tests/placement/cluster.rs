//! A cluster of records only: plans are carried out at once.

use std::{collections::BTreeMap, time::Duration};

use rosetta_coordinator::{
    Moment, handover,
    placement::{Action, Blocked, Inputs, Limits, Mode, Node, Pipeline, Plan, Vanished, plan},
    records::{Desired, Incarnation, MoveReason, NodeIntent, Owner, PROTOCOL},
};
use rosetta_proto::NodeId;

#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) inputs: Inputs,
    pub(crate) now: Moment,
}

pub(crate) const CORDONED: NodeIntent = NodeIntent { cordoned: true, draining: false };
pub(crate) const DRAINING: NodeIntent = NodeIntent { cordoned: false, draining: true };

impl Cluster {
    /// Nodes n0, n1, ... that have been there for an hour, and pipelines p0, p1, ... of these weights, placed.
    pub(crate) fn new(nodes: usize, weights: &[f64]) -> Cluster {
        let mut cluster = Cluster { inputs: Inputs::default(), now: Duration::from_hours(1) };
        cluster.inputs.nodes = (0..nodes).map(|number| node(number, Duration::ZERO)).collect();
        cluster.inputs.pipelines =
            weights.iter().enumerate().map(|(number, weight)| pipeline(number, *weight)).collect();
        cluster.settle();
        cluster.pass(Duration::from_hours(1));
        cluster
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn plan(&self) -> Plan {
        let plan = plan(&self.inputs, self.now);
        let mut names: Vec<_> = plan.actions.iter().map(Action::pipeline).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two actions for one pipeline: {plan:?}");
        plan
    }

    /// Carries out one plan, handovers to their end; says what was written.
    pub(crate) fn carry_out(&mut self) -> Vec<Action> {
        let plan = self.plan();
        self.inputs.mode = match (plan.is_balancing, self.inputs.mode) {
            (_, Mode::Rebalance) => Mode::Rebalance,
            (true, _) => Mode::Balancing,
            (false, _) => Mode::Steady,
        };
        let writes: Vec<Action> = plan.writes().cloned().collect();
        self.pass(Duration::from_millis(1));
        for action in &writes {
            let pipeline =
                self.inputs.pipelines.iter_mut().find(|p| p.name == *action.pipeline()).expect("a known pipeline");
            let current = pipeline.assignment.as_ref();
            let mut record = action.record(current).expect("an action fits the record that it was made for");
            if let Some(under_way) = record.handover.clone() {
                record = handover::grant(&record.pipeline, Some(&record), under_way.next);
            }
            assert!(current.is_none_or(|current| record.block > current.block), "an owner without a block of its own");
            pipeline.assignment = Some(record);
            pipeline.assigned_at = self.now;
            pipeline.is_orphaned = false;
        }
        writes
    }

    /// Carries out plans until there is nothing more to write; says what was, plan by plan.
    pub(crate) fn settle(&mut self) -> Vec<Vec<Action>> {
        let mut rounds = Vec::new();
        loop {
            let writes = self.carry_out();
            if writes.is_empty() {
                return rounds;
            }
            rounds.push(writes);
            assert!(rounds.len() < 3000, "it never settles: {:?}", rounds.last());
        }
    }

    pub(crate) fn join(&mut self, number: usize) {
        self.inputs.nodes.push(node(number, self.now));
    }

    pub(crate) fn vanish(&mut self, number: usize, is_confirmed_dead: bool) {
        let id = id(number);
        self.inputs.nodes.retain(|node| node.id != id);
        self.inputs.vanished.push(Vanished { id, at: self.now, is_confirmed_dead });
    }

    pub(crate) fn intend(&mut self, number: usize, intent: NodeIntent) {
        self.inputs.nodes.iter_mut().find(|node| node.id == id(number)).expect("a live node").intent = intent;
    }

    pub(crate) fn unlimited(mut self) -> Cluster {
        self.inputs.limits = Limits::NONE;
        self
    }

    pub(crate) fn owner(&self, pipeline: usize) -> Option<&NodeId> {
        self.inputs.pipelines[pipeline].assignment.as_ref().map(|assignment| &assignment.owner.node)
    }

    pub(crate) fn owners(&self) -> Vec<Option<NodeId>> {
        (0..self.inputs.pipelines.len()).map(|number| self.owner(number).cloned()).collect()
    }

    pub(crate) fn owned_by(&self, node: usize) -> Vec<usize> {
        (0..self.inputs.pipelines.len()).filter(|number| self.owner(*number) == Some(&id(node))).collect()
    }

    pub(crate) fn start(&self, node: usize) -> Owner {
        self.inputs.nodes.iter().find(|live| live.id == id(node)).expect("a live node").owner()
    }

    /// The load of each node that is alive, in relation to its capacity and to the mean.
    pub(crate) fn loads(&self) -> BTreeMap<NodeId, f64> {
        let capacity: f64 = self.inputs.nodes.iter().map(|node| node.capacity).sum();
        let all: f64 = self.inputs.pipelines.iter().map(|pipeline| pipeline.weight).sum();
        let load = |node: &Node| {
            let owns = |p: &&Pipeline| p.assignment.as_ref().is_some_and(|assignment| assignment.owner.node == node.id);
            let weight: f64 = self.inputs.pipelines.iter().filter(owns).map(|pipeline| pipeline.weight).sum();
            weight / (all * node.capacity / capacity)
        };
        self.inputs.nodes.iter().map(|node| (node.id.clone(), load(node))).collect()
    }

    pub(crate) fn most_loaded(&self) -> f64 {
        self.loads().into_values().fold(0.0, f64::max)
    }

    /// What no placement can be asked to do better: a tenth above the mean, or the mean and one pipeline.
    pub(crate) fn reachable_maximum(&self) -> f64 {
        let capacity: f64 = self.inputs.nodes.iter().map(|node| node.capacity).sum();
        let smallest = self.inputs.nodes.iter().map(|node| node.capacity).fold(f64::MAX, f64::min);
        let all: f64 = self.inputs.pipelines.iter().map(|pipeline| pipeline.weight).sum();
        let heaviest = self.inputs.pipelines.iter().map(|pipeline| pipeline.weight).fold(0.0, f64::max);
        f64::max(1.10, 1.0 + heaviest / (all * smallest / capacity)) + 1e-6
    }
}

pub(crate) fn id(number: usize) -> NodeId {
    format!("n{number}").parse().expect("a name")
}

pub(crate) fn node(number: usize, open_since: Moment) -> Node {
    Node {
        id: id(number),
        incarnation: Incarnation(number as u64 + 1),
        capacity: 1.0,
        protocol: PROTOCOL,
        intent: NodeIntent::default(),
        open_since,
    }
}

pub(crate) fn pipeline(number: usize, weight: f64) -> Pipeline {
    Pipeline {
        name: format!("p{number}").parse().expect("a name"),
        desired: Desired::Start,
        pin: None,
        weight,
        assignment: None,
        assigned_at: Duration::ZERO,
        is_orphaned: false,
        unreachable: Vec::new(),
    }
}

/// Weights as they are met: few heavy pipelines, many light ones.
pub(crate) fn zipf(count: usize) -> Vec<f64> {
    (1..=count).map(|rank| 10.0 / f64::powf(f64::from(u32::try_from(rank).expect("few")), 0.8) + 1.0).collect()
}

pub(crate) fn reasons(actions: &[Action]) -> Vec<MoveReason> {
    let reason = |action: &Action| match action {
        Action::Assign { reason, .. } | Action::Move { reason, .. } => Some(*reason),
        Action::Blocked { .. } => None,
    };
    actions.iter().filter_map(reason).collect()
}

pub(crate) fn blocked(plan: &Plan) -> Vec<Blocked> {
    let reason = |action: &Action| match action {
        Action::Blocked { reason, .. } => Some(reason.clone()),
        Action::Assign { .. } | Action::Move { .. } => None,
    };
    plan.actions.iter().filter_map(reason).collect()
}
