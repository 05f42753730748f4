//! Who is to be asked about which pipeline. Pure.

use std::collections::BTreeMap;

use rosetta_coordinator::{
    records::{Assignment, Incarnation, Step},
    view::View,
};
use rosetta_proto::{NodeId, PipelineName, v1};

/// Pipelines by who can say what they do.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Routes {
    /// This node.
    pub(super) here: Vec<PipelineName>,
    pub(super) elsewhere: BTreeMap<NodeId, Asked>,
    /// Nobody, with what is known instead.
    pub(super) nobody: Vec<v1::PipelineStatus>,
}

/// A node that is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) address: String,
    pub(super) incarnation: Incarnation,
    pub(super) pipelines: Vec<PipelineName>,
}

impl Routes {
    pub(super) fn of<'a>(view: &View, names: impl IntoIterator<Item = &'a PipelineName>, me: &NodeId) -> Routes {
        let mut routes = Routes::default();
        for name in names {
            let Some(assignment) = view.assignments.get(name).map(|recorded| &recorded.record) else {
                let cause = "no node has it yet; if this lasts, `rosetta nodes` shows whether one takes pipelines";
                routes.nobody.push(unknown(name, cause));
                continue;
            };
            let owner = &assignment.owner.node;
            match view.nodes.get(owner) {
                _ if owner == me => routes.here.push(name.clone()),
                None => {
                    let cause = format!("its node {owner} is gone; another takes it over");
                    routes.nobody.push(unanswered(assignment, &cause));
                }
                Some(node) => {
                    let asked = routes.elsewhere.entry(owner.clone()).or_insert_with(|| Asked {
                        address: node.record.address.clone(),
                        incarnation: node.record.incarnation,
                        pipelines: Vec::new(),
                    });
                    asked.pipelines.push(name.clone());
                }
            }
        }
        routes
    }
}

/// What is known of a pipeline whose owner does not say.
pub(super) fn unanswered(assignment: &Assignment, cause: &str) -> v1::PipelineStatus {
    let epoch = assignment.block.first().0;
    v1::PipelineStatus { node: assignment.owner.node.to_string(), epoch, ..unknown(&assignment.pipeline, cause) }
}

/// What is known of a pipeline that its owner does not have: it comes, or it goes.
pub(super) fn not_there(assignment: &Assignment) -> v1::PipelineStatus {
    let owner = &assignment.owner.node;
    let cause = match &assignment.handover {
        Some(handover) if handover.step == Step::Released => {
            format!("node {owner} has let it go, and node {} is to take it over", handover.next.node)
        }
        Some(_) | None => format!("node {owner} has not begun with it; if this lasts, see that node's log"),
    };
    unanswered(assignment, &cause)
}

fn unknown(name: &PipelineName, cause: &str) -> v1::PipelineStatus {
    v1::PipelineStatus {
        pipeline: name.to_string(),
        state: v1::PipelineState::Unknown.into(),
        error: cause.to_owned(),
        ..v1::PipelineStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::placement::samples::Sample, *};

    #[test]
    fn each_owner_is_asked_once_and_who_has_none_is_unknown() {
        let view = Sample::default()
            .node("a")
            .node("b")
            .owned("here", "a")
            .owned("one", "b")
            .owned("two", "b")
            .owned("lost", "c")
            .pipeline("new")
            .view();
        let me = "a".parse().unwrap();
        let routes = Routes::of(&view, view.pipelines.keys(), &me);
        assert_eq!(routes.here, ["here".parse().unwrap()]);
        let asked = &routes.elsewhere[&"b".parse().unwrap()];
        assert_eq!((routes.elsewhere.len(), asked.pipelines.len()), (1, 2));
        assert_eq!(asked.address, view.nodes[&"b".parse().unwrap()].record.address);
        let told: Vec<_> = routes.nobody.iter().map(|s| (s.pipeline.as_str(), s.node.as_str(), s.epoch)).collect();
        assert_eq!(told, [("lost", "c", 7000), ("new", "", 0)]);
        assert!(routes.nobody.iter().all(|status| status.state() == v1::PipelineState::Unknown));
    }
}
