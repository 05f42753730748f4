//! What goes wrong, and how to tell that all is well again.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};
use rosetta_coordinator::{Moment, records::NodeIntent};

use crate::world::{CALM, PIPELINES, World};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A process of the node starts, beside one that may still be there: the newer wins.
    Start(usize),
    /// The process is gone; a peer may notice.
    Kill {
        node: usize,
        is_noticed: bool,
    },
    /// The process stands still, and wakes as if nothing had been.
    Pause {
        node: usize,
        until: Moment,
    },
    /// It stands still, another is started in its place, and then it wakes.
    Replace {
        node: usize,
        until: Moment,
    },
    /// The node does not reach the store.
    Cut {
        node: usize,
        until: Moment,
    },
    /// The store loses every lease.
    LoseLeases,
    Intend {
        node: usize,
        intent: NodeIntent,
    },
    /// Everything that was done to the nodes is undone.
    Heal,
}

/// The faults of one run, from one seed.
pub(crate) fn schedule(nodes: usize, random: &mut StdRng) -> Vec<(Moment, Fault)> {
    let mut faults: Vec<(Moment, Fault)> = (0..nodes).map(|node| (Moment::ZERO, Fault::Start(node))).collect();
    for _ in 0..random.random_range(3..14) {
        let at = Duration::from_millis(random.random_range(1000..35_000));
        let until = (at + Duration::from_millis(random.random_range(100..14_000))).min(CALM);
        let node = random.random_range(0..nodes);
        let fault = match random.random_range(0..10) {
            0 | 1 => Fault::Kill { node, is_noticed: random.random() },
            2 | 3 => Fault::Pause { node, until },
            4 => Fault::Replace { node, until },
            5 | 6 => Fault::Cut { node, until },
            7 => Fault::LoseLeases,
            _ => Fault::Intend { node, intent: NodeIntent { cordoned: false, draining: true } },
        };
        faults.push((at, fault));
        match fault {
            Fault::Kill { .. } if random.random() => faults.push((until, Fault::Start(node))),
            Fault::Intend { .. } => faults.push((until, Fault::Intend { node, intent: NodeIntent::default() })),
            _ => {}
        }
    }
    faults.push((CALM, Fault::Heal));
    faults
}

impl World {
    pub(crate) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Start(node) => self.start(node),
            Fault::Kill { node, is_noticed } => {
                for process in self.processes_of(node) {
                    self.kill(process);
                    if is_noticed {
                        self.tell_of_death(process);
                    }
                }
            }
            Fault::Pause { node, until } => {
                for process in self.processes_of(node) {
                    self.pause(process, until);
                }
            }
            Fault::Replace { node, until } => {
                self.strike(Fault::Pause { node, until });
                self.start(node);
            }
            Fault::Cut { node, until } => self.cut_until[node] = until,
            Fault::LoseLeases => self.store.revoke_all(),
            Fault::Intend { node, intent } => self.store.intend(node, intent),
            Fault::Heal => self.heal(),
        }
    }

    fn heal(&mut self) {
        for node in 0..self.cut_until.len() {
            self.store.intend(node, NodeIntent::default());
            if self.processes_of(node).is_empty() {
                let at = self.now + Duration::from_millis(self.random.random_range(0..3000));
                self.later(at, Fault::Start(node));
            }
        }
    }

    fn processes_of(&self, node: usize) -> Vec<usize> {
        let is_there = |index: &usize| {
            let started = &self.started[*index];
            started.process.node == node && !started.is_dead && !started.process.is_superseded
        };
        (0..self.started.len()).filter(is_there).collect()
    }
}

/// Why not every pipeline is run by its owner and by nobody else.
pub(crate) fn unwell(world: &World, has_advanced: impl Fn(usize) -> bool) -> Option<String> {
    (0..PIPELINES).find_map(|pipeline| {
        let runs = |started: &&crate::world::Started| {
            let is_there = !started.is_dead && !started.process.is_superseded;
            is_there && started.process.runners.get(&pipeline).is_some_and(crate::runner::Runner::runs)
        };
        let runners: Vec<_> = world.started.iter().filter(runs).map(|started| started.process.owner()).collect();
        let assignment = world.store.assignment(pipeline);
        let is_well = match (&runners[..], assignment) {
            ([only], Some(assignment)) => assignment.handover.is_none() && assignment.owner == *only,
            _ => false,
        };
        (!is_well || !has_advanced(pipeline))
            .then(|| format!("pipeline {pipeline} does not run: {runners:?} run it, the record is {assignment:?}"))
    })
}
