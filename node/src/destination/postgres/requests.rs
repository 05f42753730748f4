use std::collections::{BTreeMap, VecDeque};

use postgres_protocol::message::frontend;

use crate::postgres::{Connection, PgError, Row, ServerError, command_rows};

/// Bytes gathered before they are sent, while more of the same transaction follow.
const SEND_AT: usize = 256 * 1024;

/// What a request is for, so that its answer can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Transaction control and settings.
    Control,
    /// Fails unless this session owns the pipeline.
    Fence,
    /// Changes rows of the table with this layout; how many is what the source says.
    Rows {
        layout: u32,
        wanted: u64,
    },
    Truncate,
    /// Changes of rows one by one, to find out which of them are refused.
    Trial,
    Commit,
    /// Returns one row that the caller wants.
    Ask,
}

/// Requests that were sent, or will be, without waiting for the answers of those before them.
/// Inside a transaction that is safe: after the first that fails the server refuses the rest, COMMIT included.
#[derive(Debug, Default)]
pub(super) struct Requests {
    expected: VecDeque<Purpose>,
}

/// What a series of requests came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The rows that were to change, and did not, by layout.
    pub(super) missing_rows: BTreeMap<u32, u64>,
    /// The answers of `Purpose::Ask`, in order.
    pub(super) asked: Vec<Row>,
    pub(super) committed: bool,
}

/// The first request that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) purpose: Purpose,
    pub(super) error: PgError,
    /// Statements of the request that were done before.
    pub(super) completed: usize,
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Failure {
        Failure { purpose: Purpose::Control, error, completed: 0 }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        PgError::from(error).into()
    }
}

impl Requests {
    /// A statement, or several, as text.
    pub(super) fn simple(&mut self, connection: &mut Connection, purpose: Purpose, sql: &str) -> Result<(), Failure> {
        frontend::query(sql, connection.out())?;
        self.expected.push_back(purpose);
        Ok(())
    }

    /// What was written to the connection's buffer up to a Sync or as a Query answers for `purpose`.
    pub(super) fn expect(&mut self, purpose: Purpose) {
        self.expected.push_back(purpose);
    }

    /// Sends what has gathered when it is enough to be worth a system call.
    pub(super) async fn send_some(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        if connection.out().len() >= SEND_AT {
            connection.flush().await?;
        }
        Ok(())
    }

    /// Sends the rest and reads every answer.
    ///
    /// # Errors
    /// The first failure; the answers after it have been read, so the session can go on.
    pub(super) async fn finish(&mut self, connection: &mut Connection) -> Result<Outcome, Failure> {
        connection.flush().await?;
        let mut outcome = Outcome::default();
        let mut failure = None;
        while let Some(purpose) = self.expected.pop_front() {
            let mut completed = 0;
            if let Err(error) = read_answer(connection, purpose, &mut outcome, &mut completed).await {
                let found = Failure { purpose, error, completed };
                if matches!(found.error, PgError::Lost(_) | PgError::Protocol(_)) {
                    self.expected.clear();
                    return Err(failure.unwrap_or(found));
                }
                failure = failure.or(Some(found));
            }
        }
        failure.map_or(Ok(outcome), Err)
    }
}

/// Reads the answers to one request, up to the point where the server is ready for the next.
async fn read_answer(
    connection: &mut Connection,
    purpose: Purpose,
    outcome: &mut Outcome,
    completed: &mut usize,
) -> Result<(), PgError> {
    let mut failure = None;
    let mut changed = 0;
    loop {
        let (tag, body) = connection.read_message().await?;
        match tag {
            b'C' => {
                changed += command_rows(&body);
                *completed += 1;
                outcome.committed |= purpose == Purpose::Commit && body.starts_with(b"COMMIT");
            }
            b'D' if purpose == Purpose::Ask => outcome.asked.push(Row::decode(&body)?),
            b'E' => failure = failure.or(Some(PgError::Server(Box::new(ServerError::parse(&body))))),
            b'Z' => break,
            _ => {} // descriptions and completions
        }
    }
    if let (Purpose::Rows { layout, wanted }, None) = (purpose, &failure)
        && wanted > changed
    {
        *outcome.missing_rows.entry(layout).or_default() += wanted - changed;
    }
    failure.map_or(Ok(()), Err)
}
