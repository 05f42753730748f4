use bytes::Bytes;
use postgres_protocol::{IsNull, message::frontend};

use super::{PgError, ServerError, connection::Connection, error::text};

/// One row of an answer, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Option<String>>);

impl Row {
    /// The value of column `index`; None for NULL and for a column that is not there.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.0.get(index)?.as_deref()
    }

    /// The value of column `index`, which the query promises not to be NULL.
    ///
    /// # Errors
    /// It is NULL all the same.
    pub fn text(&self, index: usize) -> Result<&str, PgError> {
        self.get(index).ok_or_else(|| PgError::protocol(format!("column {index} is NULL")))
    }

    /// The value of column `index`, parsed.
    ///
    /// # Errors
    /// NULL, or not a `T`.
    pub fn parse<T: std::str::FromStr>(&self, index: usize) -> Result<T, PgError> {
        let value = self.text(index)?;
        value.parse().map_err(|_| PgError::protocol(format!("'{value}' in column {index}")))
    }

    /// Whether column `index` is true.
    pub fn is_true(&self, index: usize) -> bool {
        self.get(index) == Some("t")
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Row, PgError> {
        let short = || PgError::protocol("a short row");
        let (count, mut rest) = body.split_first_chunk::<2>().ok_or_else(short)?;
        let mut values = Vec::with_capacity(usize::from(u16::from_be_bytes(*count)));
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            rest = after;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                values.push(None);
                continue;
            };
            let (value, after) = rest.split_at_checked(length).ok_or_else(short)?;
            values.push(Some(text(value)?.to_owned()));
            rest = after;
        }
        Ok(Row(values))
    }
}

impl Connection {
    /// Runs one or several statements without parameters (simple protocol); the rows of all of them.
    ///
    /// # Errors
    /// The first error that the server reports; the session is ready for the next query all the same.
    pub async fn simple(&mut self, sql: &str) -> Result<Vec<Row>, PgError> {
        frontend::query(sql, self.out())?;
        self.flush().await?;
        self.read_rows().await
    }

    /// Runs one statement with parameters as text; None is NULL.
    ///
    /// # Errors
    /// As `simple`.
    pub async fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, PgError> {
        let out = self.out();
        frontend::parse("", sql, [], out)?;
        let write = |value: &Option<&str>, buffer: &mut bytes::BytesMut| match value {
            Some(value) => {
                buffer.extend_from_slice(value.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        };
        frontend::bind("", "", [], parameters, write, [], out)
            .map_err(|_| PgError::protocol("parameters too large for one message"))?;
        frontend::execute("", 0, out)?;
        frontend::sync(out);
        self.flush().await?;
        self.read_rows().await
    }

    /// Reads the answer to a query up to the point where the session is ready again.
    async fn read_rows(&mut self) -> Result<Vec<Row>, PgError> {
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let (tag, body) = self.read_message().await?;
            match tag {
                b'Z' => return failure.map_or(Ok(rows), Err),
                b'E' => failure = failure.or(Some(PgError::Server(Box::new(ServerError::parse(&body))))),
                b'D' if failure.is_none() => rows.push(Row::decode(&body)?),
                b'G' => self.refuse_copy().await?,
                _ => {} // descriptions, completions, notices: nothing that a caller asks for
            }
        }
    }

    async fn refuse_copy(&mut self) -> Result<(), PgError> {
        frontend::copy_fail("not expected here", self.out())?;
        self.flush().await
    }

    /// Starts a COPY and waits until the server is ready to move data.
    ///
    /// # Errors
    /// What the server says against it.
    pub async fn start_copy(&mut self, sql: &str) -> Result<(), PgError> {
        frontend::query(sql, self.out())?;
        self.flush().await?;
        let mut failure = None;
        loop {
            let (tag, body) = self.read_message().await?;
            match tag {
                b'G' | b'H' | b'W' => return Ok(()),
                b'E' => failure = Some(PgError::Server(Box::new(ServerError::parse(&body)))),
                b'Z' => return Err(failure.unwrap_or_else(|| PgError::protocol("no COPY was started"))),
                _ => {}
            }
        }
    }

    /// The next data of a running COPY OUT; None at its end, when the session is ready again.
    ///
    /// # Errors
    /// What the server says.
    pub async fn copy_data(&mut self) -> Result<Option<Bytes>, PgError> {
        let mut failure = None;
        loop {
            let (tag, body) = self.read_message().await?;
            match tag {
                b'd' => return Ok(Some(body)),
                b'E' => failure = failure.or(Some(PgError::Server(Box::new(ServerError::parse(&body))))),
                b'Z' => return failure.map_or(Ok(None), Err),
                _ => {}
            }
        }
    }

    /// Ends a COPY IN and waits until the session is ready; the number of rows that it stored.
    ///
    /// # Errors
    /// What the server says against the data.
    pub async fn finish_copy_in(&mut self) -> Result<u64, PgError> {
        frontend::copy_done(self.out());
        self.flush().await?;
        let mut stored = 0;
        let mut failure = None;
        loop {
            let (tag, body) = self.read_message().await?;
            match tag {
                b'C' => stored = command_rows(&body),
                b'E' => failure = failure.or(Some(PgError::Server(Box::new(ServerError::parse(&body))))),
                b'Z' => return failure.map_or(Ok(stored), Err),
                _ => {}
            }
        }
    }
}

/// The number at the end of a command tag: `UPDATE 3`, `INSERT 0 3`, `COPY 3`; 0 for tags without one.
pub fn command_rows(tag: &[u8]) -> u64 {
    let tag = tag.strip_suffix(b"\0").unwrap_or(tag);
    let number = tag.rsplit(|b| *b == b' ').next().unwrap_or_default();
    std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_tell_their_rows() {
        assert_eq!(command_rows(b"INSERT 0 12\0"), 12);
        assert_eq!(command_rows(b"UPDATE 3\0"), 3);
        assert_eq!(command_rows(b"COMMIT\0"), 0);
    }

    proptest! {
        #[test]
        fn rows_never_panic(body: Vec<u8>) {
            let _ = Row::decode(&body);
        }
    }
}
