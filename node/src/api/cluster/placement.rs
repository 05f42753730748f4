//! The planner's inputs, from records alone. A leader knows more (since when, and who was unreachable); what is asked
//! here does not depend on it. Pure.

use rosetta_coordinator::{
    Moment,
    placement::{Action, Blocked, Inputs, Limits, Mode, Node, Pipeline, Plan, Vanished, plan},
    records::NodeRecord,
    view::{Recorded, View},
};
use rosetta_proto::NodeId;

/// Later than everything that a plan waits for, counted from when all is taken to have begun.
const NOW: Moment = Moment::from_hours(24);

/// What would be done, if all had been as it is for long.
pub(super) fn settled_plan(view: &View, mode: Mode) -> Plan {
    plan(&inputs(view, mode, Limits::NONE), NOW)
}

/// As [`settled_plan`], with no more under way at once than a leader allows.
pub(super) fn next_plan(view: &View, mode: Mode) -> Plan {
    plan(&inputs(view, mode, Limits::default()), NOW)
}

fn inputs(view: &View, mode: Mode, limits: Limits) -> Inputs {
    let owners = view.assignments.values().map(|assignment| &assignment.record.owner.node);
    let mut away: Vec<NodeId> = owners.filter(|owner| !view.nodes.contains_key(*owner)).cloned().collect();
    away.sort();
    away.dedup();
    let vanished = |id| Vanished { id, at: Moment::ZERO, is_confirmed_dead: true };
    Inputs {
        nodes: view.nodes.values().map(|recorded| node(view, recorded)).collect(),
        vanished: away.into_iter().map(vanished).collect(),
        pipelines: pipelines(view).collect(),
        mode,
        limits,
    }
}

pub(super) fn node(view: &View, recorded: &Recorded<NodeRecord>) -> Node {
    let record = &recorded.record;
    Node {
        id: record.id.clone(),
        incarnation: record.incarnation,
        capacity: record.capacity,
        protocol: record.protocol,
        intent: view.intents.get(&record.id).map(|intent| intent.record).unwrap_or_default(),
        open_since: Moment::ZERO,
    }
}

/// Every pipeline, with its weight as placement counts it.
pub(super) fn pipelines(view: &View) -> impl Iterator<Item = Pipeline> {
    view.pipelines.iter().map(|(name, recorded)| {
        let assignment = view.assignments.get(name).map(|assignment| assignment.record.clone());
        Pipeline::new(&recorded.record, assignment, Moment::ZERO)
    })
}

/// What keeps a node from being empty, in one line; empty: nothing.
pub(super) fn blocked(view: &View, plan: &Plan, id: &NodeId) -> String {
    let is_here = |name| view.assignments.get(name).is_some_and(|assignment| assignment.record.owner.node == *id);
    let reasons: Vec<String> =
        plan.actions.iter().filter(|action| is_here(action.pipeline())).filter_map(reason).collect();
    match reasons.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} (and {} more)", others.len()),
    }
}

