//! What the planner answers.

use std::fmt;

use rosetta_proto::{NodeId, PipelineName};

use crate::{
    Moment, handover,
    records::{Assignment, MoveReason, Owner},
};

/// What is to be done, at most one action for a pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Balancing is under way: the next plan is to be made in [`super::Mode::Balancing`].
    pub is_balancing: bool,
}

impl Plan {
    /// When something that now only waits is due: plan again then, if nothing has happened before.
    pub fn due(&self) -> Option<Moment> {
        self.actions.iter().filter_map(Action::due).min()
    }

    /// The actions that write a record.
    pub fn writes(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| !matches!(action, Action::Blocked { .. }))
    }
}

/// What is to be done with one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nobody runs it, or nobody that lives: `to` has it from now on, with the next block of epochs.
    Assign { pipeline: PipelineName, to: Owner, reason: MoveReason },
    /// Begin a handover to `to`.
    Move { pipeline: PipelineName, to: Owner, reason: MoveReason },
    /// It should have (another) owner and cannot.
    Blocked { pipeline: PipelineName, reason: Blocked },
}

/// Why a pipeline stays where it is, or without an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// No node may be given anything.
    NoNode,
    /// No other node reaches its servers.
    NoReachableNode,
    /// The node that it is pinned to is not alive.
    PinnedNodeAway(NodeId),
    /// The node that it is pinned to is cordoned or draining.
    PinnedNodeClosed(NodeId),
    /// As many handovers as allowed are under way; it is next.
    TooManyMoves,
    /// Its owner vanished and may come back in place.
    OwnerMayReturn { until: Moment },
    /// Half of the nodes vanished together: more likely etcd's fault than theirs.
    MassExpiry { until: Moment },
}

impl Action {
    pub fn pipeline(&self) -> &PipelineName {
        match self {
            Action::Assign { pipeline, .. } | Action::Move { pipeline, .. } | Action::Blocked { pipeline, .. } => {
                pipeline
            }
        }
    }

    /// The record that carries it out, to be written on condition that `current` is still what is there.
    pub fn record(&self, current: Option<&Assignment>) -> Option<Assignment> {
        match self {
            Action::Assign { pipeline, to, .. } => Some(handover::grant(pipeline, current, to.clone())),
            Action::Move { to, reason, .. } => handover::begin(current?, to.clone(), *reason).ok(),
            Action::Blocked { .. } => None,
        }
    }

    fn due(&self) -> Option<Moment> {
        match self {
            Action::Blocked { reason: Blocked::OwnerMayReturn { until } | Blocked::MassExpiry { until }, .. } => {
                Some(*until)
            }
            Action::Assign { .. } | Action::Move { .. } | Action::Blocked { .. } => None,
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocked::NoNode => f.write_str("no other node takes pipelines: add a node, or uncordon or undrain one"),
            Blocked::NoReachableNode => {
                f.write_str("no other node reaches its servers: check them and the network, it is tried again")
            }
            Blocked::PinnedNodeAway(node) => {
                write!(f, "it is pinned to node {node}, which is away: start it, or unpin")
            }
            Blocked::PinnedNodeClosed(node) => {
                write!(
                    f,
                    "it is pinned to node {node}, which is cordoned or draining: uncordon or undrain it, or unpin"
                )
            }
            Blocked::TooManyMoves => f.write_str("it moves when handovers that are under way have ended"),
            Blocked::OwnerMayReturn { .. } => f.write_str("its owner vanished a moment ago and may come back"),
            Blocked::MassExpiry { .. } => f.write_str(
                "half of the nodes vanished together, probably by a fault of etcd: nothing moves for a lease's length",
            ),
        }
    }
}
