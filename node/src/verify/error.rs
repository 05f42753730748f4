use rosetta_proto::Lsn;

use crate::postgres::PgError;

/// Why a comparison could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no pipeline is called \"{name}\"; the file defines {known}")]
    UnknownPipeline { name: String, known: String },
    #[error("source \"{name}\": {cause}")]
    Source { name: String, cause: PgError },
    #[error("destination \"{name}\": {cause}")]
    Destination { name: String, cause: PgError },
    #[error(
        "pipeline \"{pipeline}\" has no slot \"{slot}\" on its source, so that nothing tells what its destinations have \
         reached; start the pipeline, or pass --timeout 0 to compare as it is"
    )]
    NoSlot { pipeline: String, slot: String },
    #[error(
        "pipeline \"{pipeline}\" is {} and did not reach {wanted} within {seconds} s (slot \"{slot}\" is at {reached}); \
         {}, or pass --timeout 0 to compare as it is",
        if *.is_running { "behind" } else { "not running" },
        if *.is_running { "wait, or pass a longer --timeout" } else { "start the pipeline" }
    )]
    Late { pipeline: String, slot: String, is_running: bool, wanted: Lsn, reached: Lsn, seconds: u64 },
}
