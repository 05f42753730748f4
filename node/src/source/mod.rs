//! Reading a source: its catalog, its slot and its change stream.

pub mod pgoutput;
