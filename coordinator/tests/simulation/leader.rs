//! The leader within a process: the real one's memory and decisions, over this model's records.

use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    Moment,
    leader::{Finding, Memory, Write},
    records::{Assignment, Desired, NodeRecord, Owner, PROTOCOL, PipelineRecord},
    store::Revision,
    view::{Recorded, View},
};
use rosetta_proto::{NodeId, PipelineName};

use crate::{
    store::{Registered, Snapshot},
    world::PIPELINES,
};

/// A record to be written upon the revision from which it was decided.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) pipeline: usize,
    pub(crate) assignment: Assignment,
    pub(crate) expected: u64,
}

/// What a leader remembers, from the moment it leads.
#[derive(Debug, Default)]
pub(crate) struct Leader(Memory);

pub(crate) fn node_id(node: usize) -> NodeId {
    format!("n{node}").parse().expect("a name")
}

fn pipeline_name(pipeline: usize) -> PipelineName {
    format!("p{pipeline}").parse().expect("a name")
}

impl Leader {
    pub(crate) fn confirm_dead(&mut self, start: &Owner) {
        self.0.learn(&Finding::Dead(start.clone()), Duration::ZERO);
    }

    pub(crate) fn decide(&mut self, snapshot: &Snapshot, now: Moment) -> Vec<Decision> {
        let decision = |write| match write {
            Write::Put { assignment, expected, .. } => Decision {
                pipeline: number(&assignment.pipeline),
                assignment,
                expected: expected.map_or(0, |revision| u64::try_from(revision.0).expect("a revision")),
            },
            Write::Forget { pipeline, .. } => panic!("{pipeline} is defined all the time"),
        };
        self.0.decide(&view(snapshot), now).writes.into_iter().map(decision).collect()
    }
}

fn number(name: &PipelineName) -> usize {
    (0..PIPELINES).find(|number| pipeline_name(*number) == *name).expect("one of ours")
}

fn view(snapshot: &Snapshot) -> View {
    let assignments = snapshot.assignments.iter();
    View {
        nodes: snapshot
            .nodes
            .iter()
            .map(|(node, one)| (node_id(*node), recorded(node_record(*node, one), 0)))
            .collect(),
        intents: snapshot.intents.iter().map(|(node, intent)| (node_id(*node), recorded(*intent, 0))).collect(),
        pipelines: (0..PIPELINES).map(|one| (pipeline_name(one), recorded(pipeline_record(one), 0))).collect(),
        assignments: assignments.map(|(one, (is, at))| (pipeline_name(*one), recorded(is.clone(), *at))).collect(),
        ..View::default()
    }
}

fn recorded<T>(record: T, modified: u64) -> Arc<Recorded<T>> {
    let modified = Revision(i64::try_from(modified).expect("a revision"));
    Arc::new(Recorded { record, created: modified, modified, lease: None })
}

fn node_record(node: usize, registered: &Registered) -> NodeRecord {
    NodeRecord {
        id: node_id(node),
        incarnation: registered.incarnation,
        address: String::new(),
        version: String::new(),
        protocol: PROTOCOL,
        capacity: 1.0,
        started_at_ms: 0,
    }
}

fn pipeline_record(pipeline: usize) -> PipelineRecord {
    PipelineRecord {
        name: pipeline_name(pipeline),
        revision: 1,
        desired: Desired::Start,
        pin: None,
        restarts: 0,
        definition: serde_json::Value::Null,
    }
}
