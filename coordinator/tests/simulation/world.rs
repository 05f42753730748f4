//! Time, the network, and what goes wrong in them: everything that happens comes from one seed.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use rosetta_coordinator::{
    Moment,
    records::{Incarnation, Owner},
};
use rosetta_proto::Epoch;

use crate::{
    databases::{DatabaseReply, DatabaseRequest, Databases, Guards},
    faults::{self, Fault},
    io::{Io, Output, Purpose, Reply, Timer},
    process::Process,
    store::{Snapshot, Store, StoreRequest},
};

pub(crate) const PIPELINES: usize = 4;

/// Faults end then.
pub(crate) const CALM: Moment = Duration::from_secs(40);

/// Everything has to run well this long after the last fault, at the latest.
const RECOVERY: Duration = Duration::from_secs(60);

/// A request whose answer has not come by then is given up; its effect may still come.
const REQUEST_DEADLINE: Duration = Duration::from_secs(2);

enum Event {
    AtStore { from: usize, id: u64, request: StoreRequest },
    AtDatabase { from: usize, id: u64, pipeline: usize, request: DatabaseRequest },
    Arrives { at: usize, message: Message },
    Fault(Fault),
}

enum Message {
    Reply(u64, Reply),
    Timer(Timer),
    Watch(Rc<Snapshot>),
    Disconnected { pipeline: usize, epoch: Epoch },
    PeerDead { start: Owner },
}

/// A process in the world.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) is_dead: bool,
    paused_until: Moment,
    awaited: BTreeMap<u64, Purpose>,
}

/// What happened in a run, to prove that it was worth running.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) transactions: u64,
    pub(crate) fenced: u64,
    pub(crate) owners: u64,
    pub(crate) handovers: u64,
    pub(crate) cancelled: u64,
    pub(crate) superseded: u64,
}

pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) random: StdRng,
    pub(crate) store: Store,
    pub(crate) started: Vec<Started>,
    /// Until when a node is cut off from the store.
    pub(crate) cut_until: Vec<Moment>,
    pub(crate) counts: Counts,
    databases: Vec<Databases>,
    guards: Guards,
    queue: BTreeMap<(Moment, u64), Event>,
    last_id: u64,
    watched: u64,
}

/// Runs the schedule of `seed` to its end.
///
/// # Errors
/// What must never happen, or that all did not run well in the end.
pub(crate) fn run(seed: u64, guards: Guards) -> Result<Counts, String> {
    let mut random = StdRng::seed_from_u64(seed);
    let nodes = random.random_range(2..=5);
    let mut world = World {
        now: Moment::ZERO,
        random,
        store: Store::default(),
        started: Vec::new(),
        cut_until: vec![Moment::ZERO; nodes],
        counts: Counts::default(),
        databases: (0..PIPELINES).map(|_| Databases::new()).collect(),
        guards,
        queue: BTreeMap::new(),
        last_id: 0,
        watched: 0,
    };
    for (at, fault) in faults::schedule(nodes, &mut world.random) {
        world.push(at, Event::Fault(fault));
    }
    let end = world.run().map_err(|what| format!("at {:?}: {what}", world.now));
    world.counts.fenced = world.databases.iter().map(|databases| databases.fenced).sum();
    world.counts.transactions = world.databases.iter().map(|databases| databases.applied).sum();
    end.map(|()| world.counts)
}

