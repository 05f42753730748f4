//! Since when nodes are there, or away.

use std::collections::{BTreeMap, BTreeSet};

use rosetta_proto::NodeId;

use super::{REBUILD_PAUSE, RETURN_GRACE, Vanished};
use crate::{
    Moment,
    records::{Incarnation, LEASE, NodeIntent, Owner},
};

/// What a leader remembers of nodes. A new leader begins with nothing: who owns something and is not there counts as
/// vanished from then on.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    nodes: BTreeMap<NodeId, Seen>,
    /// Starts of nodes whose processes are gone, as peers found: perhaps before their records go.
    dead: BTreeSet<(NodeId, Incarnation)>,
}

/// The start of a node that was seen last, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    incarnation: Incarnation,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not `None` while it is open to pipelines.
    Live {
        open_since: Option<Moment>,
    },
    Away {
        since: Moment,
    },
}

impl Presence {
    /// Takes down who is alive, what is intended with it, and who owns pipelines, at `now`.
    pub fn observe<'a>(
        &mut self,
        live: impl IntoIterator<Item = (&'a NodeId, Incarnation, NodeIntent)>,
        owners: impl IntoIterator<Item = &'a Owner>,
        now: Moment,
    ) {
        let mut before = std::mem::take(&mut self.nodes);
        for (id, incarnation, intent) in live {
            let since = match before.remove(id).map(|seen| seen.state) {
                Some(State::Live { open_since }) => open_since.unwrap_or(now),
                Some(State::Away { .. }) | None => now,
            };
            let is_open = !intent.cordoned && !intent.draining;
            let state = State::Live { open_since: is_open.then_some(since) };
            self.nodes.insert(id.clone(), Seen { incarnation, state });
        }
        for owner in owners {
            if !self.nodes.contains_key(&owner.node) {
                let unseen = Seen { incarnation: owner.incarnation, state: State::Away { since: now } };
                let seen = before.remove(&owner.node).map_or(unseen, |seen| seen.gone(now));
                self.nodes.insert(owner.node.clone(), seen);
            }
        }
        let gone = before.into_iter().map(|(id, seen)| (id, seen.gone(now)));
        self.nodes.extend(gone.filter(|(_, seen)| !seen.is_history(now)));
        self.dead.retain(|(id, incarnation)| self.nodes.get(id).is_some_and(|seen| seen.incarnation == *incarnation));
    }

    /// A peer found that the process of this start of a node is gone. Its record may still be there.
    pub fn confirm_dead(&mut self, start: &Owner) {
        self.dead.insert((start.node.clone(), start.incarnation));
    }

    /// Since when `id` has been alive and neither cordoned nor draining.
    pub fn open_since(&self, id: &NodeId) -> Option<Moment> {
        match self.nodes.get(id)?.state {
            State::Live { open_since } => open_since,
            State::Away { .. } => None,
        }
    }

    /// The nodes that are away.
    pub fn vanished(&self) -> Vec<Vanished> {
        let away = |(id, seen): (&NodeId, &Seen)| match seen.state {
            State::Live { .. } => None,
            State::Away { since: at } => {
                let is_confirmed_dead = self.dead.contains(&(id.clone(), seen.incarnation));
                Some(Vanished { id: id.clone(), at, is_confirmed_dead })
            }
        };
        self.nodes.iter().filter_map(away).collect()
    }
}

impl Seen {
    /// The same, no longer there at `now`.
    fn gone(self, now: Moment) -> Seen {
        match self.state {
            State::Live { .. } => Seen { state: State::Away { since: now }, ..self },
            State::Away { .. } => self,
        }
    }

    /// Long enough away that it explains nothing any more.
    fn is_history(self, now: Moment) -> bool {
        match self.state {
            State::Live { .. } => false,
            State::Away { since } => now.saturating_sub(since) > REBUILD_PAUSE,
        }
    }
}

/// Until when nothing is taken over from a node that is not confirmed dead: half of the nodes or more (and at least
/// two) vanished within one lease.
pub(super) fn mass_expiry(live: usize, vanished: &[Vanished], now: Moment) -> Option<Moment> {
    let mut times: Vec<Moment> = vanished.iter().filter(|node| !node.is_confirmed_dead).map(|node| node.at).collect();
    times.sort();
    let together = |(first, at): (usize, &Moment)| {
        let last = first + times[first..].partition_point(|other| other.saturating_sub(*at) <= LEASE) - 1;
        let count = last + 1 - first;
        let until = times[last] + LEASE;
        (count >= 2 && count >= live && until > now).then_some(until)
    };
    times.iter().enumerate().filter_map(together).max()
}

