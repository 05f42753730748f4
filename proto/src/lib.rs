//! Words shared by every part of Rosetta: names, log positions and epochs; and the API `rosetta.v1`, as messages,
//! clients and servers.

mod epoch;
mod errors;
mod lsn;
mod names;
mod redacted;
mod rpc;
pub mod v1;

pub use epoch::Epoch;
pub use errors::{ERROR_DOMAIN, ErrorDetails, FieldError, error_details, error_status};
pub use lsn::{Lsn, ParseLsnError};
pub use names::{NameError, NodeId, PipelineName};
