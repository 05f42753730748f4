//! What a cluster promises (docs/CLUSTER.md), with real processes and real servers, judged by audit tables without keys.
//!
//! `ROSETTA_TEST_ROUNDS=30` repeats each fault as often and asserts the figures that are promised; see docs/TESTING.md.

mod absent;
mod chaos;
mod cuts;
mod failover;
mod fences;
mod identity;
mod join;
mod metrics;
mod moves;
mod outage;
mod restart;
mod wishes;
mod zombie;
