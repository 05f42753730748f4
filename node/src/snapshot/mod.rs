//! The first copy: tables in parallel, large ones in ranges, binary rows piped through unread.

mod copy;
mod marks;
mod plan;

pub use copy::{CopyError, CopyJob, copy_all};
pub use marks::{CopyOwner, are_complete, forget_others, stream_starts};
pub use plan::{CopyTable, Piece};
