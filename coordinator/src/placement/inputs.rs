//! What the planner is given.

use rosetta_proto::{NodeId, PipelineName};

use super::{BOUND, JOINING};
use crate::{
    Moment,
    records::{Assignment, Desired, Incarnation, MoveReason, NodeIntent, Owner, PROTOCOL, PipelineRecord},
};

/// Everything that a plan depends on. The same inputs give the same plan, whatever their order.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The nodes that are alive.
    pub nodes: Vec<Node>,
    /// The nodes that are away: all that own something, and all that went within the last minute.
    pub vanished: Vec<Vanished>,
    pub pipelines: Vec<Pipeline>,
    pub mode: Mode,
    pub limits: Limits,
}

/// A node that is alive.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub id: NodeId,
    pub incarnation: Incarnation,
    /// How much it can carry in relation to others; 1.0 for a usual node.
    pub capacity: f64,
    /// What it understands of records and peers.
    pub protocol: u32,
    pub intent: NodeIntent,
    /// Since when it has been alive and open to pipelines without a break, as far as the leader has seen
    /// ([`super::Presence::open_since`]): what was placed before could not be placed on it.
    pub open_since: Moment,
}

/// A node that was alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanished {
    pub id: NodeId,
    pub at: Moment,
    /// A peer found that its process is gone: no fault of etcd's can have made it vanish.
    pub is_confirmed_dead: bool,
}

/// A pipeline and who has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    pub name: PipelineName,
    pub desired: Desired,
    /// The only node on which it may run.
    pub pin: Option<NodeId>,
    /// Its smoothed load, see [`super::weight`].
    pub weight: f64,
    pub assignment: Option<Assignment>,
    /// Since when its owner has it, as far as the leader has seen.
    pub assigned_at: Moment,
    /// Its handover cannot end where it was going ([`crate::handover::LeaderStep::Orphaned`]).
    pub is_orphaned: bool,
    /// Nodes that could not reach its servers lately.
    pub unreachable: Vec<Unreachable>,
}

/// A node cannot reach the servers of a pipeline. The caller forgets this after a while (minutes), so that the node is
/// tried again, and at once when that node runs the pipeline after all: otherwise it is moved away for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    pub node: NodeId,
    pub since: Moment,
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As always: moves only what it must.
    #[default]
    Steady,
    /// As always, and the last plan was balancing ([`super::Plan::is_balancing`]): it goes on until all is balanced.
    Balancing,
    /// An operator asked for the best placement: neither residence nor nodes that are away hold it up. The caller stays
    /// in this mode until a plan moves nothing and no handover is under way.
    Rebalance,
}

/// How many handovers may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To balance; few, since nobody waits for them and each costs both servers a connection and decoding.
    pub balance_moves: usize,
    /// That an operator waits for: draining, pins, rebalancing.
    pub asked_moves: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { balance_moves: 4, asked_moves: 32 }
    }
}

impl Limits {
    /// For a dry run, which shows the whole way.
    pub const NONE: Limits = Limits { balance_moves: usize::MAX, asked_moves: usize::MAX };
}

impl Node {
    /// Whether it may be given a pipeline.
    pub fn is_eligible(&self) -> bool {
        let NodeIntent { cordoned, draining } = self.intent;
        !cordoned && !draining && self.protocol >= PROTOCOL && self.capacity.is_finite() && self.capacity > 0.0
    }

    pub(super) fn is_joining(&self, now: Moment) -> bool {
        now.saturating_sub(self.open_since) < JOINING
    }

    /// This start of it, as an owner.
    pub fn owner(&self) -> Owner {
        Owner { node: self.id.clone(), incarnation: self.incarnation }
    }
}

impl Pipeline {
    /// A pipeline as its records say, of weight 1, nothing known of its servers.
    pub fn new(record: &PipelineRecord, assignment: Option<Assignment>, assigned_at: Moment) -> Pipeline {
        Pipeline {
            name: record.name.clone(),
            desired: record.desired,
            pin: record.pin.clone(),
            weight: 1.0,
            assignment,
            assigned_at,
            is_orphaned: false,
            unreachable: Vec::new(),
        }
    }

    /// What it counts in balancing.
    pub fn effective_weight(&self) -> f64 {
        /// A paused pipeline only holds a record; not nothing, so that many are spread too.
        const PAUSED: f64 = 0.1;
        let is_sound = self.weight.is_finite() && self.weight > 0.0;
        match self.desired {
            Desired::Pause => PAUSED,
            Desired::Start if is_sound => self.weight,
            Desired::Start => 1.0,
        }
    }

    pub(super) fn is_unreachable_on(&self, node: &NodeId) -> bool {
        self.unreachable.iter().any(|report| report.node == *node)
    }

    /// Why it is under way, if it is.
    pub(super) fn moving(&self) -> Option<MoveReason> {
        Some(self.assignment.as_ref()?.handover.as_ref()?.reason)
    }
}

const _: () = assert!(BOUND > super::BALANCED);
