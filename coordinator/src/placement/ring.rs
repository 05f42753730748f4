//! The consistent-hash ring: in which order a pipeline prefers the nodes.

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use rosetta_proto::{NodeId, PipelineName};

/// Points of each node on the ring: with 128 the shares of nodes differ by about a tenth.
const VIRTUAL_NODES: u32 = 128;

/// FNV-1a with a finalizer: fixed by us, because a hash that differs between two versions or machines would make two
/// leaders disagree.
#[derive(Clone)]
struct FixedHash;

struct FixedHasher(u64);

impl BuildHasher for FixedHash {
    type Hasher = FixedHasher;

    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        // FNV alone leaves the high bits of short, similar names alike, and the ring is ordered by them.
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

/// A name, hashed as its bytes alone: what `str` adds belongs to the standard library and may change.
struct Name<'a>(&'a str);

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

#[derive(Clone, Copy, Debug)]
struct VirtualNode {
    node: u32,
    replica: u32,
    /// The hash of the node's name.
    seed: u64,
}

impl Hash for VirtualNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.seed.to_le_bytes());
        state.write(&self.replica.to_le_bytes());
    }
}

/// The order in which pipelines prefer nodes.
pub struct Ring {
    nodes: Vec<NodeId>,
    ring: HashRing<VirtualNode, FixedHash>,
    /// The node of each point, clockwise.
    clockwise: Vec<u32>,
    /// Where a virtual node stands in `clockwise`.
    positions: Vec<u32>,
}

impl Ring {
    /// A ring of `nodes`, in any order.
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> Ring {
        let mut nodes: Vec<NodeId> = nodes.into_iter().cloned().collect();
        nodes.sort();
        nodes.dedup();
        let mut ring: HashRing<VirtualNode, FixedHash> = HashRing::with_hasher(FixedHash);
        ring.batch_add(nodes.iter().zip(0..).flat_map(|(id, node)| virtual_nodes(id, node)).collect());
        // One turn around the ring; where it begins does not matter.
        let ordered = ring.get_with_replicas(&Name(""), usize::MAX).unwrap_or_default();
        let mut positions = vec![0; ordered.len()];
        for (point, position) in ordered.iter().zip(0..) {
            positions[point.index()] = position;
        }
        Ring { nodes, ring, clockwise: ordered.iter().map(|point| point.node).collect(), positions }
    }

    /// All nodes, the most preferred one of `pipeline` first.
    pub fn preference(&self, pipeline: &PipelineName) -> impl Iterator<Item = &NodeId> {
        self.order(pipeline).map(|node| &self.nodes[node])
    }

    /// As [`Ring::preference`], each node as its index among the sorted ids.
    pub(super) fn order(&self, pipeline: &PipelineName) -> impl Iterator<Item = usize> {
        let first = self.ring.get(&Name(pipeline.as_str())).map_or(0, |point| self.positions[point.index()] as usize);
        let (before, after) = self.clockwise.split_at(first);
        let mut is_seen = vec![false; self.nodes.len()];
        let distinct = move |node: &u32| !std::mem::replace(&mut is_seen[*node as usize], true);
        // Most walks end within a few points: the rest is never looked at.
        after.iter().chain(before).copied().filter(distinct).map(|node| node as usize).take(self.nodes.len())
    }
}

impl VirtualNode {
    fn index(self) -> usize {
        (self.node * VIRTUAL_NODES + self.replica) as usize
    }
}

fn virtual_nodes(id: &NodeId, node: u32) -> impl Iterator<Item = VirtualNode> {
    let seed = FixedHash.hash_one(Name(id.as_str()));
    (0..VIRTUAL_NODES).map(move |replica| VirtualNode { node, replica, seed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn order(ring: &Ring, pipeline: &str) -> Vec<String> {
        ring.preference(&pipeline.parse().unwrap()).map(ToString::to_string).collect()
    }

    /// A change of the hash or of the ring moves every pipeline of every cluster that is upgraded.
    #[test]
    fn the_order_never_changes() {
        let hashes = ["", "a", "orders", "node-1"].map(|name| FixedHash.hash_one(Name(name)));
        assert_eq!(
            hashes,
            [0xefd0_1f60_ba99_2926, 0x82a2_a958_a9be_ce5b, 0x3252_0fbd_b4da_d5b9, 0x91dd_3f4c_04e1_eb05]
        );
        let ring = Ring::new(&ids(&["node-1", "node-2", "node-3", "node-4", "node-5"]));
        assert_eq!(order(&ring, "orders").join(" "), "node-5 node-1 node-3 node-2 node-4");
        assert_eq!(order(&ring, "bills").join(" "), "node-3 node-5 node-2 node-1 node-4");
        assert_eq!(order(&ring, "p1").join(" "), "node-3 node-4 node-1 node-2 node-5");
    }

    #[test]
    fn the_order_of_nodes_given_does_not_matter_and_every_node_is_in_it() {
        let (ring, other) = (Ring::new(&ids(&["b", "a", "c", "a"])), Ring::new(&ids(&["c", "b", "a"])));
        for pipeline in (0..50).map(|number| format!("p{number}")) {
            assert_eq!(order(&ring, &pipeline), order(&other, &pipeline));
            let mut all = order(&ring, &pipeline);
            all.sort();
            assert_eq!(all, ["a", "b", "c"]);
        }
        assert!(order(&Ring::new(&[]), "orders").is_empty());
    }

    #[test]
    fn a_node_that_goes_changes_nothing_for_pipelines_of_others() {
        let all = Ring::new(&ids(&["a", "b", "c", "d"]));
        let fewer = Ring::new(&ids(&["a", "b", "d"]));
        let mut firsts = std::collections::HashMap::<String, u32>::new();
        for pipeline in (0..2000).map(|number| format!("pipeline_{number}")) {
            let expected: Vec<String> = order(&all, &pipeline).into_iter().filter(|node| node != "c").collect();
            assert_eq!(order(&fewer, &pipeline), expected);
            *firsts.entry(order(&all, &pipeline).swap_remove(0)).or_default() += 1;
        }
        assert!(firsts.len() == 4 && firsts.values().all(|count| (350..=650).contains(count)), "{firsts:?}");
    }
}
