//! What people and scripts see of a command.

mod output;

pub use output::{Output, json, table};