fn reason(action: &Action) -> Option<String> {
    match action {
        Action::Assign { .. } | Action::Move { .. } => None,
        // They wait for nothing but their turn.
        Action::Blocked {
            reason: Blocked::TooManyMoves | Blocked::OwnerMayReturn { .. } | Blocked::MassExpiry { .. },
            ..
        } => None,
        Action::Blocked { pipeline, reason } => Some(format!("{pipeline}: {reason}")),
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! Pictures of small clusters.

    use std::{collections::BTreeMap, sync::Arc};

    use rosetta_coordinator::{
        records::{
            Assignment, Desired, EpochBlock, Handover, Incarnation, MoveReason, NodeIntent, NodeRecord, Owner,
            PROTOCOL, PipelineRecord, Step,
        },
        store::{LeaseId, Revision},
        view::{LeaderRecord, Recorded, View},
    };
    use rosetta_proto::{NodeId, PipelineName};

    /// Builds a view, one record after the other.
    #[derive(Default)]
    pub(in crate::api::cluster) struct Sample {
        view: View,
        incarnations: BTreeMap<String, u64>,
    }

    impl Sample {
        pub(in crate::api::cluster) fn view(self) -> View {
            self.view
        }

        pub(in crate::api::cluster) fn node(mut self, id: &str) -> Sample {
            let incarnation = self.incarnation(id);
            let record = NodeRecord {
                id: node(id),
                incarnation,
                address: format!("{id}:50051"),
                version: "1".to_owned(),
                protocol: PROTOCOL,
                capacity: 1.0,
                started_at_ms: 1000,
            };
            let recorded = self.recorded(record);
            self.view.nodes.insert(node(id), recorded);
            self
        }

        pub(in crate::api::cluster) fn leader(mut self, id: &str) -> Sample {
            let created = self.next();
            let record = LeaderRecord { node: node(id), key: format!("leader/{id}"), created, lease: Some(LeaseId(1)) };
            self.view.candidates.insert(created, record);
            self
        }

        pub(in crate::api::cluster) fn intent(mut self, id: &str, cordoned: bool, draining: bool) -> Sample {
            let recorded = self.recorded(NodeIntent { cordoned, draining });
            self.view.intents.insert(node(id), recorded);
            self
        }

        pub(in crate::api::cluster) fn pipeline(self, name: &str) -> Sample {
            self.pinned(name, None)
        }

        pub(in crate::api::cluster) fn pinned(mut self, name: &str, pin: Option<&str>) -> Sample {
            let record = PipelineRecord {
                name: pipeline(name),
                revision: 1,
                desired: Desired::Start,
                pin: pin.map(node),
                restarts: 0,
                definition: serde_json::Value::Null,
            };
            let recorded = self.recorded(record);
            self.view.pipelines.insert(pipeline(name), recorded);
            self
        }

        /// A pipeline and its owner, with block 7.
        pub(in crate::api::cluster) fn owned(self, name: &str, by: &str) -> Sample {
            let sample = if self.view.pipelines.contains_key(&pipeline(name)) { self } else { self.pipeline(name) };
            sample.assigned(name, by, None)
        }

        /// The same, on its way.
        pub(in crate::api::cluster) fn moving(self, name: &str, by: &str, to: &str, step: Step) -> Sample {
            self.pipeline(name).assigned(name, by, Some((to, step)))
        }

        fn assigned(mut self, name: &str, by: &str, to: Option<(&str, Step)>) -> Sample {
            let owner = Owner { node: node(by), incarnation: self.incarnation(by) };
            let handover = to.map(|(to, step)| {
                let next = Owner { node: node(to), incarnation: self.incarnation(to) };
                Handover { next, step, reason: MoveReason::Asked }
            });
            let assignment = Assignment { pipeline: pipeline(name), block: EpochBlock(7), owner, handover };
            let recorded = self.recorded(assignment);
            self.view.assignments.insert(pipeline(name), recorded);
            self
        }

        fn incarnation(&mut self, id: &str) -> Incarnation {
            let number = self.incarnations.len() as u64 + 1;
            Incarnation(*self.incarnations.entry(id.to_owned()).or_insert(number))
        }

        fn recorded<T>(&mut self, record: T) -> Arc<Recorded<T>> {
            let revision = self.next();
            Arc::new(Recorded { record, created: revision, modified: revision, lease: None })
        }

        fn next(&mut self) -> Revision {
            self.view.revision = self.view.revision.next();
            self.view.revision
        }
    }

    pub(in crate::api::cluster) fn node(id: &str) -> NodeId {
        id.parse().expect("a node")
    }

    pub(in crate::api::cluster) fn pipeline(name: &str) -> PipelineName {
        name.parse().expect("a pipeline")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        samples::{Sample, node},
        *,
    };

    #[test]
    fn what_is_in_the_way_of_a_drain_is_named() {
        let draining = || Sample::default().node("a").intent("a", false, true);
        let told = |sample: Sample| {
            let view = sample.view();
            blocked(&view, &settled_plan(&view, Mode::Steady), &node("a"))
        };
        let alone = told(draining().owned("one", "a").owned("two", "a"));
        assert!(alone.starts_with("one: no other node takes pipelines") && alone.ends_with("(and 1 more)"), "{alone}");
        let pinned = told(draining().node("b").pinned("one", Some("a")).owned("one", "a"));
        assert!(pinned.starts_with("one: it is pinned to node a"), "{pinned}");
        assert_eq!(told(draining().node("b").owned("one", "a")), "", "it moves");
    }
}
