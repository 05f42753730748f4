//! Words shared by every part of Rosetta: log positions and epochs.

mod epoch;
mod lsn;

pub use epoch::Epoch;
pub use lsn::{Lsn, ParseLsnError};
