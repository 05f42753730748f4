use super::fit::Misfit;
use crate::postgres::{PgError, sqlstate};

/// Why a destination could not be made to fit its source.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("source: {0}")]
    Source(#[source] PgError),
    #[error("destination: {0}")]
    Destination(#[source] PgError),
    #[error("cannot create {what} at the destination: {error}")]
    Create { what: String, error: PgError },
    #[error("type {name} comes from extension {extension}, which the destination lacks: install it ({error})")]
    Extension { name: String, extension: String, error: PgError },
    #[error("type {name} is {what}, which Rosetta cannot create: create it at the destination")]
    Type { name: String, what: String },
    #[error("{}", first_three(.0))]
    Misfits(Vec<Misfit>),
}

impl SchemaError {
    /// Whether trying again, unchanged, can succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            SchemaError::Source(error) | SchemaError::Destination(error) | SchemaError::Create { error, .. } => {
                error.is_transient()
            }
            SchemaError::Extension { .. } | SchemaError::Type { .. } | SchemaError::Misfits(_) => false,
        }
    }

    /// Whether somebody else has just created what we were about to create.
    pub(super) fn is_duplicate(&self) -> bool {
        match self {
            SchemaError::Create { error, .. } => {
                error.code().is_some_and(|code| sqlstate::DUPLICATE_DATABASE_OBJECT.contains(&code))
            }
            SchemaError::Source(_)
            | SchemaError::Destination(_)
            | SchemaError::Extension { .. }
            | SchemaError::Type { .. }
            | SchemaError::Misfits(_) => false,
        }
    }
}

fn first_three(misfits: &[Misfit]) -> String {
    let shown = misfits.iter().take(3).map(Misfit::to_string).collect::<Vec<_>>().join("; ");
    match misfits.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
