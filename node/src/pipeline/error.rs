use rosetta_coordinator::NotOwner;
use rosetta_proto::Epoch;

use crate::{
    dead_letters::StoreError,
    destination::{DestinationError, postgres::checkpoint::TakeoverError},
    postgres::{PgError, sqlstate},
    schema::SchemaError,
    snapshot::CopyError,
    source::{slot::Discontinuity, stream::StreamError},
};

use super::{builder::MisfitError, intake::IntakeError};

/// Why a pipeline stopped. One line; says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("source {server}: {error}{}", source_remedy(.error))]
    Source { server: String, error: PgError },
    #[error("source: {0}")]
    Stream(StreamError),
    #[error("source: {0}")]
    Intake(IntakeError),
    #[error("{}{}", of_destination(.error), destination_remedy(.error))]
    Destination { error: DestinationError },
    #[error("{0}")]
    Schema(#[from] SchemaError),
    #[error("{0}")]
    Takeover(#[from] TakeoverError),
    /// The definition and the servers do not go together; nothing was changed.
    #[error("{0}")]
    Refused(String),
    #[error("needs_resync: {0}. The destination was left as it is; {RESYNC}")]
    NeedsResync(#[from] Discontinuity),
    #[error("fenced: {reason}")]
    Fenced {
        reason: String,
        /// The newest epoch that is known of; `NONE` where only that there is one is known.
        newest: Epoch,
    },
    #[error("{0}")]
    Internal(String),
}

const RESYNC: &str = "to copy anew, empty the pipeline's tables there, delete its rows from rosetta.checkpoint and \
     rosetta.table_copy, drop the slot at the source if it exists, and start again";

/// What the supervisor does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Try again, with back-off.
    Transient,
    /// Only a person can help.
    Permanent,
    /// Another process owns the pipeline.
    Fenced,
    NeedsResync,
}

impl PipelineError {
    pub fn severity(&self) -> Severity {
        let by = |is_transient| if is_transient { Severity::Transient } else { Severity::Permanent };
        match self {
            PipelineError::Source { error, .. } => by(error.is_transient()),
            PipelineError::Stream(error) | PipelineError::Intake(IntakeError::Stream(error)) => match error {
                StreamError::Postgres(error) => by(error.is_transient()),
                // What was read wrongly once may be read rightly from a new connection.
                StreamError::Decode(_) => Severity::Transient,
            },
            PipelineError::Intake(IntakeError::Misfit(MisfitError { .. }) | IntakeError::UnknownRelation(_)) => {
                Severity::Permanent
            }
            PipelineError::Destination {
                error: DestinationError::Fenced { .. } | DestinationError::DeadLetters(StoreError::Fenced { .. }),
            }
            | PipelineError::Fenced { .. } => Severity::Fenced,
            PipelineError::Destination { error: DestinationError::DeadLetters(StoreError::Forgotten { .. }) } => {
                Severity::NeedsResync
            }
            PipelineError::Destination { error: DestinationError::DeadLetters(error) } => by(error.is_transient()),
            PipelineError::Destination { error: DestinationError::Postgres { source, .. } } => {
                by(source.is_transient())
            }
            PipelineError::Schema(error) => by(error.is_transient()),
            PipelineError::Takeover(TakeoverError::Postgres(error)) => by(error.is_transient()),
            PipelineError::Takeover(TakeoverError::Raced) => Severity::Transient,
            PipelineError::Takeover(TakeoverError::WorkersApart { .. }) | PipelineError::Refused(_) => {
                Severity::Permanent
            }
            PipelineError::NeedsResync(_) => Severity::NeedsResync,
            PipelineError::Internal(_) => Severity::Transient,
        }
    }

    /// Another process has taken the pipeline over; its epoch is not known.
    pub fn fenced(reason: String) -> PipelineError {
        PipelineError::Fenced { reason, newest: Epoch::NONE }
    }

    /// The newest epoch that the error tells of.
    pub fn newest_epoch(&self) -> Epoch {
        if let PipelineError::Fenced { newest, .. } = self { *newest } else { Epoch::NONE }
    }

    /// An error of the source `server`.
    pub fn source(server: &str, error: PgError) -> PipelineError {
        PipelineError::Source { server: server.to_owned(), error }
    }

    /// An error of the destination `server`.
    pub fn destination(server: &str, source: PgError) -> PipelineError {
        DestinationError::Postgres { server: server.to_owned(), source }.into()
    }
}

impl From<PgError> for PipelineError {
    fn from(error: PgError) -> PipelineError {
        PipelineError::Stream(error.into())
    }
}

impl From<DestinationError> for PipelineError {
    fn from(error: DestinationError) -> PipelineError {
        PipelineError::Destination { error }
    }
}

impl From<CopyError> for PipelineError {
    fn from(error: CopyError) -> PipelineError {
        match error {
            CopyError::Source { server, error } => PipelineError::Source { server, error },
            CopyError::Destination { server, error } => PipelineError::destination(&server, error),
            CopyError::NotEmpty { .. } => PipelineError::Refused(error.to_string()),
            CopyError::Fenced => PipelineError::fenced(error.to_string()),
            CopyError::Task(_) => PipelineError::Internal(error.to_string()),
        }
    }
}

impl From<IntakeError> for PipelineError {
    fn from(error: IntakeError) -> PipelineError {
        PipelineError::Intake(error)
    }
}

impl From<NotOwner> for PipelineError {
    fn from(error: NotOwner) -> PipelineError {
        PipelineError::Fenced { reason: error.to_string(), newest: error.newest }
    }
}

fn source_remedy(error: &PgError) -> &'static str {
    match error.code() {
        Some("53400") => "; raise max_replication_slots, or drop a slot that is no longer used",
        Some("53300") => "; raise max_connections or max_wal_senders",
        Some(sqlstate::INSUFFICIENT_PRIVILEGE) => {
            "; the role needs REPLICATION, and must own the tables unless the file names a publication"
        }
        _ => "",
    }
}

fn of_destination(error: &DestinationError) -> String {
    match error {
        DestinationError::DeadLetters(error) => error.to_string(),
        DestinationError::Fenced { .. } | DestinationError::Postgres { .. } => format!("destination {error}"),
    }
}

fn destination_remedy(error: &DestinationError) -> &'static str {
    let DestinationError::Postgres { source, .. } = error else { return "" };
    match source.code() {
        Some("25006") => "; it is read-only: is it a standby, or is default_transaction_read_only on?",
        Some("23505") => {
            "; the destination has a row that the source has just inserted: somebody else writes there; compare with rosetta verify"
        }
        Some(code) if code.starts_with("23") => "; the destination has a constraint that the source does not have",
        Some(sqlstate::INSUFFICIENT_PRIVILEGE) => "; grant the role what it lacks",
        _ => "",
    }
}
