//! Moving one pipeline, and the leader's resignation. Pure: the records come in, a conditional write goes out.

use rosetta_coordinator::{
    handover,
    records::{Assignment, Keys, MoveReason, Owner},
    store::{Condition, Put, Revision, Txn},
    view::View,
};
use rosetta_proto::{NodeId, PipelineName, error_status, v1};
use tonic::{Code, Status};

use super::{errors, intents::no_node, placement, requests::Change, state};
use crate::api::refuse;

/// # Errors
/// There is no such pipeline or node; the node is given nothing; the pipeline is on its way elsewhere.
pub(super) fn begin(
    view: &View,
    keys: &Keys,
    name: &PipelineName,
    to: &NodeId,
) -> Result<Change<v1::MovePipelineResponse>, Status> {
    if !view.pipelines.contains_key(name) {
        return Err(refuse::no_pipeline(name.as_str(), "pipeline"));
    }
    let next = receiver(view, to)?;
    let recorded = view.assignments.get(name);
    let current = recorded.map(|recorded| &recorded.record);
    let from = current.map(|current| current.owner.node.to_string()).unwrap_or_default();
    let (pipeline, node) = (name.to_string(), to.to_string());
    let planned = v1::PlannedMove { pipeline, from, to: node, reason: v1::MoveReason::Asked.into() };
    let answer = v1::MovePipelineResponse { r#move: Some(planned) };
    if current.is_some_and(|current| is_so_already(current, to)) {
        return Ok(Change::nothing(answer));
    }
    let after = match current {
        Some(current) => handover::begin(current, next, MoveReason::Asked).map_err(|refused| {
            error_status(Code::FailedPrecondition, refused.to_string(), "pipeline", "MOVE_UNDER_WAY")
        })?,
        None => handover::grant(name, None, next),
    };
    let txn = write(keys, &after, recorded.map(|recorded| recorded.modified));
    Ok(Change { txn, answer })
}

/// The write of an assignment over the one that was seen.
pub(super) fn write(keys: &Keys, after: &Assignment, seen: Option<Revision>) -> Txn {
    let key = keys.assignment(&after.pipeline);
    // A record of ours always is JSON.
    let value = serde_json::to_vec(after).unwrap_or_default();
    Txn::when(Condition::last_write(&key, seen)).put(Put::new(&key, value))
}

/// It is there and stays, or is on its way there.
fn is_so_already(current: &Assignment, to: &NodeId) -> bool {
    match &current.handover {
        Some(handover) => handover.next.node == *to,
        None => current.owner.node == *to,
    }
}

/// # Errors
/// There is no such node, or it is given nothing.
fn receiver(view: &View, to: &NodeId) -> Result<Owner, Status> {
    let closed = |message: String| Err(error_status(Code::FailedPrecondition, message, "node", "NODE_CLOSED"));
    let Some(recorded) = view.nodes.get(to) else {
        return match state::is_known(view, to) {
            true => closed(format!("node {to} is gone: start it, or choose another of `rosetta nodes`")),
            false => Err(no_node(to.as_str(), "node")),
        };
    };
    let node = placement::node(view, recorded);
    match (node.intent.draining, node.intent.cordoned) {
        (true, _) => closed(format!("node {to} is draining: `rosetta undrain {to}`, or choose another node")),
        (false, true) => closed(format!("node {to} is cordoned: `rosetta uncordon {to}`, or choose another node")),
        (false, false) if !node.is_eligible() => {
            closed(format!("node {to} cannot be given pipelines by this version: bring all nodes to one version"))
        }
        (false, false) => Ok(node.owner()),
    }
}

/// The leader gives up; the next candidate leads.
///
/// # Errors
/// No node leads.
pub(super) fn resign(view: &View) -> Result<Change<v1::ResignLeaderResponse>, Status> {
    let Some(leader) = view.leader() else {
        return Err(errors::unavailable("no node leads at this moment: try again", "NO_LEADER"));
    };
    let txn = Txn::when(Condition::Created(leader.key.clone(), leader.created)).delete(&leader.key);
    Ok(Change { txn, answer: v1::ResignLeaderResponse { resigned: leader.node.to_string() } })
}

#[cfg(test)]
mod tests {
    use rosetta_coordinator::records::{EpochBlock, Step};

    use super::{
        super::placement::samples::{Sample, node, pipeline},
        *,
    };

    fn asked(sample: Sample) -> Result<Change<v1::MovePipelineResponse>, Status> {
        begin(&sample.view(), &Keys::new("test"), &pipeline("one"), &node("b"))
    }

    fn written(change: &Change<v1::MovePipelineResponse>) -> Assignment {
        serde_json::from_slice(&change.txn.puts[0].value).expect("an assignment")
    }

    fn moved(change: Change<v1::MovePipelineResponse>) -> (String, String) {
        let moved = change.answer.r#move.expect("a move");
        (moved.from, moved.to)
    }

    fn two() -> Sample {
        Sample::default().node("a").node("b")
    }

    #[test]
    fn a_move_begins_a_handover() {
        let change = asked(two().owned("one", "a")).expect("a change");
        let handover = written(&change).handover.expect("a handover");
        assert_eq!(
            (handover.next.node, handover.step, handover.reason),
            (node("b"), Step::Preparing, MoveReason::Asked)
        );
        assert!(matches!(change.txn.conditions[0], Condition::Modified(_, Revision(4))), "{:?}", change.txn);
        assert_eq!(moved(change), ("a".to_owned(), "b".to_owned()));
    }

    #[test]
    fn what_is_there_or_on_its_way_is_left_alone() {
        for sample in [two().owned("one", "b"), two().moving("one", "a", "b", Step::Prepared)] {
            assert_eq!(asked(sample).expect("an answer").txn, Txn::default());
        }
        let elsewhere = two().node("c").moving("one", "a", "c", Step::Preparing);
        assert_eq!(asked(elsewhere).expect_err("under way").code(), Code::FailedPrecondition);
        let away = two().moving("one", "b", "a", Step::Preparing);
        assert_eq!(asked(away).expect_err("it leaves").code(), Code::FailedPrecondition);
    }

    #[test]
    fn what_nobody_has_is_given_at_once() {
        let change = asked(two().pipeline("one")).expect("a change");
        assert_eq!((written(&change).owner.node, written(&change).block), (node("b"), EpochBlock(1)));
        assert_eq!(change.txn.conditions, [Condition::Absent("/rosetta/test/assignments/one".to_owned())]);
        assert_eq!(moved(change), (String::new(), "b".to_owned()));
    }

    #[test]
    fn closed_gone_and_unknown_are_told_apart() {
        let code = |sample: Sample| asked(sample).expect_err("refused").code();
        assert_eq!(code(two().owned("one", "a").intent("b", true, false)), Code::FailedPrecondition);
        assert_eq!(code(two().owned("one", "a").intent("b", false, true)), Code::FailedPrecondition);
        assert_eq!(code(Sample::default().node("a").owned("one", "a").owned("two", "b")), Code::FailedPrecondition);
        assert_eq!(code(Sample::default().node("a").owned("one", "a")), Code::NotFound);
        assert_eq!(code(two()), Code::NotFound);
    }

    #[test]
    fn only_the_leader_that_was_seen_resigns() {
        let view = Sample::default().leader("b").leader("a").view();
        let change = resign(&view).expect("a change");
        assert_eq!(change.answer.resigned, "b");
        assert_eq!(change.txn.conditions, [Condition::Created("leader/b".to_owned(), Revision(1))]);
        assert_eq!(resign(&View::default()).expect_err("no leader").code(), Code::Unavailable);
    }
}
