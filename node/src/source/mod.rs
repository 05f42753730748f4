//! Reading a source: its slot, its publications and its change stream.

pub mod filter;
pub mod pgoutput;
pub mod publication;
pub mod slot;
pub mod stream;
