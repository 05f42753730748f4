//! The plan: judge each pipeline, place what has no owner, empty what is to be emptied, balance.

use super::{
    Action, Blocked, Inputs, Mode, Pipeline, Plan, REBUILD_PAUSE,
    balance::{self, Candidate},
    board::Board,
    judge::{Judge, Target, Verdict},
};
use crate::{
    Moment,
    records::{MoveReason, Owner},
};

/// What is to be done at `now`. Carrying a plan out and planning again gives nothing but what is blocked.
pub fn plan(inputs: &Inputs, now: Moment) -> Plan {
    let mut pipelines: Vec<&Pipeline> = inputs.pipelines.iter().collect();
    pipelines.sort_by(|a, b| a.name.cmp(&b.name));
    let board = Board::new(inputs);
    let judge = Judge::new(inputs, &board, now);
    let verdicts: Vec<Verdict> = pipelines.iter().map(|pipeline| judge.judge(pipeline)).collect();
    let mut planner = Planner { pipelines, board, actions: Vec::new(), asked_moves: 0 };
    planner.asked_moves = inputs.limits.asked_moves.saturating_sub(planner.under_way(is_asked));
    planner.count(&verdicts);
    planner.place(&verdicts);
    let is_balancing = planner.balance(inputs, &verdicts, now);
    Plan { actions: planner.actions, is_balancing }
}

struct Planner<'a> {
    pipelines: Vec<&'a Pipeline>,
    board: Board<'a>,
    actions: Vec<Action>,
    /// How many more may begin.
    asked_moves: usize,
}

fn is_asked(reason: MoveReason) -> bool {
    match reason {
        MoveReason::Drain | MoveReason::Asked | MoveReason::Unreachable => true,
        MoveReason::Placed | MoveReason::Failover | MoveReason::Balance => false,
    }
}

impl<'a> Planner<'a> {
    fn under_way(&self, counts: fn(MoveReason) -> bool) -> usize {
        self.pipelines.iter().filter(|pipeline| pipeline.moving().is_some_and(counts)).count()
    }

    /// Puts what stays on the board, and adds up what will have to be carried.
    fn count(&mut self, verdicts: &[Verdict]) {
        for (pipeline, verdict) in self.pipelines.iter().zip(verdicts) {
            let weight = pipeline.effective_weight();
            let on = match verdict {
                Verdict::Stays { on } => Some(*on),
                Verdict::Moving { to: on } | Verdict::Blocked { on, .. } => *on,
                Verdict::Homeless { .. } | Verdict::Leaves { .. } => {
                    self.board.expect(weight);
                    continue;
                }
            };
            if let Some(on) = on {
                self.board.put(on, weight);
                if self.board.nodes[on].is_eligible {
                    self.board.expect(weight);
                }
            }
        }
    }

    /// What nobody runs first, and the heaviest first: small ones fit into what is left.
    fn place(&mut self, verdicts: &[Verdict]) {
        let is_homeless = |index: usize| matches!(verdicts[index], Verdict::Homeless { .. });
        let mut order: Vec<(bool, f64, usize)> = (0..verdicts.len())
            .map(|index| (!is_homeless(index), -self.pipelines[index].effective_weight(), index))
            .collect();
        order.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        for (_, _, index) in order {
            match &verdicts[index] {
                Verdict::Homeless { target, reason } => self.assign(index, *target, *reason),
                Verdict::Leaves { from, target, reason } => self.leave(index, *from, *target, *reason),
                Verdict::Blocked { reason, .. } => self.blocked(index, reason.clone()),
                Verdict::Stays { .. } | Verdict::Moving { .. } => {}
            }
        }
    }

    fn assign(&mut self, index: usize, target: Target, reason: MoveReason) {
        let anywhere =
            |planner: &Self| planner.board.best(&planner.pipelines[index].name, planner.weight(index), |_| false);
        // Nobody runs it: a node that could not reach its servers a while ago is better than none.
        match self.target(index, target, None).or_else(|| anywhere(self)) {
            None => self.blocked(index, Blocked::NoNode),
            Some(to) => {
                let pipeline = self.pipelines[index].name.clone();
                self.actions.push(Action::Assign { pipeline, to: self.owner(to), reason });
                self.board.put(to, self.weight(index));
            }
        }
    }

    fn leave(&mut self, index: usize, from: usize, target: Target, reason: MoveReason) {
        let weight = self.weight(index);
        let to = self.target(index, target, Some(from));
        let (on, action) = match to {
            Some(to) if self.asked_moves > 0 => {
                self.asked_moves -= 1;
                let pipeline = self.pipelines[index].name.clone();
                (to, Some(Action::Move { pipeline, to: self.owner(to), reason }))
            }
            Some(_) => (from, self.blocked_action(index, Blocked::TooManyMoves)),
            // It retries where it is, and says so itself.
            None if reason == MoveReason::Unreachable => (from, None),
            None => (from, self.blocked_action(index, self.why_nowhere(from))),
        };
        self.board.put(on, weight);
        self.actions.extend(action);
    }

