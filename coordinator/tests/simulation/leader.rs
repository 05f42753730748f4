//! The leader within a process: views in, records to be written out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rosetta_coordinator::{
    Moment,
    handover::{Compensation, LeaderStep, leader_step},
    placement::{Inputs, Mode, Node, Pipeline, Presence, Unreachable, plan},
    records::{Assignment, Desired, EpochBlock, PROTOCOL, PipelineRecord},
};
use rosetta_proto::{NodeId, PipelineName};

use crate::{store::Snapshot, world::PIPELINES};

/// A record to be written upon the revision from which it was decided.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) pipeline: usize,
    pub(crate) assignment: Assignment,
    pub(crate) expected: u64,
}

/// What a leader remembers, from the moment it leads.
#[derive(Debug, Default)]
pub(crate) struct Leader {
    pub(crate) presence: Presence,
    is_balancing: bool,
    /// Since when the present record of a pipeline is known, and since when its block.
    seen: BTreeMap<usize, (u64, Moment)>,
    blocks: BTreeMap<usize, (EpochBlock, Moment)>,
    unreachable: BTreeMap<usize, Vec<Unreachable>>,
}

pub(crate) fn node_id(node: usize) -> NodeId {
    format!("n{node}").parse().expect("a name")
}

fn pipeline_name(pipeline: usize) -> PipelineName {
    format!("p{pipeline}").parse().expect("a name")
}

impl Leader {
    pub(crate) fn decide(&mut self, view: &Snapshot, now: Moment) -> Vec<Decision> {
        let nodes = self.nodes(view, now);
        let mut decisions = Vec::new();
        let mut orphans = BTreeSet::new();
        for (pipeline, (assignment, revision)) in &view.assignments {
            let first_seen = self.first_seen(*pipeline, assignment, *revision, now);
            match leader_step(assignment, &nodes, first_seen, now) {
                LeaderStep::Settled | LeaderStep::Wait { .. } => {}
                LeaderStep::Orphaned { .. } => {
                    orphans.insert(*pipeline);
                }
                LeaderStep::Write { assignment: write, why } => {
                    self.compensate(*pipeline, assignment, why, now);
                    decisions.push(Decision { pipeline: *pipeline, assignment: write, expected: *revision });
                }
            }
        }
        let compensated: BTreeSet<usize> = decisions.iter().map(|decision| decision.pipeline).collect();
        let inputs = self.inputs(view, nodes, &orphans, now);
        let plan = plan(&inputs, now);
        self.is_balancing = plan.is_balancing;
        for action in plan.writes() {
            let pipeline = (0..PIPELINES).find(|number| pipeline_name(*number) == *action.pipeline());
            let Some(pipeline) = pipeline.filter(|pipeline| !compensated.contains(pipeline)) else { continue };
            let current = view.assignments.get(&pipeline);
            if let Some(assignment) = action.record(current.map(|(assignment, _)| assignment)) {
                decisions.push(Decision {
                    pipeline,
                    assignment,
                    expected: current.map_or(0, |(_, revision)| *revision),
                });
            }
        }
        decisions
    }

    fn nodes(&mut self, view: &Snapshot, now: Moment) -> Vec<Node> {
        let intent = |node: &usize| view.intents.get(node).copied().unwrap_or_default();
        let ids: Vec<NodeId> = view.nodes.keys().map(|node| node_id(*node)).collect();
        let live = ids.iter().zip(&view.nodes).map(|(id, (node, record))| (id, record.incarnation, intent(node)));
        self.presence.observe(live, view.assignments.values().map(|(assignment, _)| &assignment.owner), now);
        let node = |(number, record): (&usize, &crate::store::Registered)| Node {
            id: node_id(*number),
            incarnation: record.incarnation,
            capacity: 1.0,
            protocol: PROTOCOL,
            intent: intent(number),
            open_since: self.presence.open_since(&node_id(*number)).unwrap_or(now),
        };
        view.nodes.iter().map(node).collect()
    }

    fn first_seen(&mut self, pipeline: usize, assignment: &Assignment, revision: u64, now: Moment) -> Moment {
        let block = self.blocks.entry(pipeline).or_insert((assignment.block, now));
        if block.0 != assignment.block {
            *block = (assignment.block, now);
        }
        let seen = self.seen.entry(pipeline).or_insert((revision, now));
        if seen.0 != revision {
            *seen = (revision, now);
        }
        seen.1
    }

    /// Remembers for a minute that the next owner could not take it.
    fn compensate(&mut self, pipeline: usize, assignment: &Assignment, why: Compensation, now: Moment) {
        let Some(handover) = &assignment.handover else { return };
        match why {
            Compensation::PrepareTimedOut | Compensation::TakeOverTimedOut => {
                let report = Unreachable { node: handover.next.node.clone(), since: now };
                self.unreachable.entry(pipeline).or_default().push(report);
            }
            Compensation::NextGone | Compensation::NextCloses | Compensation::ReleaseTimedOut => {}
        }
    }

    fn inputs(&mut self, view: &Snapshot, nodes: Vec<Node>, orphans: &BTreeSet<usize>, now: Moment) -> Inputs {
        for reports in self.unreachable.values_mut() {
            reports.retain(|report| now.saturating_sub(report.since) < Duration::from_secs(60));
        }
        let pipeline = |number: usize| {
            let record = PipelineRecord {
                name: pipeline_name(number),
                revision: 1,
                desired: Desired::Start,
                pin: None,
                restarts: 0,
                definition: Default::default(),
            };
            let assignment = view.assignments.get(&number).map(|(assignment, _)| assignment.clone());
            let assigned_at = self.blocks.get(&number).map_or(now, |(_, since)| *since);
            let unreachable = self.unreachable.get(&number).cloned().unwrap_or_default();
            let is_orphaned = orphans.contains(&number);
            Pipeline { is_orphaned, unreachable, ..Pipeline::new(&record, assignment, assigned_at) }
        };
        Inputs {
            nodes,
            vanished: self.presence.vanished(),
            pipelines: (0..PIPELINES).map(pipeline).collect(),
            mode: if self.is_balancing { Mode::Balancing } else { Mode::Steady },
            ..Inputs::default()
        }
    }
}
