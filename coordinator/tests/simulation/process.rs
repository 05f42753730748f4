//! One start of a node: its session, its view of the records, its pipelines, and the leader in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use rand::Rng;
use rosetta_coordinator::{
    handover::{LocalStep, advance, node_step},
    records::{Assignment, Desired, EpochBlock, Incarnation, Owner},
};
use rosetta_proto::Epoch;

use crate::{
    databases::{DatabaseReply, DatabaseRequest},
    io::{Io, Purpose, Reply, Timer},
    leader::{Decision, Leader, node_id},
    runner::{Outcome, Runner},
    store::{Guard, Registered, Snapshot, StoreReply, StoreRequest},
};

pub(crate) struct Process {
    pub(crate) node: usize,
    pub(crate) incarnation: Incarnation,
    pub(crate) runners: BTreeMap<usize, Runner>,
    /// It found a newer start of its node and has ended.
    pub(crate) is_superseded: bool,
    pub(crate) leader: Leader,
    view: Rc<Snapshot>,
    lease: Option<u64>,
    was_registered: bool,
    /// Requests of the session, and records, of which no answer has come yet.
    awaits_session: bool,
    awaits_campaign: bool,
    awaits_put: BTreeSet<usize>,
    /// How many epochs of a block were used.
    starts: BTreeMap<(usize, EpochBlock), u64>,
    fenced_by: BTreeMap<usize, Epoch>,
    /// The revision of the assignment that was prepared for, and whether it is ready.
    preparing: BTreeMap<usize, (u64, bool)>,
}

impl Process {
    pub(crate) fn start(node: usize, incarnation: Incarnation, io: &mut Io<'_>) -> Process {
        io.store(StoreRequest::List, Purpose::List);
        for timer in [Timer::KeepAlive, Timer::List, Timer::Lead] {
            io.after(Duration::ZERO, timer);
        }
        Process {
            node,
            incarnation,
            runners: BTreeMap::new(),
            is_superseded: false,
            leader: Leader::default(),
            view: Rc::default(),
            lease: None,
            was_registered: false,
            awaits_session: false,
            awaits_campaign: false,
            awaits_put: BTreeSet::new(),
            starts: BTreeMap::new(),
            fenced_by: BTreeMap::new(),
            preparing: BTreeMap::new(),
        }
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner { node: node_id(self.node), incarnation: self.incarnation }
    }

    /// A newer view came, by watch or list.
    pub(crate) fn on_view(&mut self, view: Rc<Snapshot>, io: &mut Io<'_>) {
        if view.revision < self.view.revision || self.is_superseded {
            return;
        }
        self.view = view;
        let record = self.view.nodes.get(&self.node).copied();
        let is_mine = record.is_some_and(|record| record.incarnation == self.incarnation);
        self.was_registered |= is_mine;
        if record.is_some() && !is_mine && self.was_registered {
            self.is_superseded = true;
            self.runners.clear();
            return;
        }
        self.keep_registered(record, io);
        if is_mine && !self.awaits_campaign && self.lease.is_some() && self.candidacy().is_none() {
            let lease = self.lease.unwrap_or_default();
            self.awaits_campaign = true;
            io.store(StoreRequest::Campaign { incarnation: self.incarnation, lease }, Purpose::Campaign);
        }
        for pipeline in self.view.assignments.keys().copied().collect::<Vec<_>>() {
            self.reconcile(pipeline, io);
        }
    }

    pub(crate) fn on_timer(&mut self, timer: Timer, io: &mut Io<'_>) {
        match timer {
            Timer::KeepAlive => {
                io.after(Duration::from_secs(1), Timer::KeepAlive);
                match self.lease {
                    Some(lease) => io.store(StoreRequest::KeepAlive { lease }, Purpose::KeepAlive),
                    None if !self.awaits_session => {
                        self.awaits_session = true;
                        io.store(StoreRequest::Grant, Purpose::Grant);
                    }
                    None => {}
                }
            }
            Timer::List => {
                io.after(Duration::from_secs(5), Timer::List);
                io.store(StoreRequest::List, Purpose::List);
            }
            Timer::Lead => self.lead(io),
            Timer::Decided(key, decisions) => self.carry_out(key, decisions, io),
            Timer::Ready { pipeline, revision } => {
                if let Some(preparing) = self.preparing.get_mut(&pipeline).filter(|(of, _)| *of == revision) {
                    preparing.1 = true;
                    self.reconcile(pipeline, io);
                }
            }
            Timer::Run { pipeline, epoch } => {
                if let Some(runner) = self.runners.get_mut(&pipeline).filter(|runner| runner.epoch == epoch) {
                    runner.on_timer(pipeline, io);
                }
            }
        }
    }

