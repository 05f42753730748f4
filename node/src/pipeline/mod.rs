//! One pipeline: from the source's stream to its destinations' durable positions.

mod away;
pub mod batch;
pub mod builder;
mod claim;
mod coverage;
mod error;
mod first_copy;
pub mod follow;
mod gaps;
mod hold;
pub mod intake;
pub mod job;
mod lane;
pub mod latency;
mod letters;
mod open;
mod pace;
mod prepared;
mod privileges;
pub mod progress;
mod publications;
mod recovery;
mod replaying;
pub mod selection;
mod spill;
pub mod start;
pub mod status;

pub use error::{PipelineError, Severity};