    /// The node to give it to, among those that are not known to be cut off from its servers.
    fn target(&self, index: usize, target: Target, from: Option<usize>) -> Option<usize> {
        let pipeline = self.pipelines[index];
        let is_cut_off = |node: usize| pipeline.is_unreachable_on(&self.board.nodes[node].node.id);
        match target {
            Target::Only(node) => Some(node),
            Target::Rather(node) if self.board.nodes[node].is_eligible && !is_cut_off(node) => Some(node),
            Target::Rather(_) | Target::Any => {
                self.board.best(&pipeline.name, self.weight(index), |node| from == Some(node) || is_cut_off(node))
            }
        }
    }

    fn why_nowhere(&self, from: usize) -> Blocked {
        let others = |(node, place): (usize, &super::board::Place<'_>)| place.is_eligible && node != from;
        if self.board.nodes.iter().enumerate().any(others) { Blocked::NoReachableNode } else { Blocked::NoNode }
    }

    fn balance(&mut self, inputs: &Inputs, verdicts: &[Verdict], now: Moment) -> bool {
        let is_balance = |reason| reason == MoveReason::Balance;
        let under_way = self.under_way(is_balance);
        if !self.may_balance(inputs, verdicts, now) {
            return false;
        }
        let limit = match inputs.mode {
            Mode::Rebalance => self.asked_moves,
            Mode::Steady | Mode::Balancing => inputs.limits.balance_moves.saturating_sub(under_way),
        };
        let candidates = self.candidates(verdicts);
        let outcome = balance::moves(&mut self.board, &candidates, inputs.mode, limit, now);
        let reason = match inputs.mode {
            Mode::Rebalance => MoveReason::Asked,
            Mode::Steady | Mode::Balancing => MoveReason::Balance,
        };
        for (index, to) in outcome.moves {
            let pipeline = self.pipelines[index].name.clone();
            self.actions.push(Action::Move { pipeline, to: self.owner(to), reason });
        }
        outcome.is_balancing || (inputs.mode == Mode::Balancing && under_way > 0)
    }

    /// Not while nodes are restarted one after the other: each would be filled only to be emptied.
    fn may_balance(&self, inputs: &Inputs, verdicts: &[Verdict], now: Moment) -> bool {
        let is_restarting = || inputs.vanished.iter().any(|node| now.saturating_sub(node.at) < REBUILD_PAUSE);
        let is_emptied = |verdict: &Verdict| match verdict {
            Verdict::Leaves { reason, .. } => *reason == MoveReason::Drain,
            Verdict::Stays { .. } | Verdict::Moving { .. } | Verdict::Homeless { .. } | Verdict::Blocked { .. } => {
                false
            }
        };
        let is_draining = || verdicts.iter().any(is_emptied) || self.under_way(|r| r == MoveReason::Drain) > 0;
        match inputs.mode {
            Mode::Rebalance => !verdicts.iter().any(is_held),
            Mode::Steady | Mode::Balancing => !is_restarting() && !is_draining(),
        }
    }

    /// What may be moved to balance.
    fn candidates(&self, verdicts: &[Verdict]) -> Vec<Candidate<'a>> {
        let candidate = |(index, (pipeline, verdict)): (usize, (&&'a Pipeline, &Verdict))| match verdict {
            Verdict::Stays { on } if pipeline.pin.is_none() && self.board.nodes[*on].is_eligible => {
                Some(Candidate { index, pipeline, on: *on, weight: pipeline.effective_weight() })
            }
            Verdict::Stays { .. }
            | Verdict::Moving { .. }
            | Verdict::Homeless { .. }
            | Verdict::Leaves { .. }
            | Verdict::Blocked { .. } => None,
        };
        self.pipelines.iter().zip(verdicts).enumerate().filter_map(candidate).collect()
    }

    fn blocked(&mut self, index: usize, reason: Blocked) {
        self.actions.extend(self.blocked_action(index, reason));
    }

    fn blocked_action(&self, index: usize, reason: Blocked) -> Option<Action> {
        Some(Action::Blocked { pipeline: self.pipelines[index].name.clone(), reason })
    }

    fn owner(&self, node: usize) -> Owner {
        self.board.nodes[node].node.owner()
    }

    fn weight(&self, index: usize) -> f64 {
        self.pipelines[index].effective_weight()
    }
}

fn is_held(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Blocked { reason: Blocked::MassExpiry { .. }, .. })
}
