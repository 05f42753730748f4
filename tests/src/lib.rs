//! The harness: real PostgreSQL servers, a network that fails on demand, the `rosetta` binary, and an oracle that
//! compares a source with its destination. Scenarios are in `tests/scenarios`, those of a cluster in `tests/cluster`.
//!
//!     Pair (two servers) -> Proxy (faults) -> Rosetta (the process under test) -> oracle (are the tables equal?)
//!
//! Everything fails by panic, with the reason and what the servers and the process have logged. Everything that is
//! started dies with the test that started it. Waiting is done by `wait::eventually`, under a deadline.

pub mod cluster;
pub mod etcd;
pub mod http;
pub mod observer;
pub mod oracle;
pub mod pair;
pub mod postgres;
mod process;
pub mod proxy;
pub mod redis;
pub mod rosetta;
pub mod scratch;
pub mod wait;
pub mod workload;
mod writers;

pub use cluster::Cluster;
pub use etcd::Etcd;
pub use observer::Observer;
pub use oracle::Table;
pub use pair::{DB, Pair, SLOT, SOON, one_pipeline};
pub use postgres::{Authority, Options, Postgres, Stop};
pub use proxy::{Direction, Fault, Proxy};
pub use redis::Redis;
pub use rosetta::Rosetta;
pub use scratch::Scratch;
pub use wait::eventually;
