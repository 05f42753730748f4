use std::{io, str};

/// SQLSTATE codes that a decision hangs on (PostgreSQL docs, appendix A).
pub mod sqlstate {
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    pub const DUPLICATE_DATABASE_OBJECT: [&str; 4] = ["42710", "42P06", "42P07", "23505"];
    pub const INVALID_SCHEMA_NAME: &str = "3F000";
    pub const UNDEFINED_TABLE: &str = "42P01";
    pub const OBJECT_IN_USE: &str = "55006";
    pub const UNDEFINED_OBJECT: &str = "42704";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub const IN_FAILED_TRANSACTION: &str = "25P02";
}

/// What went wrong between us and one PostgreSQL server.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    #[error("'{url}' is not a usable connection URL: {reason}")]
    Url { url: String, reason: String },
    #[error("cannot connect to {server}: {source}")]
    Connect { server: String, source: io::Error },
    #[error("{server} did not answer within {seconds} s")]
    Timeout { server: String, seconds: u64 },
    #[error("TLS with {server} failed: {reason}")]
    Tls { server: String, reason: String },
    #[error("cannot log in to {server}: {reason}")]
    Login { server: String, reason: String },
    #[error("the connection was lost: {0}")]
    Lost(#[from] io::Error),
    #[error("{0}")]
    Server(Box<ServerError>),
    #[error("unexpected answer from the server: {0}")]
    Protocol(String),
    /// The two sides' tables no longer fit; says what to do.
    #[error("{0}")]
    Drift(String),
}

/// An error that the server reported (PostgreSQL docs, "Error and Notice Message Fields").
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{message}{} (SQLSTATE {code})", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct ServerError {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub table: Option<String>,
    pub constraint: Option<String>,
}

impl ServerError {
    /// From the body of an ErrorResponse.
    pub fn parse(body: &[u8]) -> ServerError {
        let mut error = ServerError::default();
        for field in body.split(|b| *b == 0) {
            let Some((kind, text)) = field.split_first() else { continue };
            let text = String::from_utf8_lossy(text).replace('\n', " ");
            match kind {
                b'V' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b't' => error.table = Some(text),
                b'n' => error.constraint = Some(text),
                _ => {} // position, file, line: for PostgreSQL's own developers
            }
        }
        error
    }
}

impl PgError {
    /// The server's SQLSTATE, when the server spoke.
    pub fn code(&self) -> Option<&str> {
        match self {
            PgError::Server(error) => Some(&error.code),
            PgError::Url { .. }
            | PgError::Connect { .. }
            | PgError::Timeout { .. }
            | PgError::Tls { .. }
            | PgError::Login { .. }
            | PgError::Lost(_)
            | PgError::Drift(_)
            | PgError::Protocol(_) => None,
        }
    }

    /// Whether trying again, unchanged, can succeed. Classified here, once.
    pub fn is_transient(&self) -> bool {
        match self {
            PgError::Connect { .. } | PgError::Timeout { .. } | PgError::Lost(_) | PgError::Protocol(_) => true,
            // The next start reads both sides' tables anew, and fails for good if they do not fit.
            PgError::Drift(_) => true,
            PgError::Url { .. } | PgError::Tls { .. } | PgError::Login { .. } => false,
            PgError::Server(error) => is_transient_code(&error.code),
        }
    }

    /// Whether the server refuses what a row holds, and would take other rows. `labels_are_known`: the enums of both
    /// sides were compared a moment ago, so that a label that is missing is missing for good.
    pub(crate) fn is_of_row(&self, labels_are_known: bool) -> bool {
        let code = self.code().unwrap_or_default();
        let class = code.get(..2).unwrap_or_default();
        // Data exceptions, constraints, view checks, sizes beyond a limit, and what a trigger raises.
        matches!(class, "22" | "23" | "44" | "54" | "P0")
            && (code != sqlstate::INVALID_TEXT_REPRESENTATION || labels_are_known)
    }

    /// The error's class and its cause in one line, without values of rows.
    pub(crate) fn as_rejection(&self) -> (String, String) {
        let PgError::Server(error) = self else { return (String::new(), self.to_string()) };
        // Details hold rows, and so do messages about values, after a colon.
        let is_of_value = error.code.starts_with("22");
        let message = if is_of_value { error.message.split(": \"").next().unwrap_or_default() } else { &error.message };
        let of = |what: &str, name: &Option<String>| {
            let name = name.as_ref().filter(|name| !message.contains(name.as_str()));
            name.map_or(String::new(), |name| format!(" ({what} {name})"))
        };
        let text = format!("{message}{}{}", of("table", &error.table), of("constraint", &error.constraint));
        (error.code.clone(), text)
    }

    pub(crate) fn protocol(what: impl Into<String>) -> PgError {
        PgError::Protocol(what.into())
    }
}

/// Connection, transaction-rollback, resource and operator-intervention classes, and object-in-use;
/// 53100 (disk full) and 57P03 (starting up) are among them: both pass without our changing anything.
/// 22P02 is an enum label that the destination lacks: the next start adds it.
fn is_transient_code(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    matches!(class, "08" | "40" | "53" | "57" | "58" | "XX")
        || matches!(code, "55006" | "55P03" | "25006" | "3D000" | "22P02")
}

pub(crate) fn text(bytes: &[u8]) -> Result<&str, PgError> {
    str::from_utf8(bytes).map_err(|_| PgError::protocol("text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_tells_no_values() {
        let server = |body: &[u8]| PgError::Server(Box::new(ServerError::parse(body)));
        let error =
            server(b"C23505\0Mduplicate key value violates unique constraint \"k\"\0DKey (v)=(secret)\0tt\0nk\0\0");
        let text = "duplicate key value violates unique constraint \"k\"";
        assert_eq!(error.as_rejection(), ("23505".to_owned(), text.to_owned()));
        let error = server(b"C22P02\0Minvalid input syntax for type integer: \"secret: \"x\"\0\0");
        assert_eq!(error.as_rejection().1, "invalid input syntax for type integer");
        assert!(!error.is_of_row(false) && error.is_of_row(true));
        let error = server(b"C23502\0Mnull value\0tt\0\0");
        assert_eq!(error.as_rejection().1, "null value (table t)");
        assert!(!server(b"C40001\0Mserialization\0\0").is_of_row(true));
    }

    #[test]
    fn server_errors_read_as_one_line() {
        let body = b"SERROR\0VERROR\0C23505\0Mduplicate key\nvalue\0DKey (id)=(1) already exists.\0\0";
        let error = ServerError::parse(body);
        assert_eq!(error.to_string(), "duplicate key value: Key (id)=(1) already exists. (SQLSTATE 23505)");
        assert!(!PgError::Server(Box::new(error)).is_transient());
    }
}
