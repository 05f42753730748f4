use std::{
    ops::ControlFlow,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::BufMut;
use rosetta_proto::Lsn;

use super::pgoutput::{self, DecodeError, Message};
use crate::postgres::{Connection, PgError, ServerError, literal, next_frame};

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A slot being streamed (PostgreSQL docs, "Streaming Replication Protocol").
pub struct ReplicationStream {
    connection: Connection,
}

/// What the stream brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Message(Message<'a>),
    /// The source has sent everything before `wal_end`.
    Keepalive {
        wal_end: Lsn,
        wants_reply: bool,
    },
}

/// Why the stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Postgres(#[from] PgError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// How far the pipeline is; each only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confirmation {
    pub received: Lsn,
    /// Every destination has it on disk: the slot may forget what is before.
    pub durable: Lsn,
    pub applied: Lsn,
}

impl ReplicationStream {
    /// Starts streaming `slot` from `position`, on a replication session.
    ///
    /// # Errors
    /// The server's; SQLSTATE 55006 while another session streams the slot.
    pub async fn start(
        mut connection: Connection,
        slot: &str,
        position: Lsn,
        publications: &[String],
        binary: bool,
    ) -> Result<ReplicationStream, PgError> {
        let names = publications.iter().map(|name| crate::postgres::ident(name)).collect::<Vec<_>>().join(",");
        let names = literal(&names);
        let binary = if binary { ", binary 'true'" } else { "" };
        let sql = format!(
            "START_REPLICATION SLOT {slot} LOGICAL {position} (proto_version '1', publication_names {}, messages 'true'{binary})",
            names.trim_start()
        );
        connection.start_copy(&sql).await?;
        Ok(ReplicationStream { connection })
    }

    /// Waits until more has arrived. Cancel-safe.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn fill(&mut self) -> Result<usize, PgError> {
        self.connection.fill().await
    }

    /// Hands over what has arrived, event by event, until `take` breaks off.
    ///
    /// # Errors
    /// The server ended the stream, sent what cannot be read, or `take` failed.
    pub fn drain<E: From<StreamError>>(
        &mut self,
        mut take: impl FnMut(Event<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let mut at = 0;
        let mut result = Ok(ControlFlow::Continue(()));
        let received = self.connection.received();
        while let Ok(ControlFlow::Continue(())) = result {
            let frame = match next_frame(received, at) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return Err(StreamError::from(error).into()),
            };
            at = frame.end();
            let body = received.get(frame.body).unwrap_or_default();
            result = match frame.tag {
                b'd' => match read_event(body) {
                    Ok(Some(event)) => take(event),
                    Ok(None) => Ok(ControlFlow::Continue(())),
                    Err(error) => Err(error.into()),
                },
                b'E' => Err(StreamError::from(PgError::Server(Box::new(ServerError::parse(body)))).into()),
                b'c' | b'C' => Err(StreamError::from(PgError::protocol("the source ended the stream")).into()),
                _ => Ok(ControlFlow::Continue(())),
            };
        }
        self.connection.consume(at);
        result.map(drop)
    }

    /// Tells the source how far we are.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn confirm(&mut self, confirmation: Confirmation, wants_reply: bool) -> Result<(), PgError> {
        let out = self.connection.out();
        out.put_u8(b'd');
        out.put_u32(4 + 1 + 8 * 4 + 1);
        out.put_u8(b'r');
        out.put_u64(confirmation.received.0);
        out.put_u64(confirmation.durable.0);
        out.put_u64(confirmation.applied.0);
        out.put_i64(postgres_micros_now());
        out.put_u8(u8::from(wants_reply));
        self.connection.flush().await
    }

    /// Ends the stream; the slot is free at once.
    pub async fn close(self) {
        self.connection.close().await;
    }
}

/// Our clock, as PostgreSQL counts: microseconds since 2000-01-01.
pub fn postgres_micros_now() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64);
    unix - POSTGRES_EPOCH_MICROS
}

/// One CopyData of the stream: XLogData or a keepalive; None for kinds that are not ours to read.
///
/// # Errors
/// A body that is cut short, or a message that cannot be decoded.
pub fn read_event(body: &[u8]) -> Result<Option<Event<'_>>, StreamError> {
    let short = || StreamError::from(PgError::protocol("a short replication message"));
    match body.split_first() {
        Some((b'w', rest)) => {
            let (_positions_and_time, message) = rest.split_at_checked(24).ok_or_else(short)?;
            Ok(Some(Event::Message(pgoutput::decode(message)?)))
        }
        Some((b'k', rest)) => {
            let (wal_end, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
            let wants_reply = rest.get(8).is_some_and(|flag| *flag == 1);
            Ok(Some(Event::Keepalive { wal_end: Lsn(u64::from_be_bytes(*wal_end)), wants_reply }))
        }
        Some(_) => Ok(None),
        None => Err(short()),
    }
}
