//! What a node does with one pipeline, by the record alone.

use rosetta_proto::Epoch;

use super::{advance, prepared, released, take_over, transition::is_released};
use crate::records::{Assignment, Desired, EpochBlock, Owner, Step};

/// What a node does with a pipeline now. A record in it is written once that is done, on condition that the one it was
/// decided from is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalStep {
    /// Not mine: nothing of it may run here.
    Stop,
    /// An older start of this node owns it, or the block is used up: write this first, and decide again.
    Advance { write: Assignment },
    /// Mine: run it with epochs of this block.
    Run { block: EpochBlock },
    /// Mine and paused: answer for it, and read nothing.
    Rest { block: EpochBlock },
    /// Stop at the end of a transaction, close, and write that it is released.
    Release { write: Assignment },
    /// Get ready without touching slot or checkpoint, and write that it is prepared. A paused pipeline needs nothing.
    Prepare { write: Assignment },
    /// Ready: keep what was prepared until the owner has stopped.
    StandBy,
    /// The owner has stopped: write that it is mine, and decide again.
    TakeOver { write: Assignment },
}

/// What the node `me` does with the pipeline. `desired` is `None` when its definition is gone.
///
/// Only a process whose incarnation is in `nodes/<id>` may ask, and that the record is still so is a further condition
/// of each write: an older process of the same id that wakes would otherwise take the pipelines back from the newer.
pub fn node_step(assignment: Option<&Assignment>, desired: Option<Desired>, me: &Owner) -> LocalStep {
    let (Some(assignment), Some(desired)) = (assignment, desired) else { return LocalStep::Stop };
    if assignment.owner.node == me.node { owner_step(assignment, desired, me) } else { next_step(assignment, me) }
}

fn owner_step(assignment: &Assignment, desired: Desired, me: &Owner) -> LocalStep {
    if is_released(assignment) {
        // It was let go, by whichever start of this node: the next owner or the leader goes on.
        return LocalStep::Stop;
    }
    if assignment.owner.incarnation != me.incarnation {
        return advance(assignment, me, Epoch::NONE).map_or(LocalStep::Stop, |write| LocalStep::Advance { write });
    }
    if let Some(write) = released(assignment, me) {
        return LocalStep::Release { write };
    }
    match desired {
        Desired::Start => LocalStep::Run { block: assignment.block },
        Desired::Pause => LocalStep::Rest { block: assignment.block },
    }
}

fn next_step(assignment: &Assignment, me: &Owner) -> LocalStep {
    let Some(handover) = assignment.handover.as_ref().filter(|handover| handover.next == *me) else {
        return LocalStep::Stop;
    };
    let step = match handover.step {
        Step::Preparing => prepared(assignment, me).map(|write| LocalStep::Prepare { write }),
        Step::Prepared => Some(LocalStep::StandBy),
        Step::Released => take_over(assignment, me).map(|write| LocalStep::TakeOver { write }),
    };
    step.unwrap_or(LocalStep::Stop)
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
