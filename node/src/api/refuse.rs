//! Errors that every process answers alike.

use rosetta_proto::error_status;
use tonic::{Code, Status};

/// The request is wrong as it is, at this field.
pub(super) fn field(field: &str, message: impl Into<String>, reason: &str) -> Status {
    error_status(Code::InvalidArgument, message, field, reason)
}

/// There is no pipeline of that name.
pub(super) fn no_pipeline(name: &str, field: &str) -> Status {
    let message = format!("there is no pipeline '{name}': see `rosetta status` for those that there are");
    error_status(Code::NotFound, message, field, "PIPELINE_NOT_FOUND")
}
