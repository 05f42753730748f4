//! What a leader remembers and decides. Pure: records and the time come in, writes go out.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use rosetta_proto::{NodeId, PipelineName};

use super::{Report, reports::Reports};
use crate::{
    Moment,
    handover::{Compensation, LeaderStep, leader_step},
    placement::{Action, Blocked, Inputs, Limits, Mode, Node, Pipeline, Presence, Unreachable, plan},
    records::{Assignment, EpochBlock, Handover, MoveReason, NodeRecord, Owner, PipelineRecord},
    store::Revision,
    view::{Recorded, View},
};

/// A node that could not take a pipeline over is not asked again for so long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(120);

/// What a leader remembers. A new leader begins with nothing, and is slower for it, never wrong.
#[derive(Debug, Default)]
pub struct Memory {
    presence: Presence,
    /// When each pipeline's assignment became what it is.
    seen: BTreeMap<PipelineName, Seen>,
    unreachable: BTreeMap<PipelineName, Vec<Unreachable>>,
    reports: Reports,
    is_balancing: bool,
}

/// What a leader is told beside the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The process of this start of a node is gone. Its record may still be there.
    Dead(Owner),
    Fares(Report),
}

#[derive(Debug)]
struct Seen {
    owner: NodeId,
    block: EpochBlock,
    assigned_at: Moment,
    handover: Option<Handover>,
    step_at: Moment,
}

/// What is to be written now.
#[derive(Debug, Default)]
pub struct Decision {
    pub writes: Vec<Write>,
    /// The pipelines that should have an owner, or another, and cannot.
    pub blocked: Vec<(PipelineName, Blocked)>,
    /// When to decide again if nothing has changed.
    pub due: Option<Moment>,
}

/// A record to be written, on condition that it was last written at `expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put {
        assignment: Assignment,
        expected: Option<Revision>,
        why: Why,
    },
    /// The pipeline is gone.
    Forget {
        pipeline: PipelineName,
        expected: Revision,
    },
}

/// Why an assignment is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is given to a node.
    Given(MoveReason),
    /// A handover to a node begins.
    Moves(MoveReason),
    /// A handover did not go on.
    Compensated(Compensation),
}

impl Memory {
    /// Takes in what this node has found out by itself, or was told by others.
    pub fn learn(&mut self, finding: &Finding, now: Moment) {
        match finding {
            Finding::Dead(start) => self.presence.confirm_dead(start),
            Finding::Fares(report) => {
                if let Some(node) = self.reports.take(report, now) {
                    self.avoid(&report.pipeline, node, now);
                }
            }
        }
    }

    /// A node that cannot have the pipeline is not asked again for a while.
    fn avoid(&mut self, pipeline: &PipelineName, node: NodeId, now: Moment) {
        let reports = self.unreachable.entry(pipeline.clone()).or_default();
        if !reports.iter().any(|report| report.node == node) {
            reports.push(Unreachable { node, since: now });
        }
    }

    /// What to do about the records at `now`.
    pub fn decide(&mut self, view: &View, now: Moment) -> Decision {
        self.observe(view, now);
        let nodes = self.nodes(view);
        let mut decision = Decision { writes: forgotten(view), ..Decision::default() };
        let mut pipelines = Vec::new();
        for recorded in view.pipelines.values() {
            let name = &recorded.record.name;
            let assignment = view.assignments.get(name);
            let step = assignment.map(|current| self.step(&current.record, &nodes, now));
            if let (Some(LeaderStep::Write { assignment, why }), Some(current)) = (&step, assignment) {
                let (assignment, expected) = (assignment.clone(), Some(current.modified));
                decision.writes.push(Write::Put { assignment, expected, why: Why::Compensated(*why) });
                continue;
            }
            if let Some(LeaderStep::Wait { until }) = step {
                decision.due = Some(decision.due.map_or(until, |due| due.min(until)));
            }
            let mut pipeline = self.pipeline(recorded, assignment, now);
            pipeline.is_orphaned = matches!(step, Some(LeaderStep::Orphaned { .. }));
            pipelines.push(pipeline);
        }
        let mode = if self.is_balancing { Mode::Balancing } else { Mode::Steady };
        let vanished = self.presence.vanished();
        let planned = plan(&Inputs { nodes, vanished, pipelines, mode, limits: Limits::default() }, now);
        self.is_balancing = planned.is_balancing;
        decision.due = decision.due.into_iter().chain(planned.due()).min();
        decision.take_plan(planned.actions, view);
        decision
    }

    fn observe(&mut self, view: &View, now: Moment) {
        let intent = |id: &NodeId| view.intents.get(id).map(|intent| intent.record).unwrap_or_default();
        let owners = view.assignments.values().map(|assignment| &assignment.record.owner);
        let live = view.nodes.iter().map(|(id, node)| (id, node.record.incarnation, intent(id)));
        self.presence.observe(live, owners, now);
        self.seen.retain(|name, _| view.assignments.contains_key(name));
        self.reports.retain(|name| view.pipelines.contains_key(name));
        for (name, current) in &view.assignments {
            self.notice(name, &current.record, now);
        }
        for (name, reports) in &mut self.unreachable {
            let owner = view.assignments.get(name).map(|assignment| &assignment.record.owner.node);
            // Who owns it again has shown that it can.
            reports.retain(|report| now.saturating_sub(report.since) < FORGIVEN_AFTER && owner != Some(&report.node));
        }
        self.unreachable.retain(|name, reports| !reports.is_empty() && view.pipelines.contains_key(name));
    }

