//! The API over the pipelines of one process. Its definitions are a file's: they are shown, and changed there.

mod cluster;
mod http;
mod pipelines;

pub(super) use cluster::Cluster;
pub(super) use http::pages;
pub(super) use pipelines::Pipelines;

use rosetta_proto::error_status;
use tonic::{Code, Status};

/// What a standalone process calls itself where a node is named.
pub(super) const NODE: &str = "standalone";

/// What only a cluster does.
fn only_in_a_cluster(what: &str) -> Status {
    let message = format!("{what} needs a cluster, and this is a standalone process");
    error_status(Code::FailedPrecondition, message, "", "STANDALONE")
}

/// What changes definitions.
fn change_the_file() -> Status {
    let message = "a standalone process runs a file: change the file, then start the process again";
    error_status(Code::FailedPrecondition, message, "", "STANDALONE")
}
