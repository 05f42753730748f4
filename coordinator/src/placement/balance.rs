//! Moves that make loads equal. Each lowers the greater of two nodes' loads, so it ends.

use super::{
    BALANCED, BOUND, Mode, Pipeline, RESIDENCE,
    board::{Board, as_f64},
};
use crate::Moment;

/// A pipeline that may be moved.
pub(super) struct Candidate<'a> {
    pub(super) index: usize,
    pub(super) pipeline: &'a Pipeline,
    pub(super) on: usize,
    pub(super) weight: f64,
}

/// Weights that differ by less than this part of what is wanted serve as well: noise makes that difference.
const SIMILAR: f64 = 0.1;

#[derive(Default)]
pub(super) struct Outcome {
    /// Pipeline and the node that it goes to, each as an index.
    pub(super) moves: Vec<(usize, usize)>,
    pub(super) is_balancing: bool,
}

/// When a pair of nodes is uneven, in multiples of a node's share.
#[derive(Clone, Copy)]
struct Rule {
    /// The giver has more than this, or the receiver less than `low`. Without `low` a node that joins ten others would
    /// stay empty, for the mean falls by less than a tenth.
    high: f64,
    low: f64,
    /// They differ by at least this: else noise would move small pipelines about for ever where one that is heavier
    /// than a node's share keeps all others below it.
    gap: f64,
    /// Only nodes that joined receive, and only up to their share of the pipelines.
    is_join: bool,
    must_reside: bool,
}

const JOIN: Rule = Rule { high: BALANCED, low: 2.0 - BALANCED, gap: 0.1, is_join: true, must_reside: false };
const START: Rule = Rule { high: BOUND, low: 2.0 - BOUND, gap: 0.35, is_join: false, must_reside: true };
const CONTINUE: Rule = Rule { high: BALANCED, low: 2.0 - BALANCED, gap: 0.1, is_join: false, must_reside: true };
const REBALANCE: Rule = Rule { high: 1.02, low: 0.98, gap: 0.02, is_join: false, must_reside: false };

