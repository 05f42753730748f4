//! A model of etcd: one revision for all, leases that run out, transactions with conditions.

use std::{collections::BTreeMap, rc::Rc};

use rosetta_coordinator::{
    Moment,
    records::{Assignment, Incarnation, LEASE, NodeIntent},
};

/// Everything that is stored, as one moment's reader sees it. Nodes and pipelines are numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) nodes: BTreeMap<usize, Registered>,
    /// By create revision: the first leads.
    pub(crate) candidates: BTreeMap<u64, Candidate>,
    pub(crate) intents: BTreeMap<usize, NodeIntent>,
    /// With the revision of the last change.
    pub(crate) assignments: BTreeMap<usize, (Assignment, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) incarnation: Incarnation,
    pub(crate) lease: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) incarnation: Incarnation,
    lease: u64,
}

/// Who writes, as a condition of the write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guard {
    /// The candidate with this create revision is still there.
    Leader(u64),
    /// The record of the node is still this start's.
    Node(usize, Incarnation),
}

#[derive(Clone, Debug)]
pub(crate) enum StoreRequest {
    List,
    Grant,
    KeepAlive {
        lease: u64,
    },
    /// Puts the node's record, if what is there is `expected`; revokes the lease of a record that it replaces.
    Register {
        node: usize,
        new: Registered,
        expected: Option<Registered>,
    },
    Campaign {
        incarnation: Incarnation,
        lease: u64,
    },
    /// Puts an assignment, if the revision of what is there is `expected` (0: nothing).
    Put {
        pipeline: usize,
        assignment: Assignment,
        expected: u64,
        guard: Guard,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum StoreReply {
    Listed(Rc<Snapshot>),
    Granted { lease: u64 },
    Alive,
    LeaseGone,
    Done,
    Conflict,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    now: Snapshot,
    leases: BTreeMap<u64, Moment>,
    last_lease: u64,
    shared: Option<Rc<Snapshot>>,
}

impl Store {
    pub(crate) fn snapshot(&mut self) -> Rc<Snapshot> {
        Rc::clone(self.shared.get_or_insert_with(|| Rc::new(self.now.clone())))
    }

    pub(crate) fn assignment(&self, pipeline: usize) -> Option<&Assignment> {
        self.now.assignments.get(&pipeline).map(|(assignment, _)| assignment)
    }

    pub(crate) fn intend(&mut self, node: usize, intent: NodeIntent) {
        self.change();
        self.now.intents.insert(node, intent);
    }

    /// The lease of a node's record, for those who revoke it.
    pub(crate) fn revoke_node(&mut self, node: usize, incarnation: Incarnation) {
        let lease = self.now.nodes.get(&node).filter(|record| record.incarnation == incarnation).map(|r| r.lease);
        if let Some(lease) = lease {
            self.revoke(lease);
        }
    }

    pub(crate) fn revoke_all(&mut self) {
        for lease in std::mem::take(&mut self.leases).into_keys() {
            self.drop_keys(lease);
        }
    }

    /// Ends the leases that have run out at `now`.
    pub(crate) fn expire(&mut self, now: Moment) {
        let over: Vec<u64> = self.leases.iter().filter(|(_, end)| **end <= now).map(|(lease, _)| *lease).collect();
        for lease in over {
            self.revoke(lease);
        }
    }

    pub(crate) fn answer(&mut self, request: StoreRequest, now: Moment) -> StoreReply {
        self.expire(now);
        match request {
            StoreRequest::List => StoreReply::Listed(self.snapshot()),
            StoreRequest::Grant => {
                self.last_lease += 1;
                self.leases.insert(self.last_lease, now + LEASE);
                StoreReply::Granted { lease: self.last_lease }
            }
            StoreRequest::KeepAlive { lease } => match self.leases.get_mut(&lease) {
                Some(end) => {
                    *end = now + LEASE;
                    StoreReply::Alive
                }
                None => StoreReply::LeaseGone,
            },
            StoreRequest::Register { node, new, expected } => self.register(node, new, expected),
            StoreRequest::Campaign { incarnation, lease } => {
                if !self.leases.contains_key(&lease) {
                    return StoreReply::LeaseGone;
                }
                let revision = self.change();
                self.now.candidates.insert(revision, Candidate { incarnation, lease });
                StoreReply::Done
            }
            StoreRequest::Put { pipeline, assignment, expected, guard } => {
                let there = self.now.assignments.get(&pipeline).map_or(0, |(_, revision)| *revision);
                if there != expected || !self.holds(guard) {
                    return StoreReply::Conflict;
                }
                let revision = self.change();
                self.now.assignments.insert(pipeline, (assignment, revision));
                StoreReply::Done
            }
        }
    }

    fn register(&mut self, node: usize, new: Registered, expected: Option<Registered>) -> StoreReply {
        let there = self.now.nodes.get(&node).copied();
        if there != expected {
            return StoreReply::Conflict;
        }
        if !self.leases.contains_key(&new.lease) {
            return StoreReply::LeaseGone;
        }
        if let Some(old) = there.filter(|old| old.lease != new.lease) {
            self.revoke(old.lease);
        }
        self.change();
        self.now.nodes.insert(node, new);
        StoreReply::Done
    }

    fn holds(&self, guard: Guard) -> bool {
        match guard {
            Guard::Leader(revision) => self.now.candidates.contains_key(&revision),
            Guard::Node(node, incarnation) => {
                self.now.nodes.get(&node).is_some_and(|record| record.incarnation == incarnation)
            }
        }
    }

    fn revoke(&mut self, lease: u64) {
        self.leases.remove(&lease);
        self.drop_keys(lease);
    }

    fn drop_keys(&mut self, lease: u64) {
        self.change();
        self.now.nodes.retain(|_, record| record.lease != lease);
        self.now.candidates.retain(|_, candidate| candidate.lease != lease);
    }

    fn change(&mut self) -> u64 {
        self.shared = None;
        self.now.revision += 1;
        self.now.revision
    }
}