    fn notice(&mut self, name: &PipelineName, assignment: &Assignment, now: Moment) {
        let (block, owner) = (assignment.block, &assignment.owner.node);
        let seen = self.seen.entry(name.clone()).or_insert_with(|| Seen {
            owner: owner.clone(),
            block,
            assigned_at: now,
            handover: assignment.handover.clone(),
            step_at: now,
        });
        if seen.owner != *owner {
            seen.owner.clone_from(owner);
            seen.assigned_at = now;
        }
        if seen.handover != assignment.handover || seen.block != block {
            seen.handover.clone_from(&assignment.handover);
            seen.block = block;
            seen.step_at = now;
        }
    }

    fn step(&mut self, assignment: &Assignment, nodes: &[Node], now: Moment) -> LeaderStep {
        let since = self.seen.get(&assignment.pipeline).map_or(now, |seen| seen.step_at);
        let step = leader_step(assignment, nodes, since, now);
        if let LeaderStep::Write { why, .. } | LeaderStep::Orphaned { why } = &step
            && matches!(why, Compensation::PrepareTimedOut | Compensation::TakeOverTimedOut)
            && let Some(handover) = &assignment.handover
        {
            self.avoid(&assignment.pipeline, handover.next.node.clone(), now);
        }
        step
    }

    fn nodes(&self, view: &View) -> Vec<Node> {
        let node = |recorded: &Recorded<NodeRecord>| Node {
            id: recorded.record.id.clone(),
            incarnation: recorded.record.incarnation,
            capacity: recorded.record.capacity,
            protocol: recorded.record.protocol,
            intent: view.intents.get(&recorded.record.id).map(|intent| intent.record).unwrap_or_default(),
            open_since: self.presence.open_since(&recorded.record.id).unwrap_or_default(),
        };
        view.nodes.values().map(|recorded| node(recorded)).collect()
    }

    fn pipeline(
        &self,
        recorded: &Recorded<PipelineRecord>,
        assignment: Option<&Arc<Recorded<Assignment>>>,
        now: Moment,
    ) -> Pipeline {
        let name = &recorded.record.name;
        let assigned_at = self.seen.get(name).map_or(now, |seen| seen.assigned_at);
        let cut_off = assignment.and_then(|current| self.reports.cut_off(name, &current.record.owner.node));
        let assignment = assignment.map(|assignment| assignment.record.clone());
        let mut pipeline = Pipeline::new(&recorded.record, assignment, assigned_at);
        // Whole MiB/s: what is less is noise, and must move nothing.
        pipeline.weight = self.reports.weight(name).round();
        pipeline.unreachable = self.unreachable.get(name).cloned().unwrap_or_default();
        pipeline.unreachable.extend(cut_off);
        pipeline
    }
}

/// The assignments of pipelines that are gone.
fn forgotten(view: &View) -> Vec<Write> {
    let is_gone = |name: &&PipelineName| !view.pipelines.contains_key(*name);
    let assignments = view.assignments.iter().filter(|(name, _)| is_gone(name));
    assignments.map(|(name, current)| Write::Forget { pipeline: name.clone(), expected: current.modified }).collect()
}

impl Decision {
    fn take_plan(&mut self, actions: Vec<Action>, view: &View) {
        for action in actions {
            let current = view.assignments.get(action.pipeline());
            let record = action.record(current.map(|current| &current.record));
            let why = match action {
                Action::Blocked { pipeline, reason } => {
                    self.blocked.push((pipeline, reason));
                    continue;
                }
                Action::Assign { reason, .. } => Why::Given(reason),
                Action::Move { reason, .. } => Why::Moves(reason),
            };
            if let Some(assignment) = record {
                self.writes.push(Write::Put { assignment, expected: current.map(|current| current.modified), why });
            }
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (assignment, why) = match self {
            Write::Forget { pipeline, .. } => return write!(f, "pipeline {pipeline} is gone"),
            Write::Put { assignment, why, .. } => (assignment, why),
        };
        let (pipeline, owner) = (&assignment.pipeline, &assignment.owner.node);
        match (why, &assignment.handover) {
            (Why::Given(reason), _) => write!(f, "pipeline {pipeline} is given to node {owner} ({reason:?})"),
            (Why::Moves(reason), Some(handover)) => {
                write!(f, "pipeline {pipeline} moves from node {owner} to node {} ({reason:?})", handover.next.node)
            }
            (Why::Compensated(why), _) => write!(f, "pipeline {pipeline} stays with node {owner} ({why:?})"),
            (Why::Moves(reason), None) => write!(f, "pipeline {pipeline} moves ({reason:?})"),
        }
    }
}
