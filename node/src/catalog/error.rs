//! What can go wrong with the catalog, classified where it is born.

use std::fmt;

use tokio_postgres::error::SqlState;

use crate::secret::SecretError;

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Source,
    Destination,
    Pipeline,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Source => "source",
            Kind::Destination => "destination",
            Kind::Pipeline => "pipeline",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The database is away, or did not answer in time. Whether a change was made may not be known: repeating it with
    /// the same request id is safe.
    #[error("the config database {server} is not available: {reason}; replication goes on, try again when it is back")]
    Unavailable { server: String, reason: String },
    /// The definition is not the one that the caller has seen.
    #[error("pipeline {name} has revision {current}, not {expected}: it was changed meanwhile; get it anew")]
    Conflict { name: String, expected: u64, current: u64 },
    /// What a dry run has shown is not what would be done.
    #[error("definitions were changed since the dry run; run it again")]
    StaleFingerprint,
    #[error("{kind} {name} exists already; {remedy}")]
    AlreadyExists { kind: Kind, name: String, remedy: &'static str },
    #[error("{kind} {name} does not exist")]
    NotFound { kind: Kind, name: String },
    /// It is asked for what only a pipeline that is to run can do.
    #[error("pipeline {name} is paused; resume it, and it starts anew")]
    Paused { name: String },
    /// `field` is one of a definition's, such as `pipeline.destinations`; empty where it is not one field's.
    #[error("{reason}")]
    Invalid { field: String, reason: String },
    /// A state that only a defect explains, or rights that the role lacks: trying again does not help.
    #[error("the config database {server} refuses: {reason}")]
    Refused { server: String, reason: String },
}

impl CatalogError {
    pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> CatalogError {
        CatalogError::Invalid { field: field.into(), reason: reason.into() }
    }

    /// A failed call of the driver. Only the server's message is used: its detail may quote values.
    pub(super) fn database(server: &str, error: &tokio_postgres::Error) -> CatalogError {
        let Some(answer) = error.as_db_error() else {
            return CatalogError::unavailable(server, root_cause(error));
        };
        let reason = format!("{} (SQLSTATE {})", answer.message(), answer.code().code());
        let server = server.to_owned();
        match class(answer.code()) {
            Class::Away => CatalogError::Unavailable { server, reason },
            Class::BadValue => CatalogError::invalid("", format!("the config database refuses a value: {reason}")),
            Class::Other => CatalogError::Refused { server, reason },
        }
    }

    pub(super) fn unavailable(server: &str, reason: impl Into<String>) -> CatalogError {
        CatalogError::Unavailable { server: server.to_owned(), reason: reason.into() }
    }

    /// Whether trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, CatalogError::Unavailable { .. })
    }
}

impl From<SecretError> for CatalogError {
    fn from(error: SecretError) -> CatalogError {
        CatalogError::Invalid { field: "url".to_owned(), reason: error.to_string() }
    }
}

enum Class {
    Away,
    BadValue,
    Other,
}

/// By the class of the SQLSTATE (PostgreSQL, appendix A): connection, rollback, resources, operator, system.
fn class(code: &SqlState) -> Class {
    // A database or a login that is not made yet comes with time, as a server does.
    if [SqlState::INVALID_CATALOG_NAME, SqlState::READ_ONLY_SQL_TRANSACTION].contains(code) {
        return Class::Away;
    }
    match code.code().get(..2) {
        Some("08" | "40" | "53" | "55" | "57" | "58") => Class::Away,
        Some("22" | "23") => Class::BadValue,
        Some(_) | None => Class::Other,
    }
}

/// The driver's own text hides the reason: "error connecting to server".
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