/// Until when `node` may come back in place.
pub(super) fn return_deadline(node: &Vanished) -> Moment {
    node.at + RETURN_GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn gone(name: &str, millis: u64, is_confirmed_dead: bool) -> Vanished {
        Vanished { id: id(name), at: at(millis), is_confirmed_dead }
    }

    const OPEN: NodeIntent = NodeIntent { cordoned: false, draining: false };
    const DRAINING: NodeIntent = NodeIntent { cordoned: false, draining: true };

    fn start(name: &str, incarnation: u64) -> Owner {
        Owner { node: id(name), incarnation: Incarnation(incarnation) }
    }

    fn observe(presence: &mut Presence, live: &[&Owner], intent: NodeIntent, owners: &[Owner], millis: u64) {
        let live = live.iter().map(|node| (&node.node, node.incarnation, intent));
        presence.observe(live, owners, at(millis));
    }

    #[test]
    fn a_node_is_remembered_while_it_owns_something_or_went_lately() {
        let (a, b, c) = (start("a", 1), start("b", 2), start("c", 3));
        let owners = std::slice::from_ref(&c);
        let mut presence = Presence::default();
        observe(&mut presence, &[&a, &b], OPEN, owners, 0);
        assert_eq!(presence.vanished(), [gone("c", 0, false)], "an owner that a new leader never saw");
        observe(&mut presence, &[&a], OPEN, owners, 1000);
        assert_eq!(presence.vanished(), [gone("b", 1000, false), gone("c", 0, false)]);
        observe(&mut presence, &[&a], OPEN, owners, 62_000);
        assert_eq!(presence.vanished(), [gone("c", 0, false)]);
        observe(&mut presence, &[&a, &c], OPEN, owners, 63_000);
        assert_eq!((presence.open_since(&a.node), presence.open_since(&c.node)), (Some(at(0)), Some(at(63_000))));
    }

    #[test]
    fn a_death_may_be_known_before_the_record_goes_and_is_of_one_start() {
        let (old, new, c) = (start("a", 1), start("a", 2), start("c", 3));
        let mut presence = Presence::default();
        observe(&mut presence, &[&old], OPEN, std::slice::from_ref(&c), 0);
        presence.confirm_dead(&old);
        presence.confirm_dead(&c);
        observe(&mut presence, &[], OPEN, std::slice::from_ref(&c), 1000);
        assert_eq!(presence.vanished(), [gone("a", 1000, true), gone("c", 0, true)]);
        observe(&mut presence, &[&new], OPEN, &[], 2000);
        observe(&mut presence, &[], OPEN, &[], 3000);
        assert_eq!(presence.vanished(), [gone("a", 3000, false), gone("c", 0, true)]);
    }

    #[test]
    fn a_node_that_opens_again_counts_from_then() {
        let a = start("a", 1);
        let mut presence = Presence::default();
        observe(&mut presence, &[&a], OPEN, &[], 0);
        observe(&mut presence, &[&a], DRAINING, &[], 1000);
        assert_eq!((presence.open_since(&a.node), presence.vanished()), (None, vec![]));
        observe(&mut presence, &[&a], OPEN, &[], 2000);
        observe(&mut presence, &[&a], OPEN, &[], 3000);
        assert_eq!(presence.open_since(&a.node), Some(at(2000)));
    }

    #[test]
    fn half_of_the_nodes_within_one_lease_is_the_fault_of_etcd() {
        let two = [gone("a", 1000, false), gone("b", 6000, false)];
        assert_eq!(mass_expiry(2, &two, at(6100)), Some(at(12_000)));
        assert_eq!(mass_expiry(2, &two, at(12_000)), None, "for one lease only");
        assert_eq!(mass_expiry(3, &two, at(6100)), None, "less than half");
        assert_eq!(mass_expiry(1, &two[..1], at(1100)), None, "one of two");
        let apart = [gone("a", 1000, false), gone("b", 7001, false)];
        assert_eq!(mass_expiry(1, &apart, at(7100)), None);
        let confirmed = [gone("a", 1000, true), gone("b", 1000, false)];
        assert_eq!(mass_expiry(1, &confirmed, at(1100)), None);
    }
}
