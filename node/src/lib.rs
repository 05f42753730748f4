//! Rosetta keeps destinations an exact, live copy of PostgreSQL sources.
//!
//! The data path, room by room:
//!
//! ```text
//! source::stream      socket bytes -> frames (one replication connection per pipeline)
//! source::pgoutput    frames -> messages
//! pipeline::builder   messages -> batches of whole source transactions
//! destination         batch -> one destination transaction {fence, rows, checkpoint}
//! pipeline::progress  durable positions -> the position that the slot is told
//! ```
//!
//! Invariant: received >= written >= durable >= confirmed; each only grows.

pub mod api;
pub mod catalog;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod dead_letters;
pub mod destination;
pub mod metrics;
pub mod pipeline;
pub mod postgres;
pub mod schema;
pub mod secret;
pub mod snapshot;
pub mod source;
pub mod supervisor;
mod table_name;
pub mod verify;