    pub(crate) fn on_reply(&mut self, purpose: Purpose, reply: Reply, io: &mut Io<'_>) {
        match (purpose, reply) {
            (Purpose::List, Reply::Store(StoreReply::Listed(view))) => self.on_view(view, io),
            (Purpose::Grant, reply) => {
                self.awaits_session = false;
                if let Reply::Store(StoreReply::Granted { lease }) = reply {
                    self.lease = Some(lease);
                    io.store(StoreRequest::List, Purpose::List);
                }
            }
            (Purpose::KeepAlive, Reply::Store(StoreReply::LeaseGone)) => self.lease = None,
            (Purpose::Register, reply) => {
                self.awaits_session = false;
                if matches!(reply, Reply::Store(StoreReply::LeaseGone)) {
                    self.lease = None;
                }
                io.store(StoreRequest::List, Purpose::List);
            }
            (Purpose::Campaign, _) => self.awaits_campaign = false,
            (Purpose::Put { pipeline }, _) => {
                // Done, refused, or unknown: what is there now is read again in any case.
                self.awaits_put.remove(&pipeline);
                io.store(StoreRequest::List, Purpose::List);
            }
            (Purpose::Run { pipeline, epoch }, Reply::Database(reply)) => self.on_run(pipeline, epoch, Some(reply), io),
            (Purpose::Run { pipeline, epoch }, _) => self.on_run(pipeline, epoch, None, io),
            (Purpose::Forget | Purpose::List | Purpose::KeepAlive, _) => {}
        }
    }

    /// The source closed the connection that read the slot.
    pub(crate) fn on_disconnect(&mut self, pipeline: usize, epoch: Epoch, io: &mut Io<'_>) {
        self.on_run(pipeline, epoch, None, io);
    }

    fn on_run(&mut self, pipeline: usize, epoch: Epoch, reply: Option<DatabaseReply>, io: &mut Io<'_>) {
        let Some(runner) = self.runners.get_mut(&pipeline).filter(|runner| runner.epoch == epoch) else { return };
        match runner.on_reply(pipeline, reply, io) {
            Outcome::Goes => {}
            Outcome::Restarts => self.stop(pipeline, io),
            Outcome::Fenced { newest } => {
                self.stop(pipeline, io);
                self.fenced_by.insert(pipeline, newest);
            }
        }
        self.reconcile(pipeline, io);
    }

    fn keep_registered(&mut self, record: Option<Registered>, io: &mut Io<'_>) {
        let Some(lease) = self.lease.filter(|_| !self.awaits_session) else { return };
        let new = Registered { incarnation: self.incarnation, lease };
        if record != Some(new) {
            self.awaits_session = true;
            io.store(StoreRequest::Register { node: self.node, new, expected: record }, Purpose::Register);
        }
    }

    /// The create revision with which this process stands for election.
    fn candidacy(&self) -> Option<u64> {
        self.view.candidates.iter().find(|(_, other)| other.incarnation == self.incarnation).map(|(key, _)| *key)
    }

    fn lead(&mut self, io: &mut Io<'_>) {
        io.after(Duration::from_millis(100), Timer::Lead);
        let first = self.view.candidates.first_key_value().map(|(key, _)| *key);
        match self.candidacy().filter(|mine| Some(*mine) == first) {
            None => self.leader = Leader::default(),
            Some(key) => {
                let mut decisions = self.leader.decide(&self.view, io.now);
                decisions.retain(|decision| !self.awaits_put.contains(&decision.pipeline));
                // A pause of the process here is a leader that sleeps between what it read and what it writes.
                let thinks = Duration::from_millis(io.random.random_range(0..40));
                io.after(thinks, Timer::Decided(key, decisions));
            }
        }
    }

