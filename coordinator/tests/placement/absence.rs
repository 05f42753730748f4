//! Nodes that go, come back, or seem to be gone.

use std::time::Duration;

use rosetta_coordinator::{
    placement::{Action, Blocked, RETURN_GRACE},
    records::{Incarnation, LEASE, MoveReason},
};

use crate::cluster::{Cluster, blocked, id, reasons, zipf};

#[test]
fn a_vanished_node_has_a_moment_to_come_back_and_then_only_its_pipelines_move() {
    for is_confirmed in [false, true] {
        let mut cluster = Cluster::new(3, &zipf(20));
        let (before, lost) = (cluster.owners(), cluster.owned_by(1));
        cluster.vanish(1, is_confirmed);
        let until = cluster.now + RETURN_GRACE;
        let plan = cluster.plan();
        assert_eq!(blocked(&plan), vec![Blocked::OwnerMayReturn { until }; lost.len()]);
        assert_eq!((plan.writes().count(), plan.due()), (0, Some(until)));
        cluster.pass(RETURN_GRACE);
        let rounds = cluster.settle();
        assert_eq!(rounds.len(), 1, "all at once");
        assert_eq!(reasons(&rounds[0]), vec![MoveReason::Failover; lost.len()]);
        let stayed = |number: &usize| !lost.contains(number);
        assert!((0..20).filter(stayed).all(|number| cluster.owners()[number] == before[number]));
        assert!(cluster.most_loaded() <= cluster.reachable_maximum(), "{:?}", cluster.loads());
    }
}

#[test]
fn a_restart_in_place_moves_nothing() {
    let mut cluster = Cluster::new(3, &[1.0; 20]);
    cluster.inputs.nodes[1].incarnation = Incarnation(99);
    assert_eq!(cluster.plan().actions, []);
}

#[test]
fn half_of_the_nodes_at_once_is_held_for_one_lease_unless_a_peer_confirms() {
    let mut cluster = Cluster::new(4, &[1.0; 20]);
    cluster.vanish(1, false);
    cluster.pass(Duration::from_secs(1));
    cluster.vanish(2, false);
    let until = cluster.now + LEASE;
    cluster.pass(LEASE - Duration::from_millis(1));
    let held = cluster.plan();
    assert_eq!(held.writes().count(), 0);
    assert!(blocked(&held).iter().all(|reason| *reason == Blocked::MassExpiry { until }), "{held:?}");
    let mut confirmed = cluster.clone();
    confirmed.inputs.vanished[0].is_confirmed_dead = true;
    assert!(confirmed.plan().writes().count() > 0, "with one confirmed, the other is no longer half of the nodes");
    cluster.pass(Duration::from_millis(1));
    assert_eq!(reasons(&cluster.settle()[0]).len(), cluster_lost(&held));
}

fn cluster_lost(held: &rosetta_coordinator::placement::Plan) -> usize {
    blocked(held).len()
}

#[test]
fn what_moves_while_etcd_is_at_fault_would_only_come_back() {
    let mut cluster = Cluster::new(4, &[1.0; 20]);
    cluster.intend(0, crate::cluster::DRAINING);
    cluster.vanish(1, false);
    cluster.vanish(2, false);
    cluster.pass(RETURN_GRACE);
    assert_eq!(cluster.plan().writes().count(), 0, "the drain waits too");
    cluster.pass(LEASE);
    let rounds = cluster.settle();
    assert!(!rounds.is_empty() && cluster.owned_by(3).len() == 20);
}

#[test]
fn the_last_node_takes_everything_over_when_the_others_are_confirmed_dead() {
    let mut cluster = Cluster::new(3, &[1.0; 20]);
    cluster.vanish(0, true);
    cluster.vanish(1, true);
    cluster.pass(RETURN_GRACE);
    cluster.settle();
    assert_eq!(cluster.owned_by(2).len(), 20);
    let mut unconfirmed = Cluster::new(3, &[1.0; 20]);
    unconfirmed.vanish(0, false);
    unconfirmed.vanish(1, false);
    unconfirmed.pass(LEASE - Duration::from_nanos(1));
    assert_eq!(unconfirmed.plan().writes().count(), 0);
    unconfirmed.pass(Duration::from_nanos(1));
    unconfirmed.settle();
    assert_eq!(unconfirmed.owned_by(2).len(), 20, "and otherwise one lease later");
}

#[test]
fn of_two_nodes_one_may_vanish_without_its_being_the_fault_of_etcd() {
    let mut cluster = Cluster::new(2, &[1.0; 20]);
    cluster.vanish(0, false);
    cluster.pass(RETURN_GRACE);
    cluster.settle();
    assert_eq!(cluster.owned_by(1).len(), 20);
}

#[test]
fn nothing_is_balanced_until_a_node_had_a_minute_to_come_back() {
    let mut cluster = Cluster::new(3, &[1.0; 20]);
    cluster.vanish(0, false);
    cluster.pass(RETURN_GRACE);
    cluster.settle();
    cluster.join(7);
    cluster.pass(Duration::from_millis(58_400));
    assert_eq!(cluster.plan().actions, []);
    cluster.pass(Duration::from_millis(100));
    assert_eq!(reasons(&cluster.carry_out()), [MoveReason::Balance; 4]);
}

#[test]
fn a_node_that_is_back_is_filled_at_once() {
    let mut cluster = Cluster::new(3, &[1.0; 20]);
    cluster.vanish(0, false);
    cluster.pass(RETURN_GRACE);
    cluster.settle();
    cluster.pass(Duration::from_secs(3));
    cluster.inputs.vanished.clear();
    cluster.join(0);
    assert_eq!(cluster.settle().iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(cluster.owned_by(0).len(), 6);
}

#[test]
fn a_prepared_node_takes_over_from_an_owner_that_dies_before_it_releases() {
    use rosetta_coordinator::handover::{begin, prepared};
    let mut cluster = Cluster::new(3, &[1.0; 6]);
    let pipeline = cluster.owned_by(0)[0];
    let (owned, next) = (cluster.inputs.pipelines[pipeline].assignment.clone().unwrap(), cluster.start(2));
    let moving = begin(&owned, next.clone(), MoveReason::Balance).unwrap();
    cluster.inputs.pipelines[pipeline].assignment = prepared(&moving, &next);
    cluster.vanish(0, false);
    cluster.pass(RETURN_GRACE);
    cluster.settle();
    assert_eq!(cluster.owner(pipeline), Some(&id(2)));
}

#[test]
fn an_orphan_is_given_to_any_node() {
    use rosetta_coordinator::handover::{begin, prepared, released};
    let mut cluster = Cluster::new(3, &[1.0; 6]);
    let pipeline = cluster.owned_by(0)[0];
    let owned = cluster.inputs.pipelines[pipeline].assignment.clone().unwrap();
    let next = cluster.start(2);
    let moving = prepared(&begin(&owned, next.clone(), MoveReason::Drain).unwrap(), &next).unwrap();
    cluster.inputs.pipelines[pipeline].assignment = released(&moving, &owned.owner);
    assert_eq!(cluster.plan().actions, [], "it is the next owner's turn");
    cluster.inputs.pipelines[pipeline].is_orphaned = true;
    let rounds = cluster.settle();
    assert!(matches!(rounds[0][..], [Action::Assign { reason: MoveReason::Drain, .. }]), "{rounds:?}");
}
