//! Who owns which pipeline. Standalone, every pipeline of the file is this process's own; in a cluster the
//! leader assigns them. Either way the owner gets an epoch, and the destination's fence enforces it.
//!
//! Decisions are pure: [`placement`] says who should have what, [`handover`] how it gets there.

pub mod election;
pub mod handover;
pub mod leader;
mod ownership;
pub mod placement;
pub mod records;
pub mod session;
pub mod store;
pub mod view;

pub use ownership::{InProcess, NotOwner, Ownership};

/// A point in time, as its distance from an origin that the caller keeps: of a clock that never goes back.
/// Decisions compare such points and never read a clock.
pub type Moment = std::time::Duration;
