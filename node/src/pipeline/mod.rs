//! One pipeline: from the source's stream to its destinations' durable positions.

pub mod batch;
pub mod builder;
