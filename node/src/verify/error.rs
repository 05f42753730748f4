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
        "pipeline \"{pipeline}\" is not running, and slot \"{slot}\" holds changes that its destinations do not have; \
         start the pipeline, or pass --timeout 0 to compare as it is"
    )]
    Pending { pipeline: String, slot: String },
    #[error(
        "pipeline \"{pipeline}\" is behind and did not reach {wanted} within {seconds} s (slot \"{slot}\" is at {reached}); \
         wait, or pass a longer --timeout, or --timeout 0 to compare as it is"
    )]
    Late { pipeline: String, slot: String, wanted: Lsn, reached: Lsn, seconds: u64 },
}
