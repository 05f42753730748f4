//! Since when nodes are there, or away.

use std::collections::BTreeMap;

use rosetta_proto::NodeId;

use super::{REBUILD_PAUSE, RETURN_GRACE, Vanished};
use crate::{
    Moment,
    records::{LEASE, NodeIntent},
};

/// What a leader remembers of nodes. A new leader begins with nothing: who owns something and is not there counts as
/// vanished from then on.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    nodes: BTreeMap<NodeId, Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Not `None` while it is open to pipelines.
    Live {
        open_since: Option<Moment>,
    },
    Away {
        since: Moment,
        is_confirmed_dead: bool,
    },
}

impl Presence {
    /// Takes down who is alive, what is intended with it, and who owns pipelines, at `now`.
    pub fn observe<'a>(
        &mut self,
        live: impl IntoIterator<Item = (&'a NodeId, NodeIntent)>,
        owners: impl IntoIterator<Item = &'a NodeId>,
        now: Moment,
    ) {
        let mut before = std::mem::take(&mut self.nodes);
        for (id, intent) in live {
            let since = match before.remove(id) {
                Some(Seen::Live { open_since }) => open_since.unwrap_or(now),
                Some(Seen::Away { .. }) | None => now,
            };
            let is_open = !intent.cordoned && !intent.draining;
            self.nodes.insert(id.clone(), Seen::Live { open_since: is_open.then_some(since) });
        }
        for id in owners {
            if !self.nodes.contains_key(id) {
                let seen = away(before.remove(id), now);
                self.nodes.insert(id.clone(), seen);
            }
        }
        for (id, seen) in before {
            let seen = away(Some(seen), now);
            if !seen.is_history(now) {
                self.nodes.entry(id).or_insert(seen);
            }
        }
    }

    /// A peer found that the process of `id` is gone.
    pub fn confirm_dead(&mut self, id: &NodeId) {
        if let Some(Seen::Away { is_confirmed_dead, .. }) = self.nodes.get_mut(id) {
            *is_confirmed_dead = true;
        }
    }

    /// Since when `id` has been alive and neither cordoned nor draining.
    pub fn open_since(&self, id: &NodeId) -> Option<Moment> {
        match self.nodes.get(id)? {
            Seen::Live { open_since } => *open_since,
            Seen::Away { .. } => None,
        }
    }

    /// The nodes that are away.
    pub fn vanished(&self) -> Vec<Vanished> {
        let away = |(id, seen): (&NodeId, &Seen)| match *seen {
            Seen::Live { .. } => None,
            Seen::Away { since, is_confirmed_dead } => Some(Vanished { id: id.clone(), at: since, is_confirmed_dead }),
        };
        self.nodes.iter().filter_map(away).collect()
    }
}

impl Seen {
    /// Long enough away that it explains nothing any more.
    fn is_history(self, now: Moment) -> bool {
        match self {
            Seen::Live { .. } => false,
            Seen::Away { since, .. } => now.saturating_sub(since) > REBUILD_PAUSE,
        }
    }
}

fn away(before: Option<Seen>, now: Moment) -> Seen {
    match before {
        Some(seen @ Seen::Away { .. }) => seen,
        Some(Seen::Live { .. }) | None => Seen::Away { since: now, is_confirmed_dead: false },
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

    #[test]
    fn a_node_is_remembered_while_it_owns_something_or_went_lately() {
        let (a, b, c) = (id("a"), id("b"), id("c"));
        let open = NodeIntent::default();
        let mut presence = Presence::default();
        presence.observe([(&a, open), (&b, open)], [&c], at(0));
        assert_eq!(presence.vanished(), [gone("c", 0, false)], "an owner that a new leader never saw");
        presence.observe([(&a, open)], [&c], at(1000));
        presence.confirm_dead(&b);
        presence.confirm_dead(&a);
        assert_eq!(presence.vanished(), [gone("b", 1000, true), gone("c", 0, false)]);
        presence.observe([(&a, open)], [&c], at(62_000));
        assert_eq!(presence.vanished(), [gone("c", 0, false)]);
        presence.observe([(&a, open), (&c, open)], [&c], at(63_000));
        assert_eq!((presence.open_since(&a), presence.open_since(&c)), (Some(at(0)), Some(at(63_000))));
    }

    #[test]
    fn a_node_that_opens_again_counts_from_then() {
        let a = id("a");
        let mut presence = Presence::default();
        presence.observe([(&a, NodeIntent::default())], [], at(0));
        presence.observe([(&a, NodeIntent { cordoned: false, draining: true })], [], at(1000));
        assert_eq!((presence.open_since(&a), presence.vanished()), (None, vec![]));
        presence.observe([(&a, NodeIntent::default())], [], at(2000));
        presence.observe([(&a, NodeIntent::default())], [], at(3000));
        assert_eq!(presence.open_since(&a), Some(at(2000)));
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
