//! Pins, cordons, drains, and servers that cannot be reached.

use std::time::Duration;

use rosetta_coordinator::{
    placement::{Action, Blocked, Unreachable},
    records::{Desired, MoveReason},
};

use crate::cluster::{CORDONED, Cluster, DRAINING, blocked, id, node, pipeline, reasons, zipf};

#[test]
fn a_drain_moves_everything_at_once_and_never_onto_a_closed_node() {
    let mut cluster = Cluster::new(5, &[1.0; 50]);
    let drained: usize = [0, 1].iter().map(|node| cluster.owned_by(*node).len()).sum();
    cluster.intend(0, DRAINING);
    cluster.intend(1, DRAINING);
    cluster.intend(2, CORDONED);
    let kept = cluster.owned_by(2);
    let rounds = cluster.settle();
    assert_eq!((rounds.len(), reasons(&rounds[0])), (1, vec![MoveReason::Drain; drained]));
    assert_eq!((cluster.owned_by(0).len(), cluster.owned_by(1).len()), (0, 0));
    assert_eq!(cluster.owned_by(2), kept, "a cordoned node keeps what it has");
}

#[test]
fn a_large_drain_goes_in_parts_and_says_what_waits() {
    let mut cluster = Cluster::new(3, &[1.0; 200]);
    cluster.intend(0, DRAINING);
    let count = cluster.owned_by(0).len();
    let plan = cluster.plan();
    assert_eq!((plan.writes().count(), blocked(&plan)), (32, vec![Blocked::TooManyMoves; count - 32]));
    cluster.settle();
    assert_eq!(cluster.owned_by(0).len(), 0);
}

#[test]
fn a_drain_with_nowhere_to_go_keeps_the_pipelines_and_says_why() {
    let mut cluster = Cluster::new(2, &[1.0; 4]);
    let kept = cluster.owned_by(0);
    cluster.intend(0, DRAINING);
    cluster.intend(1, CORDONED);
    assert_eq!(cluster.settle().len(), 0);
    assert_eq!(blocked(&cluster.plan()), vec![Blocked::NoNode; kept.len()]);
    cluster.intend(1, Default::default());
    for pipeline in &kept {
        let report = Unreachable { node: id(1), since: cluster.now };
        cluster.inputs.pipelines[*pipeline].unreachable.push(report);
    }
    assert_eq!(blocked(&cluster.plan()), vec![Blocked::NoReachableNode; kept.len()]);
}

#[test]
fn a_pin_comes_first() {
    let mut cluster = Cluster::new(3, &[1.0; 6]);
    for pipeline in &mut cluster.inputs.pipelines {
        pipeline.pin = Some(id(2));
    }
    let rounds = cluster.settle();
    assert_eq!((rounds.len(), reasons(&rounds[0])), (1, vec![MoveReason::Asked; 4]));
    assert_eq!(cluster.owned_by(2).len(), 6);
    cluster.intend(2, CORDONED);
    assert_eq!(cluster.plan().actions, [], "what is there stays");
    cluster.intend(2, DRAINING);
    assert_eq!(blocked(&cluster.plan()), vec![Blocked::PinnedNodeClosed(id(2)); 6]);
    cluster.vanish(2, true);
    cluster.pass(Duration::from_secs(100));
    let plan = cluster.plan();
    assert_eq!((plan.writes().count(), blocked(&plan)), (0, vec![Blocked::PinnedNodeAway(id(2)); 6]));
}

#[test]
fn a_pin_to_a_closed_node_moves_nothing() {
    let mut cluster = Cluster::new(2, &[1.0; 2]);
    cluster.intend(1, CORDONED);
    let pipeline = cluster.owned_by(0)[0];
    cluster.inputs.pipelines[pipeline].pin = Some(id(1));
    let plan = cluster.plan();
    assert_eq!((plan.writes().count(), blocked(&plan)), (0, vec![Blocked::PinnedNodeClosed(id(1))]));
}

#[test]
fn a_node_that_does_not_understand_the_records_is_given_nothing() {
    let mut cluster = Cluster::new(1, &[]);
    let mut older = node(1, Duration::ZERO);
    older.protocol = 0;
    cluster.inputs.nodes.push(older);
    cluster.inputs.pipelines = (0..10).map(|number| pipeline(number, 1.0)).collect();
    cluster.settle();
    assert_eq!(cluster.owned_by(0).len(), 10);
    cluster.inputs.nodes.remove(0);
    cluster.pass(Duration::from_secs(100));
    assert_eq!(blocked(&cluster.plan()), vec![Blocked::NoNode; 10]);
}

#[test]
fn after_half_a_minute_without_its_servers_another_node_tries_but_not_in_circles() {
    let mut cluster = Cluster::new(3, &[1.0]);
    let first = cluster.owner(0).cloned().unwrap();
    let report = |node, cluster: &Cluster| Unreachable { node, since: cluster.now };
    cluster.inputs.pipelines[0].unreachable = vec![report(first.clone(), &cluster)];
    cluster.pass(Duration::from_millis(29_999));
    assert_eq!(cluster.plan().actions, []);
    cluster.pass(Duration::from_millis(1));
    assert_eq!(reasons(&cluster.carry_out()), [MoveReason::Unreachable]);
    let second = cluster.owner(0).cloned().unwrap();
    assert_ne!(first, second);
    let more = report(second.clone(), &cluster);
    cluster.inputs.pipelines[0].unreachable.push(more);
    cluster.pass(Duration::from_secs(30));
    assert_eq!(cluster.carry_out().len(), 1);
    let third = cluster.owner(0).cloned().unwrap();
    assert!(third != first && third != second);
    let more = report(third, &cluster);
    cluster.inputs.pipelines[0].unreachable.push(more);
    cluster.pass(Duration::from_secs(30));
    assert_eq!(cluster.plan().actions, [], "its servers are down: nobody is better");
}

#[test]
fn a_paused_pipeline_weighs_little_and_has_an_owner_like_any_other() {
    let mut cluster = Cluster::new(2, &[]);
    cluster.inputs.pipelines = (0..12).map(|number| pipeline(number, 5.0)).collect();
    for paused in &mut cluster.inputs.pipelines[..6] {
        paused.desired = Desired::Pause;
    }
    cluster.settle();
    let running = |node| cluster.owned_by(node).into_iter().filter(|number| *number >= 6).count();
    assert_eq!((running(0), running(1)), (3, 3));
    cluster.vanish(0, false);
    cluster.pass(Duration::from_millis(1500));
    cluster.settle();
    assert_eq!(cluster.owned_by(1).len(), 12);
}

#[test]
fn a_handover_under_way_is_let_alone() {
    use rosetta_coordinator::handover::begin;
    let mut cluster = Cluster::new(3, &zipf(20));
    cluster.intend(0, DRAINING);
    for number in cluster.owned_by(0) {
        let next = cluster.start(1 + number % 2);
        let assignment = &mut cluster.inputs.pipelines[number].assignment;
        *assignment = begin(assignment.as_ref().unwrap(), next, MoveReason::Drain).ok();
    }
    assert_eq!(cluster.plan().actions, []);
}

#[test]
fn an_action_that_no_longer_fits_the_record_writes_nothing() {
    let cluster = Cluster::new(2, &[1.0]);
    let current = cluster.inputs.pipelines[0].assignment.clone().unwrap();
    let to = current.owner.clone();
    let action = Action::Move { pipeline: current.pipeline.clone(), to, reason: MoveReason::Asked };
    assert_eq!((action.record(Some(&current)), action.record(None)), (None, None));
}
