//! The record after each step. None of them lowers the block.

use rosetta_proto::{Epoch, PipelineName};

use crate::records::{Assignment, EpochBlock, Handover, MoveReason, Owner, Step};

/// A handover that cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("pipeline {0} is being moved already: wait until that has ended")]
    UnderWay(PipelineName),
    #[error("node {1} has pipeline {0} already")]
    OwnsIt(PipelineName, rosetta_proto::NodeId),
}

/// A handover to `next` begins.
///
/// # Errors
/// One is under way, or `next` is the owner.
pub fn begin(current: &Assignment, next: Owner, reason: MoveReason) -> Result<Assignment, Refused> {
    if current.handover.is_some() {
        return Err(Refused::UnderWay(current.pipeline.clone()));
    }
    if current.owner.node == next.node {
        return Err(Refused::OwnsIt(current.pipeline.clone(), next.node));
    }
    Ok(Assignment { handover: Some(Handover { next, step: Step::Preparing, reason }), ..current.clone() })
}

/// `to` owns the pipeline from now on, whoever did before: the next block fences all others.
#[must_use]
pub fn grant(pipeline: &PipelineName, current: Option<&Assignment>, to: Owner) -> Assignment {
    // Block 0 begins with the epoch that stands for "none".
    let block = current.map_or(EpochBlock(1), |current| current.block.next());
    Assignment { pipeline: pipeline.clone(), block, owner: to, handover: None }
}

/// The owner keeps the pipeline, with the block that it has.
#[must_use]
pub fn cancel(current: &Assignment) -> Assignment {
    Assignment { handover: None, ..current.clone() }
}

/// The next owner is ready. `None` unless `me` is preparing.
#[must_use]
pub fn prepared(current: &Assignment, me: &Owner) -> Option<Assignment> {
    let handover = current.handover.as_ref().filter(|handover| handover.next == *me)?;
    (handover.step == Step::Preparing).then(|| at_step(current, handover, Step::Prepared))
}

/// The owner has stopped. `None` unless `me` owns it and the next one is ready.
#[must_use]
pub fn released(current: &Assignment, me: &Owner) -> Option<Assignment> {
    let handover = current.handover.as_ref().filter(|_| current.owner == *me)?;
    (handover.step == Step::Prepared).then(|| at_step(current, handover, Step::Released))
}

/// The next owner takes what was released, with the next block. `None` unless it was released to `me`.
#[must_use]
pub fn take_over(current: &Assignment, me: &Owner) -> Option<Assignment> {
    let handover = current.handover.as_ref().filter(|handover| handover.next == *me)?;
    (handover.step == Step::Released).then(|| grant(&current.pipeline, Some(current), me.clone()))
}

/// The owner takes a block in which every epoch is greater than `newest`: it is a new start of the node, or its block
/// is used up, or a destination knows more. `None` if another node owns the pipeline, a newer start of this one
/// included ([`crate::records::Incarnation`]s have no order: the node's record says which is newer).
///
/// A handover that had not come to the release is given up with it, for who ran the pipeline then does not any more.
#[must_use]
pub fn advance(current: &Assignment, me: &Owner, newest: Epoch) -> Option<Assignment> {
    if current.owner.node != me.node || is_released(current) {
        return None;
    }
    let is_new_start = current.owner.incarnation != me.incarnation;
    let block = current.block.next().max(EpochBlock::beyond(newest));
    let handover = current.handover.clone().filter(|_| !is_new_start);
    Some(Assignment { pipeline: current.pipeline.clone(), block, owner: me.clone(), handover })
}

pub(super) fn is_released(current: &Assignment) -> bool {
    current.handover.as_ref().is_some_and(|handover| handover.step == Step::Released)
}

fn at_step(current: &Assignment, handover: &Handover, step: Step) -> Assignment {
    Assignment { handover: Some(Handover { step, ..handover.clone() }), ..current.clone() }
}
