//! Drain, undrain, cordon, uncordon. Pure: the records come in, a conditional write goes out.

use std::sync::Arc;

use rosetta_coordinator::{
    records::{Keys, NodeIntent},
    store::{Condition, Put, Revision, Txn},
    view::{Recorded, View},
};
use rosetta_proto::{NodeId, error_status, v1};
use tonic::{Code, Status};

use super::{requests::Change, state};
use crate::api::refuse;

/// What is asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intention {
    Drain,
    Undrain,
    Cordon,
    Uncordon,
}

impl Intention {
    /// As the history calls it.
    pub(super) fn event(self) -> &'static str {
        match self {
            Intention::Drain => "drain_requested",
            Intention::Undrain => "undrain_requested",
            Intention::Cordon => "cordon_requested",
            Intention::Uncordon => "uncordon_requested",
        }
    }

    /// # Errors
    /// There is no such node, or it is not in that state.
    pub(super) fn decide(self, view: &View, keys: &Keys, id: &NodeId) -> Result<Change<v1::Node>, Status> {
        if !state::is_known(view, id) {
            return Err(no_node(id.as_str(), "node"));
        }
        let recorded = view.intents.get(id);
        let before = recorded.map(|recorded| recorded.record).unwrap_or_default();
        let after = self.after(before, id)?;
        let answer = || state::node(&with(view, id, after), id).unwrap_or_default();
        if after == before {
            return Ok(Change::nothing(answer()));
        }
        let key = keys.intent(id);
        let txn = Txn::when(Condition::last_write(&key, recorded.map(|recorded| recorded.modified)));
        let txn = match after == NodeIntent::default() {
            // A node that is gone and of which nothing is wanted leaves no trace.
            true => txn.delete(&key),
            // A record of ours always is JSON.
            false => txn.put(Put::new(&key, serde_json::to_vec(&after).unwrap_or_default())),
        };
        Ok(Change { txn, answer: answer() })
    }

    fn after(self, before: NodeIntent, id: &NodeId) -> Result<NodeIntent, Status> {
        match self {
            Intention::Drain => Ok(NodeIntent { draining: true, ..before }),
            Intention::Undrain => Ok(NodeIntent::default()),
            Intention::Cordon => Ok(NodeIntent { cordoned: true, ..before }),
            Intention::Uncordon if before.draining => {
                let message = format!("node {id} is draining: `rosetta undrain {id}` ends that, and a cordon with it");
                Err(error_status(Code::FailedPrecondition, message, "node", "NODE_DRAINING"))
            }
            Intention::Uncordon => Ok(NodeIntent { cordoned: false, ..before }),
        }
    }
}

/// The same picture, with this intent.
fn with(view: &View, id: &NodeId, record: NodeIntent) -> View {
    let mut view = view.clone();
    let (created, modified) = (Revision::default(), Revision::default());
    view.intents.insert(id.clone(), Arc::new(Recorded { record, created, modified, lease: None }));
    view
}

/// Neither a record nor anything that is wanted of it.
pub(super) fn no_node(id: &str, field: &str) -> Status {
    let message = format!("there is no node '{id}': see `rosetta nodes` for those that there are");
    error_status(Code::NotFound, message, field, "NODE_NOT_FOUND")
}

/// # Errors
/// The name can be no node's.
pub(super) fn node_id(text: &str) -> Result<NodeId, Status> {
    if text.is_empty() {
        return Err(refuse::field("node", "node is empty: name a node", "NODE_MISSING"));
    }
    text.parse().map_err(|error: rosetta_proto::NameError| refuse::field("node", error.to_string(), "NODE_NAME"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::placement::samples::{Sample, node},
        *,
    };

    fn decided(intention: Intention, sample: Sample) -> Change<v1::Node> {
        intention.decide(&sample.view(), &Keys::new("test"), &node("a")).expect("a change")
    }

    #[test]
    fn an_intent_is_written_over_the_one_that_was_seen() {
        let change = decided(Intention::Drain, Sample::default().node("a").owned("one", "a"));
        assert_eq!(change.answer.state(), v1::NodeState::Draining);
        assert_eq!(change.txn.conditions, [Condition::Absent("/rosetta/test/intents/a".to_owned())]);
        assert_eq!(change.txn.puts[0].value, br#"{"cordoned":false,"draining":true}"#);
        let cordoned = Sample::default().intent("a", true, false).node("a");
        let change = decided(Intention::Drain, cordoned);
        assert_eq!(change.txn.conditions, [Condition::Modified("/rosetta/test/intents/a".to_owned(), Revision(1))]);
        assert_eq!(change.txn.puts[0].value, br#"{"cordoned":true,"draining":true}"#);
        assert_eq!(change.answer.state(), v1::NodeState::Drained);
    }

    #[test]
    fn what_is_so_already_is_not_written() {
        assert_eq!(decided(Intention::Uncordon, Sample::default().node("a")).txn, Txn::default());
        assert_eq!(
            decided(Intention::Cordon, Sample::default().node("a").intent("a", true, false)).txn,
            Txn::default()
        );
    }

    #[test]
    fn undrain_ends_a_cordon_and_uncordon_does_not_end_a_drain() {
        let drained = || Sample::default().node("a").intent("a", true, true);
        let change = decided(Intention::Undrain, drained());
        assert_eq!((change.txn.deletes.len(), change.answer.state()), (1, v1::NodeState::Active));
        let refused = Intention::Uncordon.decide(&drained().view(), &Keys::new("test"), &node("a"));
        assert_eq!(refused.expect_err("it is draining").code(), Code::FailedPrecondition);
    }

    #[test]
    fn a_node_that_is_gone_can_be_told_and_one_that_never_was_cannot() {
        assert_eq!(decided(Intention::Drain, Sample::default().owned("one", "a")).answer.state(), v1::NodeState::Gone);
        let unknown = Intention::Drain.decide(&View::default(), &Keys::new("test"), &node("a"));
        let status = unknown.expect_err("there is none");
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.message().contains("'a'") && status.message().contains("rosetta nodes"), "{status}");
    }
}