    fn carry_out(&mut self, key: u64, decisions: Vec<Decision>, io: &mut Io<'_>) {
        for Decision { pipeline, assignment, expected } in decisions {
            self.put(pipeline, assignment, expected, Guard::Leader(key), io);
        }
    }

    fn put(&mut self, pipeline: usize, assignment: Assignment, expected: u64, guard: Guard, io: &mut Io<'_>) {
        if self.awaits_put.insert(pipeline) {
            io.store(StoreRequest::Put { pipeline, assignment, expected, guard }, Purpose::Put { pipeline });
        }
    }

    fn write(&mut self, pipeline: usize, assignment: Assignment, io: &mut Io<'_>) {
        let Some((_, expected)) = self.view.assignments.get(&pipeline) else { return };
        let guard = Guard::Node(self.node, self.incarnation);
        self.put(pipeline, assignment, *expected, guard, io);
    }

    fn stop(&mut self, pipeline: usize, io: &mut Io<'_>) {
        if let Some(runner) = self.runners.remove(&pipeline) {
            let close = DatabaseRequest::Close { reader: io.process, epoch: runner.epoch };
            io.database(pipeline, close, Purpose::Forget);
        }
    }

    /// Does what the record says.
    fn reconcile(&mut self, pipeline: usize, io: &mut Io<'_>) {
        let Some((assignment, revision)) = self.view.assignments.get(&pipeline).cloned() else { return };
        let is_registered = self.view.nodes.get(&self.node).is_some_and(|node| node.incarnation == self.incarnation);
        let step = node_step(Some(&assignment), Some(Desired::Start), &self.owner());
        match step {
            LocalStep::Stop | LocalStep::Rest { .. } => {
                self.stop(pipeline, io);
                self.preparing.remove(&pipeline);
            }
            // Without its record a node goes on with what it has, and writes nothing.
            _ if !is_registered => {}
            LocalStep::Run { block } => self.run(pipeline, &assignment, block, io),
            LocalStep::Release { write } => self.release(pipeline, write, io),
            LocalStep::Prepare { write } => match self.preparing.get(&pipeline) {
                Some((of, is_ready)) if *of == revision => {
                    if *is_ready {
                        self.write(pipeline, write, io);
                    }
                }
                Some(_) | None => self.prepare(pipeline, revision, io),
            },
            LocalStep::StandBy => {}
            LocalStep::Advance { write } | LocalStep::TakeOver { write } => self.write(pipeline, write, io),
        }
    }

    fn prepare(&mut self, pipeline: usize, revision: u64, io: &mut Io<'_>) {
        self.preparing.insert(pipeline, (revision, false));
        // One in ten takes longer than the leader waits.
        let slow = io.random.random_range(0..10) == 0;
        let millis = if slow { 12_000 } else { io.random.random_range(20..1500) };
        io.after(Duration::from_millis(millis), Timer::Ready { pipeline, revision });
    }

    fn release(&mut self, pipeline: usize, write: Assignment, io: &mut Io<'_>) {
        if let Some(runner) = self.runners.get_mut(&pipeline) {
            runner.is_stopping = true;
        }
        if self.runners.get(&pipeline).is_none_or(Runner::has_stopped) {
            self.stop(pipeline, io);
            self.write(pipeline, write, io);
        }
    }

    fn run(&mut self, pipeline: usize, assignment: &Assignment, block: EpochBlock, io: &mut Io<'_>) {
        self.preparing.remove(&pipeline);
        if self.runners.get(&pipeline).is_some_and(|runner| runner.block == block && !runner.is_stopping) {
            return;
        }
        self.stop(pipeline, io);
        let starts = self.starts.entry((pipeline, block)).or_default();
        let epoch = Epoch(block.first().0 + *starts);
        let newest = self.fenced_by.get(&pipeline).copied().unwrap_or(Epoch::NONE);
        if newest >= epoch || !block.contains(epoch) {
            if let Some(write) = advance(assignment, &self.owner(), newest) {
                self.write(pipeline, write, io);
            }
            return;
        }
        *starts += 1;
        self.runners.insert(pipeline, Runner::start(pipeline, block, epoch, io));
    }
}
