//! How a pipeline gets from one node to another: pure, over the record alone (docs/CLUSTER.md, "Handover").
//!
//! - [`leader_step`]: deadlines and compensations, by the leader.
//! - [`node_step`]: what a node does with a pipeline, and which record it writes next.
//! - [`begin`], [`grant`], [`advance`] and the others: the records after each step.
//!
//! Every record that is returned is to be written on condition that the one it was made from is still there (its mod
//! revision). When that write is refused or its answer is lost, read again and decide anew.

mod leader;
mod node;
mod transition;

pub use leader::{Compensation, LeaderStep, leader_step};
pub use node::{LocalStep, node_step};
pub use transition::{Refused, advance, begin, cancel, grant, prepared, released, take_over};

use std::time::Duration;

/// For the next owner to connect, read the catalogs and check the tables. Beyond it, the owner keeps the pipeline.
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(10);

/// For the owner to stop at the end of a transaction. Beyond it, the next owner is granted the pipeline anyway.
pub const RELEASE_DEADLINE: Duration = Duration::from_secs(3);

/// For the next owner to take over. Beyond it, nobody runs the pipeline and any node may have it.
pub const TAKE_OVER_DEADLINE: Duration = Duration::from_secs(3);
