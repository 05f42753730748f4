//! Which node should run which pipeline: pure, no clock, no I/O.
//!
//! `records + reports -> Inputs -> plan -> actions -> records`
//!
//! - [`Ring`]: the order in which a pipeline prefers nodes, the same on every machine and in every version.
//! - [`Presence`]: since when nodes are there or away; the only thing that a leader remembers.
//! - [`plan`]: judges each pipeline, places what has no owner, empties draining nodes, then balances.

mod action;
mod balance;
mod board;
mod inputs;
mod judge;
mod load;
mod planner;
mod presence;
mod ring;

pub use action::{Action, Blocked, Plan};
pub use inputs::{Inputs, Limits, Mode, Node, Pipeline, Unreachable, Vanished};
pub use load::{Load, weight};
pub use planner::plan;
pub use presence::Presence;
pub use ring::Ring;

use std::time::Duration;

/// A pipeline goes to the node that it prefers as long as that has no more than this multiple of its share of the load.
/// Nearer to 1 than [`BALANCED`], or what one node has too much would leave another with far too little.
pub const FILLED: f64 = 1.05;

/// Balancing ends when no node has more than this multiple of its share of the load.
pub const BALANCED: f64 = 1.10;

/// A node is given at most this multiple of its share of the pipelines, and load beyond it starts balancing: so far
/// from [`BALANCED`] that noise of a tenth on either side never moves anything.
pub const BOUND: f64 = 1.25;

/// How long a vanished node may take to come back in place: a restart lasts about one second.
pub const RETURN_GRACE: Duration = Duration::from_millis(1500);

/// How long a pipeline stays where it is before load moves it again.
pub const RESIDENCE: Duration = Duration::from_mins(10);

/// A node is filled as one that joined for this long, so that a slow fill ends although its first pipelines are new.
pub const JOINING: Duration = Duration::from_mins(10);

/// How long nothing is balanced after a node vanished: it may be restarted, and would get everything back.
pub const REBUILD_PAUSE: Duration = Duration::from_secs(60);

/// How long an owner retries to reach its servers before another node may try.
pub const UNREACHABLE_AFTER: Duration = Duration::from_secs(30);
