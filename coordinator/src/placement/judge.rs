//! What is to become of one pipeline, before it is known where there is room.

use std::collections::HashMap;

use rosetta_proto::NodeId;

use super::{
    Blocked, Inputs, Pipeline, UNREACHABLE_AFTER, Vanished,
    board::Board,
    presence::{mass_expiry, return_deadline},
};
use crate::{
    Moment,
    records::{Assignment, MoveReason, Step},
};

/// What is to become of a pipeline; nodes are indices on the board.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Stays {
        on: usize,
    },
    /// A handover is under way.
    Moving {
        to: Option<usize>,
    },
    /// Nobody runs it, or nobody that lives.
    Homeless {
        target: Target,
        reason: MoveReason,
    },
    /// It runs, and should run elsewhere.
    Leaves {
        from: usize,
        target: Target,
        reason: MoveReason,
    },
    Blocked {
        on: Option<usize>,
        reason: Blocked,
    },
}

/// Where it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Its pin says so.
    Only(usize),
    /// That node has prepared for it: there if possible.
    Rather(usize),
    Any,
}

/// What judging needs to know of the nodes.
pub(super) struct Judge<'a> {
    board: &'a Board<'a>,
    vanished: HashMap<&'a NodeId, &'a Vanished>,
    /// Nothing moves until then.
    pub(super) held_until: Option<Moment>,
    now: Moment,
}

impl<'a> Judge<'a> {
    pub(super) fn new(inputs: &'a Inputs, board: &'a Board<'a>, now: Moment) -> Judge<'a> {
        Judge {
            board,
            vanished: inputs.vanished.iter().map(|node| (&node.id, node)).collect(),
            held_until: mass_expiry(board.nodes.len(), &inputs.vanished, now),
            now,
        }
    }

    pub(super) fn judge(&self, pipeline: &Pipeline) -> Verdict {
        let Some(assignment) = &pipeline.assignment else {
            return self.homeless(pipeline, MoveReason::Placed, Target::Any);
        };
        match (&assignment.handover, self.board.find(&assignment.owner.node)) {
            (Some(handover), _) if pipeline.is_orphaned => self.homeless(pipeline, handover.reason, Target::Any),
            (Some(handover), owner) if owner.is_some() || handover.step == Step::Released => {
                Verdict::Moving { to: self.board.find(&handover.next.node) }
            }
            (None, Some(on)) => self.owned(pipeline, on),
            (Some(_) | None, _) => self.abandoned(pipeline, assignment),
        }
    }

    /// Its owner is not there.
    fn abandoned(&self, pipeline: &Pipeline, assignment: &Assignment) -> Verdict {
        let next = assignment.handover.as_ref().and_then(|handover| self.board.find_start(&handover.next));
        match self.absence(&assignment.owner.node) {
            Some(reason) => Verdict::Blocked { on: next, reason },
            None => self.homeless(pipeline, MoveReason::Failover, next.map_or(Target::Any, Target::Rather)),
        }
    }

    /// Why a node that is not there still counts.
    fn absence(&self, id: &NodeId) -> Option<Blocked> {
        let vanished = self.vanished.get(id)?;
        let held = self.held_until.filter(|_| !vanished.is_confirmed_dead);
        let returns = Some(return_deadline(vanished)).filter(|until| *until > self.now);
        let mass = held.map(|until| Blocked::MassExpiry { until });
        mass.or(returns.map(|until| Blocked::OwnerMayReturn { until }))
    }

    fn homeless(&self, pipeline: &Pipeline, reason: MoveReason, target: Target) -> Verdict {
        match self.pinned(pipeline) {
            None => Verdict::Homeless { target, reason },
            Some(Ok(pin)) => Verdict::Homeless { target: Target::Only(pin), reason },
            Some(Err(reason)) => Verdict::Blocked { on: None, reason },
        }
    }

    /// Its owner is alive.
    fn owned(&self, pipeline: &Pipeline, on: usize) -> Verdict {
        let verdict = match self.pinned(pipeline) {
            Some(Ok(pin)) if pin == on => return Verdict::Stays { on },
            Some(Ok(pin)) => Verdict::Leaves { from: on, target: Target::Only(pin), reason: MoveReason::Asked },
            Some(Err(reason)) => return self.on_closed_pin(pipeline, on, reason),
            None if self.is_draining(on) => leaves(on, MoveReason::Drain),
            None if self.is_cut_off(pipeline, on) => leaves(on, MoveReason::Unreachable),
            None => return Verdict::Stays { on },
        };
        // A node that etcd lost is alive for its pipelines: what others move meanwhile would only come back.
        match self.held_until {
            Some(until) => Verdict::Blocked { on: Some(on), reason: Blocked::MassExpiry { until } },
            None => verdict,
        }
    }

    /// On a cordoned pin it stays as anything does; a draining one cannot be emptied of it.
    fn on_closed_pin(&self, pipeline: &Pipeline, on: usize, reason: Blocked) -> Verdict {
        let is_here = pipeline.pin.as_ref() == Some(&self.board.nodes[on].node.id);
        if is_here && !self.is_draining(on) {
            return Verdict::Stays { on };
        }
        Verdict::Blocked { on: Some(on), reason }
    }

    /// Where its pin says that it runs, or why it cannot be given to that node.
    fn pinned(&self, pipeline: &Pipeline) -> Option<Result<usize, Blocked>> {
        let pin = pipeline.pin.as_ref()?;
        Some(match self.board.find(pin) {
            None => Err(Blocked::PinnedNodeAway(pin.clone())),
            Some(node) if self.board.nodes[node].is_eligible => Ok(node),
            Some(_) => Err(Blocked::PinnedNodeClosed(pin.clone())),
        })
    }

    fn is_draining(&self, node: usize) -> bool {
        self.board.nodes[node].node.intent.draining
    }

    fn is_cut_off(&self, pipeline: &Pipeline, on: usize) -> bool {
        let owner = &self.board.nodes[on].node.id;
        let lasts = |since: Moment| self.now.saturating_sub(since) >= UNREACHABLE_AFTER;
        pipeline.unreachable.iter().any(|report| report.node == *owner && lasts(report.since))
    }
}

fn leaves(from: usize, reason: MoveReason) -> Verdict {
    Verdict::Leaves { from, target: Target::Any, reason }
}
