//! Words shared by every part of Rosetta: names, log positions and epochs.

mod epoch;
mod lsn;
mod names;

pub use epoch::Epoch;
pub use lsn::{Lsn, ParseLsnError};
pub use names::{NameError, NodeId, PipelineName};
