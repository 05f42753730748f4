//! `rosetta check`: connects to every server of a file and lists each problem with its remedy, before anything is
//! created.
//!
//! ```text
//! source_facts, destination_facts   what the servers say
//! source, tables, destination       what it means for these pipelines (pure)
//! run                               all of them
//! ```

mod destination;
mod destination_facts;
mod report;
mod run;
#[cfg(test)]
pub(crate) mod samples;
mod source;
mod source_facts;
mod tables;

pub use report::{Finding, Level, Report};
pub use run::run;

/// The versions that Rosetta works with.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=18;