impl World {
    fn run(&mut self) -> Result<(), String> {
        let mut applied_at_calm = None;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.happen(event)?;
            self.tell_watchers();
            if self.now < CALM + Duration::from_secs(5) {
                continue;
            }
            let before: &Vec<u64> =
                applied_at_calm.get_or_insert_with(|| self.databases.iter().map(|d| d.applied).collect());
            match faults::unwell(self, |pipeline| self.databases[pipeline].applied > before[pipeline]) {
                None => return Ok(()),
                Some(what) if self.now > CALM + RECOVERY => return Err(what),
                Some(_) => {}
            }
        }
        Err("nothing happens any more".to_owned())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Fault(fault) => self.strike(fault),
            Event::AtStore { from, id, request } => {
                if !self.is_cut(from) {
                    let before = self.store.snapshot();
                    let reply = self.store.answer(request, self.now);
                    self.count(&before);
                    self.reply(from, id, Reply::Store(reply));
                }
            }
            Event::AtDatabase { from, id, pipeline, request } => {
                let (reply, disconnected) = self.databases[pipeline]
                    .answer(request, self.guards)
                    .map_err(|what| format!("pipeline {pipeline}: {what}"))?;
                if let Some((reader, epoch)) = disconnected {
                    self.send(reader, Message::Disconnected { pipeline, epoch });
                }
                if reply != DatabaseReply::Done {
                    self.reply(from, id, Reply::Database(reply));
                }
            }
            Event::Arrives { at, message } => self.arrive(at, message),
        }
        Ok(())
    }

    fn arrive(&mut self, at: usize, message: Message) {
        let started = &mut self.started[at];
        if started.is_dead || started.process.is_superseded {
            return;
        }
        if started.paused_until > self.now {
            let until = started.paused_until;
            return self.push(until, Event::Arrives { at, message });
        }
        let mut io = Io { now: self.now, random: &mut self.random, process: at, out: Vec::new() };
        let process = &mut started.process;
        match message {
            Message::Timer(timer) => process.on_timer(timer, &mut io),
            Message::Watch(view) => process.on_view(view, &mut io),
            Message::Disconnected { pipeline, epoch } => process.on_disconnect(pipeline, epoch, &mut io),
            Message::PeerDead { start } => process.leader.confirm_dead(&start),
            Message::Reply(id, reply) => {
                if let Some(purpose) = started.awaited.remove(&id) {
                    process.on_reply(purpose, reply, &mut io);
                }
            }
        }
        let out = io.out;
        if process.is_superseded {
            self.counts.superseded += 1;
            self.close_connections(at);
        }
        self.put_out(at, out);
    }

    fn put_out(&mut self, from: usize, out: Vec<Output>) {
        for output in out {
            let (purpose, event) = match output {
                Output::After(wait, timer) => {
                    let at = self.now + wait;
                    self.push(at, Event::Arrives { at: from, message: Message::Timer(timer) });
                    continue;
                }
                Output::Store(request, purpose) => (purpose, Event::AtStore { from, id: self.last_id + 1, request }),
                Output::Database(pipeline, request, purpose) => {
                    (purpose, Event::AtDatabase { from, id: self.last_id + 1, pipeline, request })
                }
            };
            self.last_id += 1;
            let id = self.last_id;
            self.started[from].awaited.insert(id, purpose);
            let deadline = self.now + REQUEST_DEADLINE;
            self.push(deadline, Event::Arrives { at: from, message: Message::Reply(id, Reply::Timeout) });
            let at = self.now + self.delay();
            self.push(at, event);
        }
    }

    /// Mostly quick; while there are faults sometimes slow, and now and then longer than anybody waits.
    fn delay(&mut self) -> Duration {
        let millis = match self.random.random_range(0..200) {
            0 if self.now < CALM => self.random.random_range(1500..6000),
            1..10 if self.now < CALM => self.random.random_range(50..500),
            _ => self.random.random_range(1..10),
        };
        Duration::from_millis(millis)
    }

    fn reply(&mut self, to: usize, id: u64, reply: Reply) {
        let is_lost = self.now < CALM && self.random.random_range(0..100) < 2;
        let is_unheard = matches!(reply, Reply::Store(_)) && self.is_cut(to);
        if !is_lost && !is_unheard {
            self.send(to, Message::Reply(id, reply));
        }
    }

    fn send(&mut self, at: usize, message: Message) {
        let when = self.now + self.delay();
        self.push(when, Event::Arrives { at, message });
    }

    fn push(&mut self, at: Moment, event: Event) {
        self.last_id += 1;
        self.queue.insert((at, self.last_id), event);
    }

    fn is_cut(&self, process: usize) -> bool {
        self.cut_until[self.started[process].process.node] > self.now
    }

    /// Each change reaches each process by its watch, sooner or later, or not at all: then by the next list.
    fn tell_watchers(&mut self) {
        self.store.expire(self.now);
        let view = self.store.snapshot();
        if view.revision == std::mem::replace(&mut self.watched, view.revision) {
            return;
        }
        for process in 0..self.started.len() {
            let is_lost = self.now < CALM && self.random.random_range(0..20) == 0;
            if !is_lost && !self.is_cut(process) && !self.started[process].is_dead {
                self.send(process, Message::Watch(Rc::clone(&view)));
            }
        }
    }

    fn count(&mut self, before: &Snapshot) {
        let after = self.store.snapshot();
        for (pipeline, (assignment, _)) in &after.assignments {
            let old = before.assignments.get(pipeline).map(|(assignment, _)| assignment);
            let handover = old.and_then(|old| old.handover.as_ref());
            if old.is_none_or(|old| old.owner != assignment.owner) {
                self.counts.owners += 1;
                let is_planned = handover.is_some_and(|handover| handover.next == assignment.owner);
                self.counts.handovers += u64::from(is_planned);
            } else if handover.is_some() && assignment.handover.is_none() {
                self.counts.cancelled += 1;
            }
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        let incarnation = Incarnation(self.random.random());
        let index = self.started.len();
        let mut io = Io { now: self.now, random: &mut self.random, process: index, out: Vec::new() };
        let process = Process::start(node, incarnation, &mut io);
        let out = io.out;
        let paused_until = Moment::ZERO;
        self.started.push(Started { process, is_dead: false, paused_until, awaited: BTreeMap::new() });
        self.put_out(index, out);
    }

    pub(crate) fn pause(&mut self, process: usize, until: Moment) {
        self.started[process].paused_until = until;
    }

    /// Its requests that are on their way arrive all the same.
    pub(crate) fn kill(&mut self, process: usize) {
        self.started[process].is_dead = true;
        self.close_connections(process);
    }

    /// Some peer had a connection to it and finds that it is gone.
    pub(crate) fn tell_of_death(&mut self, process: usize) {
        let dead = &self.started[process].process;
        let start = dead.owner();
        self.store.revoke_node(dead.node, dead.incarnation);
        for peer in 0..self.started.len() {
            self.send(peer, Message::PeerDead { start: start.clone() });
        }
    }

    fn close_connections(&mut self, process: usize) {
        for databases in &mut self.databases {
            databases.close_all(process);
        }
    }

    pub(crate) fn later(&mut self, at: Moment, fault: Fault) {
        self.push(at, Event::Fault(fault));
    }
}
