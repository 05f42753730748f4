//! Joins, loads that change, noise, and what an operator asks for.

use std::time::Duration;

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rosetta_coordinator::{
    handover::begin,
    placement::{Action, Limits, Mode, RESIDENCE},
    records::MoveReason,
};

use crate::cluster::{Cluster, id, reasons, zipf};

#[test]
fn a_join_is_filled_four_at_a_time_and_not_beyond_its_share() {
    for (nodes, weights) in
        [(1, vec![1.0; 20]), (2, vec![1.0; 20]), (3, zipf(20)), (12, vec![1.0; 200]), (5, zipf(200))]
    {
        let mut cluster = Cluster::new(nodes, &weights);
        cluster.join(99);
        let rounds = cluster.settle();
        assert!(rounds.iter().all(|round| round.len() <= 4));
        let moves: Vec<Action> = rounds.into_iter().flatten().collect();
        assert_eq!(reasons(&moves), vec![MoveReason::Balance; moves.len()]);
        assert!(moves.len() <= weights.len() / (nodes + 1) + 1, "{} moves of {}", moves.len(), weights.len());
        assert!(moves.iter().all(|action| matches!(action, Action::Move { to, .. } if to.node == id(99))));
        assert!(cluster.most_loaded() <= cluster.reachable_maximum(), "{:?}", cluster.loads());
        assert!(cluster.loads()[&id(99)] > 0.75, "{:?}", cluster.loads());
    }
}

#[test]
fn four_moves_at_a_time_counts_those_under_way() {
    let mut cluster = Cluster::new(2, &[1.0; 20]);
    cluster.join(99);
    let next = cluster.start(99);
    for number in cluster.owned_by(0).into_iter().take(3) {
        let assignment = &mut cluster.inputs.pipelines[number].assignment;
        *assignment = begin(assignment.as_ref().unwrap(), next.clone(), MoveReason::Balance).ok();
    }
    assert_eq!(cluster.plan().writes().count(), 1);
}

#[test]
fn a_load_that_lasts_moves_pipelines_but_only_those_that_have_been_there_a_while() {
    let mut cluster = Cluster::new(2, &[1.0; 20]);
    assert_eq!((cluster.owned_by(0).len(), cluster.owned_by(1).len()), (10, 10));
    let busy = cluster.owned_by(0);
    for number in &busy {
        cluster.inputs.pipelines[*number].weight = 3.0;
        cluster.inputs.pipelines[*number].assigned_at = cluster.now;
    }
    cluster.pass(RESIDENCE - Duration::from_secs(1));
    assert_eq!(cluster.plan().actions, []);
    cluster.pass(Duration::from_secs(1));
    let rounds = cluster.settle();
    assert!(rounds.iter().all(|round| round.len() <= 4));
    assert_eq!(rounds.iter().map(Vec::len).sum::<usize>(), 3, "30 and 10: 3 of weight 3 make it 21 and 19");
    assert!(cluster.most_loaded() <= 1.10, "{:?}", cluster.loads());
}

#[test]
fn one_pipeline_heavier_than_a_share_does_not_stir_up_the_others() {
    let mut weights = vec![1.0; 20];
    weights[0] = 40.0;
    let mut cluster = Cluster::new(3, &weights);
    let hot = cluster.owner(0).cloned().unwrap();
    let alone = |cluster: &Cluster| cluster.owners().iter().filter(|owner| owner.as_ref() == Some(&hot)).count();
    assert_eq!(alone(&cluster), 1, "{:?}", cluster.loads());
    assert_eq!(noisy_plans(&mut cluster, 300), 0);
}

#[test]
fn noise_of_a_tenth_moves_nothing() {
    for (nodes, weights) in [(3, vec![1.0; 20]), (3, zipf(20)), (5, zipf(50)), (5, zipf(200)), (10, vec![1.0; 100])] {
        let mut cluster = Cluster::new(nodes, &weights);
        assert_eq!(noisy_plans(&mut cluster, 300), 0, "{nodes} nodes, {} pipelines", weights.len());
    }
}

/// Writes of that many plans, an hour apart, each with other noise of up to a tenth on every weight.
fn noisy_plans(cluster: &mut Cluster, count: u64) -> usize {
    let weights: Vec<f64> = cluster.inputs.pipelines.iter().map(|pipeline| pipeline.weight).collect();
    let mut writes = 0;
    for seed in 0..count {
        let mut random = StdRng::seed_from_u64(seed);
        for (pipeline, weight) in cluster.inputs.pipelines.iter_mut().zip(&weights) {
            pipeline.weight = weight * random.random_range(0.9..=1.1);
        }
        cluster.pass(Duration::from_hours(1));
        writes += cluster.carry_out().len();
    }
    writes
}

#[test]
fn an_operator_who_asks_gets_the_best_placement_at_once_and_a_dry_run_shows_all_of_it() {
    let mut cluster = Cluster::new(3, &[1.0; 60]);
    for pipeline in &mut cluster.inputs.pipelines {
        pipeline.assigned_at = cluster.now;
    }
    // A skew that is not worth a move in itself.
    for number in cluster.owned_by(0).into_iter().take(4) {
        let next = cluster.start(1);
        cluster.inputs.pipelines[number].assignment.as_mut().unwrap().owner = next;
    }
    assert_eq!(cluster.plan().actions, []);
    cluster.inputs.mode = Mode::Rebalance;
    let mut dry = cluster.clone();
    dry.inputs.limits = Limits::NONE;
    assert_eq!(reasons(&dry.carry_out()), [MoveReason::Asked; 4]);
    assert_eq!(dry.plan().actions, []);
    cluster.settle();
    assert_eq!([0, 1, 2].map(|node| cluster.owned_by(node).len()), [20, 20, 20]);
    assert_eq!(cluster.owners(), dry.owners(), "what was shown is what is done");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A node dies and comes back, again and again: it never gets worse.
    #[test]
    fn restarts_do_not_wear_the_balance_out(victims in prop::collection::vec(0usize..4, 1..8)) {
        let mut cluster = Cluster::new(4, &zipf(40));
        for victim in victims {
            cluster.vanish(victim, true);
            cluster.pass(Duration::from_secs(2));
            cluster.settle();
            cluster.inputs.vanished.clear();
            cluster.join(victim);
            cluster.settle();
            cluster.pass(RESIDENCE);
            cluster.settle();
            prop_assert!(cluster.most_loaded() <= 1.25, "{:?}", cluster.loads());
        }
    }
}
