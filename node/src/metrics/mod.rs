//! What Prometheus is told (docs/METRICS.md). Everything is read where it is anyway, when somebody asks: nothing of this
//! is on the data path.
//!
//! ```text
//! names       every metric, in one table
//! sheet       one answer
//! pipelines, process    what all processes tell; a cluster's node adds its own (api/cluster/metrics)
//! ```

pub mod names;
mod pipelines;
mod process;
mod sheet;
#[cfg(test)]
mod tests;

pub use pipelines::tell_pipelines;
pub use process::tell_process;
pub use sheet::Sheet;
