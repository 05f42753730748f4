//! What Rosetta promises, each shown with real servers, and judged by the oracle.

mod apply_workers;
mod bigtx;
mod check_verify;
mod constraints;
mod continuity;
mod copy_and_stream;
mod drift;
mod errors;
mod faults;
mod figures;
mod generated;
mod identity;
mod keys;
mod kill9;
mod many_tables;
mod names;
mod partitions;
mod publications;
mod routing;
mod row_security;
mod sigterm;
mod tls;
mod toast;
mod truncate;
mod types;
mod zombie;
