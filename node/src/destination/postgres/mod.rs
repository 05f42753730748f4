//! A PostgreSQL destination: batches become transactions that hold the fence, the rows and the checkpoint.

mod apply;
pub mod checkpoint;
mod encode;
mod layout;
mod missing;
mod net_effect;
mod requests;
mod session;
mod statements;
mod writer;

pub use checkpoint::{Lane, Origin, Phase, TakenOver, Takeover, TakeoverError};
pub use layout::{Format, LayoutError, Target, TargetColumn};
pub use session::open_session;
pub use writer::Writer;
