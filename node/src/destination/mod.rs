//! Where changes go: each destination applies batches in transactions of its own and knows how far it
//! durably is.

pub mod null;
pub mod postgres;

use rosetta_proto::{Epoch, Lsn};

use crate::{dead_letters::StoreError, postgres::PgError};

/// What a destination made of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The position that is now committed; None while a transaction goes on.
    pub committed: Option<Lsn>,
    /// The position that survives a crash of the destination.
    pub durable: Lsn,
    /// Rows that the source updated or deleted and that were not there.
    pub missing_rows: u64,
}

/// Why a destination did not apply a batch.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    #[error(
        "fenced: another process has taken this pipeline over (it wrote with epoch {epoch}, which is no longer the newest)"
    )]
    Fenced { epoch: Epoch },
    #[error("{server}: {source}")]
    Postgres { server: String, source: PgError },
    #[error(transparent)]
    DeadLetters(#[from] StoreError),
}

impl From<PgError> for DestinationError {
    fn from(source: PgError) -> DestinationError {
        DestinationError::Postgres { server: "destination".to_owned(), source }
    }
}

/// The sides that batches can go to.
pub enum Destination {
    Postgres(Box<postgres::Writer>),
    Null(null::Null),
}

impl Destination {
    /// Applies a batch; see `postgres::Writer::apply`.
    ///
    /// # Errors
    /// As there.
    pub async fn apply(&mut self, batch: &crate::pipeline::batch::Batch) -> Result<Applied, DestinationError> {
        match self {
            Destination::Postgres(writer) => writer.apply(batch).await,
            Destination::Null(null) => Ok(null.apply(batch)),
        }
    }

    /// How far the destination durably is.
    ///
    /// # Errors
    /// The destination's.
    pub async fn poll_durable(&mut self) -> Result<Lsn, DestinationError> {
        match self {
            Destination::Postgres(writer) => writer.poll_durable().await,
            Destination::Null(null) => Ok(null.durable()),
        }
    }

    /// Whether something committed may not be durable yet.
    pub fn has_unflushed(&self) -> bool {
        match self {
            Destination::Postgres(writer) => writer.has_unflushed(),
            Destination::Null(_) => false,
        }
    }

    /// Changes that wait outside of the destination.
    pub fn letters(&self) -> u64 {
        match self {
            Destination::Postgres(writer) => writer.letters(),
            Destination::Null(_) => 0,
        }
    }

    /// Ends the session; what is not committed is not applied.
    pub async fn close(self) {
        match self {
            Destination::Postgres(writer) => writer.close().await,
            Destination::Null(_) => {}
        }
    }
}
