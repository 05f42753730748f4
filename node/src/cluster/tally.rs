//! What a node counts since it started, for its metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rosetta_coordinator::{records::MoveReason, store::Revision, view::View};
use rosetta_proto::NodeId;

use super::Node;

/// Counts of one node. They only grow.
#[derive(Debug, Default)]
pub struct Tally {
    fences: AtomicU64,
    /// By the order of [`MoveReason::ALL`].
    taken: [AtomicU64; MoveReason::ALL.len()],
}

impl Tally {
    /// A pipeline of this node was taken over by another process.
    pub(super) fn fenced(&self) {
        self.fences.fetch_add(1, Ordering::Relaxed);
    }

    pub fn fences(&self) -> u64 {
        self.fences.load(Ordering::Relaxed)
    }

    /// How many pipelines came to this node, by reason.
    pub fn taken(&self) -> impl Iterator<Item = (MoveReason, u64)> {
        MoveReason::ALL.into_iter().zip(&self.taken).map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    fn took(&self, reason: MoveReason) {
        for (of, count) in MoveReason::ALL.into_iter().zip(&self.taken) {
            if of == reason {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Counts the pipelines that come to this node. Ends with the picture.
pub(super) async fn count_taken(node: Arc<Node>) {
    let mut views = node.views.subscribe();
    let mut before = Arc::new(View::default());
    loop {
        let now = Arc::clone(&views.borrow_and_update());
        // What was there at the first look came before this start.
        if before.revision != Revision::default() {
            taken(&before, &now, &node.record.id).for_each(|reason| node.tally.took(reason));
        }
        before = now;
        if views.changed().await.is_err() {
            return;
        }
    }
}

/// Why pipelines came to `node` between two pictures. One that it had before, in whichever start, did not come.
fn taken<'a>(before: &'a View, now: &'a View, node: &'a NodeId) -> impl Iterator<Item = MoveReason> + 'a {
    now.assignments.iter().filter(move |(_, assignment)| assignment.record.owner.node == *node).filter_map(
        move |(name, _)| {
            let Some(was) = before.assignments.get(name) else { return Some(MoveReason::Placed) };
            if was.record.owner.node == *node {
                return None;
            }
            let planned = was.record.handover.as_ref().filter(|handover| handover.next.node == *node);
            Some(planned.map_or(MoveReason::Failover, |handover| handover.reason))
        },
    )
}

#[cfg(test)]
mod tests {
    use rosetta_coordinator::{
        records::{Assignment, EpochBlock, Handover, Incarnation, Owner, Step},
        view::Recorded,
    };

    use super::*;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn owner(name: &str, incarnation: u64) -> Owner {
        Owner { node: id(name), incarnation: Incarnation(incarnation) }
    }

    fn view(assignments: &[(&str, Owner, Option<Owner>)]) -> View {
        let mut view = View { revision: Revision(1), ..View::default() };
        for (name, owner, next) in assignments {
            let next = next.clone();
            let handover = next.map(|next| Handover { next, step: Step::Released, reason: MoveReason::Drain });
            let pipeline: rosetta_proto::PipelineName = name.parse().unwrap();
            let record =
                Assignment { pipeline: pipeline.clone(), block: EpochBlock(1), owner: owner.clone(), handover };
            let (created, modified) = (Revision(1), Revision(1));
            view.assignments.insert(pipeline, Arc::new(Recorded { record, created, modified, lease: None }));
        }
        view
    }

    #[test]
    fn what_comes_to_a_node_is_counted_by_its_reason() {
        let (a, b) = (owner("a", 1), owner("b", 1));
        let before = view(&[
            ("drained", a.clone(), Some(b.clone())),
            ("lost", a.clone(), None),
            ("mine", b.clone(), None),
            ("other", a.clone(), None),
        ]);
        let restarted = owner("b", 2);
        let now = view(&[
            ("drained", b.clone(), None),
            ("lost", b.clone(), None),
            ("mine", restarted, None),
            ("other", a, None),
            ("placed", b, None),
        ]);
        let came: Vec<_> = taken(&before, &now, &id("b")).collect();
        assert_eq!(came, [MoveReason::Drain, MoveReason::Failover, MoveReason::Placed]);
        let tally = Tally::default();
        came.into_iter().for_each(|reason| tally.took(reason));
        tally.took(MoveReason::Failover);
        let counts: Vec<u64> = tally.taken().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 1, 0, 0, 0]);
    }
}
