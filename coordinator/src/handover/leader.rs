//! What the leader does about a handover that does not go on by itself.

use super::{PREPARE_DEADLINE, RELEASE_DEADLINE, TAKE_OVER_DEADLINE, cancel, grant};
use crate::{
    Moment,
    placement::Node,
    records::{Assignment, Handover, Step},
};

/// What the leader does about an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderStep {
    /// There is no handover.
    Settled,
    /// It is a node's turn; look again then.
    Wait { until: Moment },
    /// Write this.
    Write { assignment: Assignment, why: Compensation },
    /// Nobody runs it, and who was to take it over will not: the planner gives it to any node
    /// ([`crate::placement::Pipeline::is_orphaned`]).
    Orphaned { why: Compensation },
}

/// Why a handover did not end as planned. After the first two, the caller reports `next` as unreachable for the
/// pipeline for a while, or the same would be planned again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compensation {
    /// The next owner did not get ready in time.
    PrepareTimedOut,
    /// The next owner did not take over in time.
    TakeOverTimedOut,
    /// The next owner is gone or was started anew.
    NextGone,
    /// The next owner is to be emptied, or is given nothing new any more.
    NextCloses,
    /// The owner did not stop in time: it was fenced instead.
    ReleaseTimedOut,
}

/// What to do about `assignment`, whose present step the leader has seen since `first_seen`. Deadlines are counted by
/// the leader alone, so that no two clocks are compared; a new leader counts from its own first sight.
///
/// Whether the owner is alive is the planner's business: a vanished one has time to come back in place.
pub fn leader_step(assignment: &Assignment, nodes: &[Node], first_seen: Moment, now: Moment) -> LeaderStep {
    let Some(handover) = &assignment.handover else { return LeaderStep::Settled };
    let until = first_seen + deadline(handover.step);
    let is_late = now >= until;
    match (handover.step, trouble(handover, nodes)) {
        (Step::Preparing | Step::Prepared, Some(why)) => LeaderStep::Write { assignment: cancel(assignment), why },
        (Step::Preparing, None) if is_late => {
            LeaderStep::Write { assignment: cancel(assignment), why: Compensation::PrepareTimedOut }
        }
        (Step::Prepared, None) if is_late => LeaderStep::Write {
            assignment: grant(&assignment.pipeline, Some(assignment), handover.next.clone()),
            why: Compensation::ReleaseTimedOut,
        },
        (Step::Released, Some(Compensation::NextGone)) => LeaderStep::Orphaned { why: Compensation::NextGone },
        (Step::Released, _) if is_late => LeaderStep::Orphaned { why: Compensation::TakeOverTimedOut },
        // Released to a node that is to be emptied: to let it take over and move it again is the shorter pause.
        (Step::Preparing | Step::Prepared, None) | (Step::Released, _) => LeaderStep::Wait { until },
    }
}

fn deadline(step: Step) -> Moment {
    match step {
        Step::Preparing => PREPARE_DEADLINE,
        Step::Prepared => RELEASE_DEADLINE,
        Step::Released => TAKE_OVER_DEADLINE,
    }
}

/// Why the next owner should not have it after all.
fn trouble(handover: &Handover, nodes: &[Node]) -> Option<Compensation> {
    let is_next = |node: &&Node| node.id == handover.next.node && node.incarnation == handover.next.incarnation;
    match nodes.iter().find(is_next) {
        None => Some(Compensation::NextGone),
        Some(next) if next.intent.draining => Some(Compensation::NextCloses),
        Some(_) => None,
    }
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;
