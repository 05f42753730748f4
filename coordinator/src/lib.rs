//! Who owns which pipeline. Standalone, every pipeline of the file is this process's own; in a cluster the
//! leader assigns them. Either way the owner gets an epoch, and the destination's fence enforces it.

pub mod election;
mod ownership;
pub mod records;
pub mod session;
pub mod store;
pub mod view;

pub use ownership::{InProcess, NotOwner, Ownership};
