//! A PostgreSQL destination: batches become transactions that hold the fence, the rows and the checkpoint.

mod apply;
pub mod checkpoint;
mod encode;
mod layout;
mod net_effect;
mod requests;
mod statements;
mod writer;

pub use checkpoint::{Checkpoint, Lane, Origin, Phase};
pub use layout::{Format, LayoutError, Target, TargetColumn};
pub use writer::Writer;
