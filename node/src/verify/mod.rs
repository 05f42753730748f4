//! `rosetta verify`: compares what a source and a destination hold, at one position.
//!
//! ```text
//! jobs      definitions + catalogs -> what to compare with what (Selected, Relation)
//! servers   two snapshots: the destination's has passed everything that the source's holds
//! run       per table: bucket checksums -> rows of the buckets that differ -> those keys again, until proven
//! compare   what all that means (pure)
//! ```

mod compare;
mod error;
mod jobs;
mod report;
mod run;
mod servers;
mod sql;
mod table;

pub use compare::Kind;
pub use error::Error;
pub use report::{Difference, Report, TableReport, Values};

pub use run::{Options, run};
