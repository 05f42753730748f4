//! A PostgreSQL destination: batches become transactions that hold the fence, the rows and the checkpoint.

mod apply;
pub mod checkpoint;
mod encode;
mod layout;
mod missing;
mod net_effect;
mod parking;
mod replay;
mod requests;
mod session;
mod sift;
mod statements;
mod writer;

pub use checkpoint::{Lane, Origin, Phase, TakenOver, Takeover, TakeoverError};
pub use layout::{Format, LayoutError, Target, TargetColumn};
pub use parking::Parking;
pub(crate) use parking::unix_millis;
pub use replay::{Replayed, flush, read_waiting};
pub use session::open_session;
pub use writer::Writer;
