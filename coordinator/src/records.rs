//! What is in etcd: keys and values. docs/CLUSTER.md has the table; nothing else of the cluster is shared.

use std::{fmt, time::Duration};

use rosetta_proto::{Epoch, NodeId, PipelineName};
use serde::{Deserialize, Serialize};

use crate::store::LeaseId;

/// One start of a node: a random number, so that two starts are never taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node that is alive: `nodes/<id>`, which ends with the node's lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub id: NodeId,
    pub incarnation: Incarnation,
    /// Where peers and clients reach its gRPC, `host:port`.
    pub address: String,
    /// The program's version, for people.
    pub version: String,
    /// What this node understands of records and peers; a leader gives nobody what it does not understand.
    pub protocol: u32,
    /// How much it can carry in relation to others; 1.0 for a usual node.
    pub capacity: f64,
    /// Milliseconds since the Unix epoch, for people.
    pub started_at_ms: i64,
}

/// The version of records and peer calls that this program speaks.
pub const PROTOCOL: u32 = 1;

/// What an operator wants of a node: `intents/<node>`. Stays when the node goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIntent {
    /// It keeps what it has and is given nothing new.
    pub cordoned: bool,
    /// What it has moves away; implies `cordoned`.
    pub draining: bool,
}

/// Whether a pipeline is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Desired {
    Start,
    Pause,
}

/// A definition as nodes run it: `pipelines/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineRecord {
    pub name: PipelineName,
    /// The catalog's revision of the definition; grows with each change.
    pub revision: u64,
    pub desired: Desired,
    /// The only node on which it may run, when an operator said so.
    pub pin: Option<NodeId>,
    /// How often a restart was asked for: an owner that has seen a smaller number restarts it.
    pub restarts: u64,
    /// The definition itself, opaque to the coordinator; secrets in it are encrypted.
    pub definition: serde_json::Value,
}

/// Who runs a pipeline: `assignments/<name>`. Belongs to no lease, so its block never goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    pub pipeline: PipelineName,
    /// Which block of epochs the owner has; grows with each owner and each start of one.
    pub block: EpochBlock,
    pub owner: Owner,
    /// A planned move under way.
    pub handover: Option<Handover>,
}

/// A node, in one of its starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub node: NodeId,
    pub incarnation: Incarnation,
}

/// A planned move from the owner to `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    pub next: Owner,
    pub step: Step,
    pub reason: MoveReason,
}

/// How far a move is; docs/CLUSTER.md draws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The next owner gets ready; the owner runs on.
    Preparing,
    /// The next owner is ready; the owner is to stop.
    Prepared,
    /// The owner has stopped and confirmed its position; the next owner may go on.
    Released,
}

/// Why a pipeline was given to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveReason {
    /// It had no owner.
    Placed,
    /// Its owner is gone.
    Failover,
    /// Its owner is being emptied.
    Drain,
    /// Loads were apart.
    Balance,
    /// An operator said so.
    Asked,
    /// Its owner cannot reach the servers.
    Unreachable,
}

/// A block of epochs that one ownership may use, one for each start (docs/CLUSTER.md, "Epochs").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochBlock(pub u64);

impl MoveReason {
    pub const ALL: [MoveReason; 6] = [
        MoveReason::Placed,
        MoveReason::Failover,
        MoveReason::Drain,
        MoveReason::Balance,
        MoveReason::Asked,
        MoveReason::Unreachable,
    ];

    /// As records, metrics and the API call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MoveReason::Placed => "placed",
            MoveReason::Failover => "failover",
            MoveReason::Drain => "drain",
            MoveReason::Balance => "balance",
            MoveReason::Asked => "asked",
            MoveReason::Unreachable => "unreachable",
        }
    }
}

impl EpochBlock {
    /// Epochs in a block: at one restart a minute, the longest back-off, one lasts for 16 hours.
    pub const SIZE: u64 = 1000;

    #[must_use]
    pub fn first(self) -> Epoch {
        Epoch(self.0.saturating_mul(Self::SIZE))
    }

    #[must_use]
    pub fn contains(self, epoch: Epoch) -> bool {
        epoch.0 / Self::SIZE == self.0
    }

    #[must_use]
    pub fn next(self) -> EpochBlock {
        EpochBlock(self.0.saturating_add(1))
    }

    /// The first block in which every epoch is greater than `epoch`.
    #[must_use]
    pub fn beyond(epoch: Epoch) -> EpochBlock {
        EpochBlock(epoch.0 / Self::SIZE).next()
    }
}

/// A node's lease in etcd; its record ends with it.
pub const LEASE: Duration = Duration::from_secs(6);

/// The keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

impl Keys {
    /// The keys of the cluster `name`.
    pub fn new(name: &str) -> Keys {
        Keys { root: format!("/rosetta/{name}/") }
    }

    /// Everything of the cluster.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        self.root.strip_prefix("/rosetta/").and_then(|name| name.strip_suffix('/')).unwrap_or_default()
    }

    pub fn nodes(&self) -> String {
        format!("{}nodes/", self.root)
    }

    pub fn node(&self, id: &NodeId) -> String {
        format!("{}nodes/{id}", self.root)
    }

    pub fn candidates(&self) -> String {
        format!("{}leader/", self.root)
    }

    /// A candidate under its session's lease.
    pub fn candidate(&self, lease: LeaseId) -> String {
        format!("{}leader/{lease}", self.root)
    }

    pub fn intents(&self) -> String {
        format!("{}intents/", self.root)
    }

    pub fn intent(&self, id: &NodeId) -> String {
        format!("{}intents/{id}", self.root)
    }

    pub fn pipelines(&self) -> String {
        format!("{}pipelines/", self.root)
    }

    pub fn pipeline(&self, name: &PipelineName) -> String {
        format!("{}pipelines/{name}", self.root)
    }

    /// What was answered to a request that changed something, under a lease of its own.
    pub fn request(&self, id: &str) -> String {
        format!("{}requests/{id}", self.root)
    }

    pub fn assignments(&self) -> String {
        format!("{}assignments/", self.root)
    }

    pub fn assignment(&self, name: &PipelineName) -> String {
        format!("{}assignments/{name}", self.root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_epoch_of_a_later_block_is_greater(block in 0u64..1 << 40, within in 0u64..EpochBlock::SIZE) {
            let block = EpochBlock(block);
            let epoch = Epoch(block.first().0 + within);
            prop_assert!(block.contains(epoch));
            prop_assert!(block.next().first() > epoch);
            prop_assert_eq!(EpochBlock::beyond(epoch), block.next());
        }
    }
}
