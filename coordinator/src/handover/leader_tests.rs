use std::time::Duration;

use super::*;
use crate::{
    handover::{begin, prepared, released},
    records::{EpochBlock, Incarnation, MoveReason, NodeIntent, Owner, PROTOCOL},
};

fn node(name: &str, incarnation: u64, draining: bool) -> Node {
    Node {
        id: name.parse().unwrap(),
        incarnation: Incarnation(incarnation),
        capacity: 1.0,
        protocol: PROTOCOL,
        intent: NodeIntent { cordoned: false, draining },
        open_since: Duration::ZERO,
    }
}

/// A handover from a to b at each of its steps.
fn steps() -> [Assignment; 3] {
    let (a, b) = (node("a", 1, false).owner(), node("b", 2, false).owner());
    let owned = grant(&"orders".parse().unwrap(), None, a.clone());
    let preparing = begin(&owned, b.clone(), MoveReason::Drain).unwrap();
    let prepared = prepared(&preparing, &b).unwrap();
    let released = released(&prepared, &a).unwrap();
    [preparing, prepared, released]
}

fn step(assignment: &Assignment, nodes: &[Node], after: Duration) -> LeaderStep {
    let first_seen = Duration::from_secs(100);
    leader_step(assignment, nodes, first_seen, first_seen + after)
}

fn owner(step: LeaderStep) -> (Owner, EpochBlock, Compensation) {
    let LeaderStep::Write { assignment, why } = step else { panic!("{step:?}") };
    assert_eq!(assignment.handover, None);
    (assignment.owner, assignment.block, why)
}

#[test]
fn before_its_deadline_a_step_is_waited_for() {
    let nodes = [node("a", 1, false), node("b", 2, false)];
    for (assignment, deadline) in steps().iter().zip([10, 3, 3]) {
        let until = Duration::from_secs(100 + deadline);
        let just_before = Duration::from_secs(deadline) - Duration::from_nanos(1);
        assert_eq!(step(assignment, &nodes, just_before), LeaderStep::Wait { until });
    }
    let settled = cancel(&steps()[0]);
    assert_eq!(step(&settled, &nodes, Duration::MAX - Duration::from_secs(100)), LeaderStep::Settled);
}

#[test]
fn what_is_late_goes_back_or_on_but_never_waits() {
    let nodes = [node("a", 1, false), node("b", 2, false)];
    let [preparing, prepared, released] = steps();
    let back = owner(step(&preparing, &nodes, PREPARE_DEADLINE));
    assert_eq!(back, (nodes[0].owner(), EpochBlock(1), Compensation::PrepareTimedOut));
    let on = owner(step(&prepared, &nodes, RELEASE_DEADLINE));
    assert_eq!(on, (nodes[1].owner(), EpochBlock(2), Compensation::ReleaseTimedOut), "the next block fences the owner");
    let orphaned = LeaderStep::Orphaned { why: Compensation::TakeOverTimedOut };
    assert_eq!(step(&released, &nodes, TAKE_OVER_DEADLINE), orphaned);
}

#[test]
fn a_next_owner_that_goes_or_closes_loses_what_it_has_not_yet() {
    let [preparing, prepared, released] = steps();
    let a = node("a", 1, false);
    let gone = [vec![a.clone()], vec![a.clone(), node("b", 3, false)]];
    for nodes in &gone {
        for assignment in [&preparing, &prepared] {
            let back = owner(step(assignment, nodes, Duration::ZERO));
            assert_eq!(back, (a.owner(), EpochBlock(1), Compensation::NextGone));
        }
        let orphaned = LeaderStep::Orphaned { why: Compensation::NextGone };
        assert_eq!(step(&released, nodes, Duration::ZERO), orphaned, "the owner has stopped already");
    }
    let closes = [a.clone(), node("b", 2, true)];
    let back = owner(step(&prepared, &closes, Duration::ZERO));
    assert_eq!(back, (a.owner(), EpochBlock(1), Compensation::NextCloses));
    assert!(matches!(step(&released, &closes, Duration::ZERO), LeaderStep::Wait { .. }));
}

#[test]
fn the_owner_may_be_away_without_the_handover_being_touched() {
    let nodes = [node("b", 2, false)];
    assert!(matches!(step(&steps()[2], &nodes, Duration::ZERO), LeaderStep::Wait { .. }));
}