/// At most `limit` moves.
pub(super) fn moves(
    board: &mut Board<'_>,
    candidates: &[Candidate<'_>],
    mode: Mode,
    limit: usize,
    now: Moment,
) -> Outcome {
    let mut balancer = Balancer { board, now, moves: Vec::new() };
    let is_balancing = match mode {
        Mode::Rebalance => {
            balancer.run(candidates, REBALANCE, limit);
            false
        }
        Mode::Steady | Mode::Balancing => {
            balancer.run(candidates, JOIN, limit);
            // What a join moves is enough for a while: what it leaves uneven, loads will show.
            !balancer.is_joining() && balancer.run_by_load(candidates, mode, limit)
        }
    };
    Outcome { moves: balancer.moves, is_balancing }
}

struct Balancer<'b, 'a> {
    board: &'b mut Board<'a>,
    now: Moment,
    moves: Vec<(usize, usize)>,
}

impl Balancer<'_, '_> {
    /// What makes it begin is far from where it ends, or it would begin again at once. Says whether anything moves.
    fn run_by_load(&mut self, candidates: &[Candidate<'_>], mode: Mode, limit: usize) -> bool {
        if mode == Mode::Steady {
            self.run(candidates, START, limit.min(1));
        }
        if mode == Mode::Balancing || !self.moves.is_empty() {
            self.run(candidates, CONTINUE, limit);
        }
        !self.moves.is_empty()
    }

    /// Moves until no pair of nodes is uneven, none can be made more even, or there are `limit` moves.
    fn run(&mut self, candidates: &[Candidate<'_>], rule: Rule, limit: usize) {
        if self.moves.len() >= limit || !self.is_uneven(rule) {
            return;
        }
        let mut by_node = self.by_node(candidates, rule);
        while self.moves.len() < limit {
            let Some((from, at, to)) = self.next(&by_node, rule) else { break };
            let moved = by_node[from].remove(at);
            self.board.take(from, moved.weight);
            self.board.put(to, moved.weight);
            self.moves.push((moved.index, to));
        }
    }

    fn is_joining(&self) -> bool {
        self.eligible().any(|node| self.board.nodes[node].node.is_joining(self.now))
    }

    fn is_uneven(&self, rule: Rule) -> bool {
        let is_off = |node: usize| {
            let relative = self.board.relative(node);
            relative > rule.high || relative < rule.low
        };
        self.eligible().any(is_off)
    }

    fn eligible(&self) -> impl Iterator<Item = usize> {
        (0..self.board.nodes.len()).filter(|node| self.board.nodes[*node].is_eligible)
    }

    /// The candidates of each node, the lightest first.
    fn by_node<'c>(&self, candidates: &'c [Candidate<'c>], rule: Rule) -> Vec<Vec<&'c Candidate<'c>>> {
        let mut by_node: Vec<Vec<&Candidate<'_>>> = self.board.nodes.iter().map(|_| Vec::new()).collect();
        let resides = |candidate: &Candidate<'_>| self.now.saturating_sub(candidate.pipeline.assigned_at) < RESIDENCE;
        let is_moved = |candidate: &Candidate<'_>| self.moves.iter().any(|(index, _)| *index == candidate.index);
        let is_fixed = |candidate: &Candidate<'_>| is_moved(candidate) || (rule.must_reside && resides(candidate));
        for candidate in candidates.iter().filter(|candidate| !is_fixed(candidate)) {
            by_node[candidate.on].push(candidate);
        }
        for node in &mut by_node {
            node.sort_by(|a, b| a.weight.total_cmp(&b.weight).then(a.index.cmp(&b.index)));
        }
        by_node
    }

    /// The best next move: giver, place in its list, receiver. From the fullest to the emptiest node if possible.
    fn next(&self, by_node: &[Vec<&Candidate<'_>>], rule: Rule) -> Option<(usize, usize, usize)> {
        let mut order: Vec<(f64, usize)> = self.eligible().map(|node| (self.board.relative(node), node)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for &(low, to) in order.iter().filter(|(_, node)| self.may_receive(*node, rule)) {
            for &(high, from) in order.iter().rev() {
                if high - low <= rule.gap {
                    break;
                }
                let is_uneven = high > rule.high || low < rule.low;
                if let Some(at) = is_uneven.then(|| self.pick(&by_node[from], (from, to), rule)).flatten() {
                    return Some((from, at, to));
                }
            }
        }
        None
    }

    fn may_receive(&self, node: usize, rule: Rule) -> bool {
        let place = &self.board.nodes[node];
        !rule.is_join || (place.node.is_joining(self.now) && self.room(node) > 0.0)
    }

    /// How many pipelines a node that joins may still be given: its share, and one.
    fn room(&self, node: usize) -> f64 {
        self.board.share_of_count(node).floor() + 1.0 - as_f64(self.board.nodes[node].count)
    }

    /// The candidate of `from` whose move to `to` makes them most even.
    fn pick(&self, candidates: &[&Candidate<'_>], (from, to): (usize, usize), rule: Rule) -> Option<usize> {
        let shares = (self.board.share(from), self.board.share(to));
        let loads = (self.board.relative(from), self.board.relative(to));
        let mut ideal = ideal_weight(shares, loads);
        if rule.is_join {
            // It is filled with few moves, so none of them may be too light.
            ideal = ideal.max((1.0 - loads.1) * shares.1 / self.room(to));
        }
        let to_node = self.board.nodes[to].node;
        let may = |at: &usize| {
            let candidate = candidates[*at];
            // Strictly lower than the giver was: otherwise the two would only swap their parts.
            let is_lower = loads.1 + candidate.weight / shares.1 < loads.0 - 1e-9;
            // What was placed after a node had joined was placed with regard to it.
            // A new leader has seen both since the same instant, and knows nothing of a join.
            let is_older = !rule.is_join || candidate.pipeline.assigned_at < to_node.open_since;
            is_lower && is_older && !candidate.pipeline.is_unreachable_on(&to_node.id)
        };
        let middle = candidates.partition_point(|candidate| candidate.weight <= ideal);
        let lighter = (0..middle).rev().find(may);
        let heavier = (middle..candidates.len()).find(may);
        let distance = |at: &usize| (candidates[*at].weight - ideal).abs();
        let best = lighter.into_iter().chain(heavier).min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        // Of those that serve about as well, the one that has been where it is the longest: in a rolling restart the same
        // few would be moved over and over.
        let enough = distance(&best) + SIMILAR * ideal.abs();
        let serves = |at: &usize| distance(at) <= enough && may(at);
        (0..candidates.len()).filter(serves).min_by_key(|at| (candidates[*at].pipeline.assigned_at, *at != best))
    }
}

/// How much `from` should give: what it has too much, as far as `to` lacks it. When it has not too much itself (one
/// pipeline elsewhere is heavier than a share), they meet in the middle.
fn ideal_weight(shares: (f64, f64), loads: (f64, f64)) -> f64 {
    let (excess, lack) = ((loads.0 - 1.0) * shares.0, (1.0 - loads.1) * shares.1);
    if excess > 0.0 && lack > 0.0 {
        return excess.min(lack);
    }
    (loads.0 - loads.1) * shares.0 * shares.1 / (shares.0 + shares.1)
}
