//! The nodes with what a plan has put on each so far.

use std::collections::HashMap;

use rosetta_proto::{NodeId, PipelineName};

use super::{BOUND, FILLED, Inputs, Node, Ring};
use crate::records::Owner;

/// The live nodes by id, and their loads.
pub(super) struct Board<'a> {
    pub(super) nodes: Vec<Place<'a>>,
    index: HashMap<&'a NodeId, usize>,
    ring: Ring,
    /// What the eligible nodes carry together, once everything is placed.
    weight: f64,
    count: f64,
    capacity: f64,
}

/// A node and what it carries.
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) weight: f64,
    pub(super) count: usize,
    pub(super) is_eligible: bool,
}

/// Sums of the same loads in another order may differ by this much, relative to a node's share.
const ROUNDING: f64 = 1e-9;

impl<'a> Board<'a> {
    pub(super) fn new(inputs: &'a Inputs) -> Board<'a> {
        let mut nodes: Vec<&Node> = inputs.nodes.iter().collect();
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        nodes.dedup_by(|a, b| a.id == b.id);
        let place = |node: &&'a Node| Place { node, weight: 0.0, count: 0, is_eligible: node.is_eligible() };
        let places: Vec<Place<'a>> = nodes.iter().map(place).collect();
        let eligible = places.iter().filter(|place| place.is_eligible);
        Board {
            index: nodes.iter().enumerate().map(|(index, node)| (&node.id, index)).collect(),
            ring: Ring::new(nodes.iter().map(|node| &node.id)),
            weight: 0.0,
            count: 0.0,
            capacity: eligible.map(|place| place.node.capacity).sum(),
            nodes: places,
        }
    }

    /// The node with this id, if it is alive, in whichever start.
    pub(super) fn find(&self, id: &NodeId) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// This very start of a node, if it is alive.
    pub(super) fn find_start(&self, owner: &Owner) -> Option<usize> {
        self.find(&owner.node).filter(|index| self.nodes[*index].node.incarnation == owner.incarnation)
    }

    /// Says that eligible nodes will have to carry `weight` more.
    pub(super) fn expect(&mut self, weight: f64) {
        self.weight += weight;
        self.count += 1.0;
    }

    pub(super) fn put(&mut self, node: usize, weight: f64) {
        self.nodes[node].weight += weight;
        self.nodes[node].count += 1;
    }

    pub(super) fn take(&mut self, node: usize, weight: f64) {
        self.nodes[node].weight -= weight;
        self.nodes[node].count = self.nodes[node].count.saturating_sub(1);
    }

    /// What a node has to carry if all carry the same in relation to their capacity.
    pub(super) fn share(&self, node: usize) -> f64 {
        self.weight * self.part(node)
    }

    /// How many pipelines a node may have before it has more than its share of them.
    pub(super) fn share_of_count(&self, node: usize) -> f64 {
        self.count * self.part(node)
    }

    /// What a node carries in relation to its share: 1.0 when balanced.
    pub(super) fn relative(&self, node: usize) -> f64 {
        let share = self.share(node);
        if share > 0.0 { self.nodes[node].weight / share } else { 0.0 }
    }

    /// Where to put a pipeline: its most preferred node that has room, else the one with the least load.
    pub(super) fn best(&self, name: &PipelineName, weight: f64, is_excluded: impl Fn(usize) -> bool) -> Option<usize> {
        let may = |node: &usize| self.nodes[*node].is_eligible && !is_excluded(*node);
        let preferred = self.ring.order(name).filter(may).find(|node| self.fits(*node, weight));
        preferred.or_else(|| {
            let after = |node: usize| (self.nodes[node].weight + weight) / self.part(node);
            self.ring.order(name).filter(may).min_by(|a, b| after(*a).total_cmp(&after(*b)))
        })
    }

    fn fits(&self, node: usize, weight: f64) -> bool {
        let place = &self.nodes[node];
        let is_light = place.weight + weight <= self.share(node) * (FILLED + ROUNDING);
        is_light && as_f64(place.count + 1) <= (self.share_of_count(node) * BOUND).ceil()
    }

    fn part(&self, node: usize) -> f64 {
        if self.capacity > 0.0 { self.nodes[node].node.capacity / self.capacity } else { 0.0 }
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer pipelines than 2^52")]
pub(super) fn as_f64(count: usize) -> f64 {
    count as f64
}
