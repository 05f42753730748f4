use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rosetta_proto::{Epoch, Lsn};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::{
    letter::{
        Failure, Letter, LetterChange, LetterId, LetterStream, Mailbox, Shape, ShapeId, Spill, SpillStep, StreamFigures,
    },
    store::{Addition, Answer, DeadLetterStore, Owner, StoreError},
};

const SCHEMA: &str = include_str!("sqlite.sql");
/// For another process that has the file, such as `sqlite3`.
const BUSY: Duration = Duration::from_secs(5);
/// Each write is on the disk when it is answered. Readers do not wait for the writer.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

/// Letters in a file of SQLite in the data folder.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
}

/// What went wrong inside a request.
enum Fault {
    Sqlite(rusqlite::Error),
    Fenced { newest: Epoch },
    Forgotten { destination: String, worker: u32 },
    Unreadable(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

impl SqliteStore {
    /// Opens `dead_letters.sqlite` in `folder`; makes it when it is not there.
    ///
    /// # Errors
    /// It cannot be opened, or is no file of ours.
    pub fn open(folder: &Path) -> Result<SqliteStore, StoreError> {
        let path = folder.join("dead_letters.sqlite");
        let open = || {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(BUSY)?;
            connection.execute_batch(SETTINGS)?;
            Ok(connection)
        };
        let failed = |error| judge(&path, "", Epoch::NONE, Fault::Sqlite(error));
        let writer = open().map_err(failed)?;
        writer.execute_batch(SCHEMA).map_err(failed)?;
        let reader = open().map_err(failed)?;
        Ok(SqliteStore { writer: Arc::new(Mutex::new(writer)), reader: Arc::new(Mutex::new(reader)), path })
    }

    async fn write<T: Send + 'static>(
        &self,
        owner: &Owner,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (connection, path, owner) = (Arc::clone(&self.writer), self.path.clone(), owner.clone());
        let done = tokio::task::spawn_blocking(move || {
            let run = || {
                let mut connection = locked(&connection);
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                fence(&transaction, &owner)?;
                let result = work(&transaction)?;
                transaction.commit()?;
                Ok(result)
            };
            run().map_err(|fault| judge(&path, &owner.pipeline, owner.epoch, fault))
        });
        done.await.unwrap_or_else(|error| Err(self.broken(&error)))
    }

    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (connection, path) = (Arc::clone(&self.reader), self.path.clone());
        let done = tokio::task::spawn_blocking(move || {
            work(&locked(&connection)).map_err(|fault| judge(&path, "", Epoch::NONE, fault))
        });
        done.await.unwrap_or_else(|error| Err(self.broken(&error)))
    }

    fn broken(&self, error: &tokio::task::JoinError) -> StoreError {
        StoreError::Unavailable { store: self.path.display().to_string(), reason: error.to_string() }
    }
}

impl DeadLetterStore for SqliteStore {
    fn claim<'a>(&'a self, owner: &'a Owner) -> Answer<'a, ()> {
        Box::pin(self.write(owner, |_| Ok(())))
    }

    fn newest_epoch<'a>(&'a self, pipeline: &'a str) -> Answer<'a, Epoch> {
        let pipeline = pipeline.to_owned();
        Box::pin(self.look(move |connection| newest_epoch(connection, &pipeline)))
    }

    fn add<'a>(&'a self, owner: &'a Owner, destination: &'a str, addition: Addition) -> Answer<'a, ()> {
        let mailbox = Mailbox::new(&owner.pipeline, destination);
        Box::pin(self.write(owner, move |transaction| add(transaction, &mailbox, &addition)))
    }

    fn remove<'a>(&'a self, owner: &'a Owner, stream: &'a LetterStream, ids: &'a [LetterId]) -> Answer<'a, u64> {
        let (stream, ids) = (stream.clone(), ids.to_vec());
        Box::pin(self.write(owner, move |transaction| remove(transaction, &stream, &ids)))
    }

    fn note<'a>(
        &'a self,
        owner: &'a Owner,
        stream: &'a LetterStream,
        failures: &'a [(LetterId, Failure)],
    ) -> Answer<'a, ()> {
        let (stream, failures) = (stream.clone(), failures.to_vec());
        Box::pin(self.write(owner, move |transaction| note(transaction, &stream, &failures)))
    }

    fn read<'a>(&'a self, stream: &'a LetterStream, range: Range<LetterId>, limit: usize) -> Answer<'a, Vec<Letter>> {
        let stream = stream.clone();
        Box::pin(self.look(move |connection| read(connection, &stream, &range, limit)))
    }

    fn streams<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a, Vec<(String, StreamFigures)>> {
        let mailbox = mailbox.clone();
        Box::pin(self.look(move |connection| streams(connection, &mailbox)))
    }

    fn shape<'a>(&'a self, pipeline: &'a str, id: ShapeId) -> Answer<'a, Option<Arc<Shape>>> {
        let pipeline = pipeline.to_owned();
        Box::pin(self.look(move |connection| {
            let sql = "SELECT shape FROM shapes WHERE pipeline = ?1 AND id = ?2";
            let found: Option<String> =
                connection.query_row(sql, params![pipeline, id.0.cast_signed()], |row| row.get(0)).optional()?;
            let parse = |text: String| Shape::from_json(&text).ok_or_else(|| Fault::Unreadable("a shape".to_owned()));
            found.map(parse).transpose()
        }))
    }

    fn spills<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a, Vec<Spill>> {
        let mailbox = mailbox.clone();
        Box::pin(self.look(move |connection| {
            let sql =
                "SELECT worker, end_lsn, since FROM spills WHERE pipeline = ?1 AND destination = ?2 ORDER BY worker";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![mailbox.pipeline, mailbox.destination], |row| {
                Ok(Spill { worker: row.get(0)?, end: Lsn(unsigned(row, 1)?), since: unsigned(row, 2)? })
            })?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        }))
    }

    fn end_spill<'a>(&'a self, owner: &'a Owner, destination: &'a str, worker: u32) -> Answer<'a, ()> {
        let (pipeline, destination) = (owner.pipeline.clone(), destination.to_owned());
        Box::pin(self.write(owner, move |transaction| {
            let sql = "DELETE FROM spills WHERE pipeline = ?1 AND destination = ?2 AND worker = ?3";
            transaction.execute(sql, params![pipeline, destination, worker])?;
            Ok(())
        }))
    }
}

fn locked(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic in the middle of a transaction rolled it back.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::cast_unsigned)
}

/// As the file keeps it; what is beyond is after everything that it can hold.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn newest_epoch(connection: &Connection, pipeline: &str) -> Result<Epoch, Fault> {
    let sql = "SELECT epoch FROM owners WHERE pipeline = ?1";
    let found = connection.query_row(sql, [pipeline], |row| unsigned(row, 0)).optional()?;
    Ok(Epoch(found.unwrap_or_default()))
}

fn fence(transaction: &Transaction<'_>, owner: &Owner) -> Result<(), Fault> {
    let newest = newest_epoch(transaction, &owner.pipeline)?;
    if newest > owner.epoch {
        return Err(Fault::Fenced { newest });
    }
    if newest < owner.epoch {
        let sql = "INSERT INTO owners VALUES (?1, ?2) ON CONFLICT (pipeline) DO UPDATE SET epoch = excluded.epoch";
        transaction.execute(sql, params![owner.pipeline, signed(owner.epoch.0)])?;
    }
    Ok(())
}

fn add(transaction: &Transaction<'_>, mailbox: &Mailbox, addition: &Addition) -> Result<(), Fault> {
    for shape in &addition.shapes {
        let sql = "INSERT INTO shapes VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let parameters = params![mailbox.pipeline, shape.id().0.cast_signed(), shape.to_json()];
        transaction.prepare_cached(sql)?.execute(parameters)?;
    }
    let mut known: Option<(&str, i64)> = None;
    for (table, letter) in &addition.letters {
        let stream = match known {
            Some((name, id)) if name == table => id,
            Some(_) | None => stream_to_fill(transaction, mailbox, table)?,
        };
        known = Some((table, stream));
        add_letter(transaction, stream, letter)?;
    }
    addition.spill.map_or(Ok(()), |step| add_spill(transaction, mailbox, &step))
}

fn add_spill(transaction: &Transaction<'_>, mailbox: &Mailbox, step: &SpillStep) -> Result<(), Fault> {
    let Mailbox { pipeline, destination } = mailbox;
    let Spill { worker, end, since } = step.to;
    let sql = "SELECT end_lsn FROM spills WHERE pipeline = ?1 AND destination = ?2 AND worker = ?3";
    let stored =
        transaction.query_row(sql, params![pipeline, destination, worker], |row| unsigned(row, 0)).optional()?;
    if !step.follows(stored.map(Lsn)) {
        return Err(Fault::Forgotten { destination: destination.clone(), worker });
    }
    let sql = "INSERT INTO spills VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (pipeline, destination, worker) DO UPDATE SET end_lsn = excluded.end_lsn, since = excluded.since";
    transaction.execute(sql, params![pipeline, destination, worker, signed(end.0), signed(since)])?;
    Ok(())
}

fn stream_to_fill(transaction: &Transaction<'_>, mailbox: &Mailbox, table: &str) -> Result<i64, Fault> {
    let parameters = params![mailbox.pipeline, mailbox.destination, table];
    let sql = "INSERT INTO streams (pipeline, destination, source_table) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    transaction.prepare_cached(sql)?.execute(parameters)?;
    let found = find_stream(transaction, &mailbox.stream(table))?;
    found.ok_or_else(|| Fault::Unreadable("no row of a stream that was just made".to_owned()))
}

fn find_stream(connection: &Connection, stream: &LetterStream) -> Result<Option<i64>, Fault> {
    let sql = "SELECT id FROM streams WHERE pipeline = ?1 AND destination = ?2 AND source_table = ?3";
    let Mailbox { pipeline, destination } = &stream.mailbox;
    let parameters = params![pipeline, destination, stream.table];
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?)
}

fn add_letter(transaction: &Transaction<'_>, stream: i64, letter: &Letter) -> Result<(), Fault> {
    let (old, new) = letter.change.tuples();
    let failure = letter.failure.as_ref().map(failure_text);
    let sql = "INSERT INTO letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
    let added = transaction.prepare_cached(sql)?.execute(params![
        stream,
        signed(letter.id.commit_lsn.0),
        signed(letter.id.ordinal),
        letter.shape.0.cast_signed(),
        letter.change.code(),
        old,
        new,
        signed(letter.epoch.0),
        signed(letter.added_at),
        failure,
    ])?;
    if added == 1 {
        return count(transaction, stream, 1, signed(letter.size() as u64));
    }
    note_failure(transaction, stream, letter.id, failure.as_deref())
}

/// Whether it was there.
fn remove_letter(transaction: &Transaction<'_>, stream: i64, id: LetterId) -> Result<bool, Fault> {
    let sql = "DELETE FROM letters WHERE stream = ?1 AND commit_lsn = ?2 AND ordinal = ?3 RETURNING length(old) + length(new)";
    let parameters = params![stream, signed(id.commit_lsn.0), signed(id.ordinal)];
    let removed: Option<i64> = transaction.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?;
    if let Some(bytes) = removed {
        count(transaction, stream, -1, -bytes)?;
    }
    Ok(removed.is_some())
}

fn count(transaction: &Transaction<'_>, stream: i64, letters: i64, bytes: i64) -> Result<(), Fault> {
    let sql = "UPDATE streams SET letters = letters + ?2, bytes = bytes + ?3 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![stream, letters, bytes])?;
    Ok(())
}

fn remove(transaction: &Transaction<'_>, stream: &LetterStream, ids: &[LetterId]) -> Result<u64, Fault> {
    let Some(stream) = find_stream(transaction, stream)? else { return Ok(0) };
    let mut removed = 0;
    for id in ids {
        removed += u64::from(remove_letter(transaction, stream, *id)?);
    }
    Ok(removed)
}

fn note(transaction: &Transaction<'_>, stream: &LetterStream, failures: &[(LetterId, Failure)]) -> Result<(), Fault> {
    let Some(stream) = find_stream(transaction, stream)? else { return Ok(()) };
    for (id, failure) in failures {
        note_failure(transaction, stream, *id, Some(&failure_text(failure)))?;
    }
    Ok(())
}

fn note_failure(transaction: &Transaction<'_>, stream: i64, id: LetterId, failure: Option<&str>) -> Result<(), Fault> {
    let sql = "UPDATE letters SET failure = ?4 WHERE stream = ?1 AND commit_lsn = ?2 AND ordinal = ?3";
    let parameters = params![stream, signed(id.commit_lsn.0), signed(id.ordinal), failure];
    transaction.prepare_cached(sql)?.execute(parameters)?;
    Ok(())
}

fn failure_text(failure: &Failure) -> String {
    serde_json::to_string(failure).unwrap_or_default() // a struct of numbers and texts always has a form
}

fn read(
    connection: &Connection,
    stream: &LetterStream,
    range: &Range<LetterId>,
    limit: usize,
) -> Result<Vec<Letter>, Fault> {
    let Some(stream) = find_stream(connection, stream)? else { return Ok(Vec::new()) };
    let sql = "SELECT commit_lsn, ordinal, shape, operation, old, new, epoch, added_at, failure FROM letters \
               WHERE stream = ?1 AND (commit_lsn, ordinal) >= (?2, ?3) AND (commit_lsn, ordinal) < (?4, ?5) \
               ORDER BY commit_lsn, ordinal LIMIT ?6";
    let mut statement = connection.prepare_cached(sql)?;
    let (start, end) = (range.start, range.end);
    let mut rows = statement.query(params![
        stream,
        signed(start.commit_lsn.0),
        signed(start.ordinal),
        signed(end.commit_lsn.0),
        signed(end.ordinal),
        signed(limit as u64),
    ])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(letter(row)?);
    }
    Ok(letters)
}

fn letter(row: &Row<'_>) -> Result<Letter, Fault> {
    let id = LetterId { commit_lsn: Lsn(unsigned(row, 0)?), ordinal: unsigned(row, 1)? };
    let unreadable = || Fault::Unreadable(format!("letter {id}"));
    let code: String = row.get(3)?;
    let failure: Option<String> = row.get(8)?;
    let failure = failure.map(|text| serde_json::from_str(&text).map_err(|_| unreadable())).transpose()?;
    Ok(Letter {
        id,
        shape: ShapeId(unsigned(row, 2)?),
        change: LetterChange::from_code(&code, row.get(4)?, row.get(5)?).ok_or_else(unreadable)?,
        epoch: Epoch(unsigned(row, 6)?),
        added_at: unsigned(row, 7)?,
        failure,
    })
}

fn streams(connection: &Connection, mailbox: &Mailbox) -> Result<Vec<(String, StreamFigures)>, Fault> {
    let sql = "SELECT source_table, letters, bytes, \
               (SELECT added_at FROM letters WHERE stream = s.id ORDER BY commit_lsn, ordinal LIMIT 1) \
               FROM streams s WHERE pipeline = ?1 AND destination = ?2 AND letters > 0 ORDER BY source_table";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![mailbox.pipeline, mailbox.destination], |row| {
        let oldest: Option<i64> = row.get(3)?;
        let oldest = oldest.map(i64::cast_unsigned);
        Ok((row.get(0)?, StreamFigures { letters: unsigned(row, 1)?, bytes: unsigned(row, 2)?, oldest }))
    })?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

fn judge(path: &Path, pipeline: &str, epoch: Epoch, fault: Fault) -> StoreError {
    let store = path.display().to_string();
    match fault {
        Fault::Fenced { newest } => StoreError::Fenced { pipeline: pipeline.to_owned(), epoch, newest },
        Fault::Unreadable(reason) => StoreError::Unreadable { store, reason },
        Fault::Forgotten { destination, worker } => {
            StoreError::Forgotten { store, pipeline: pipeline.to_owned(), destination, worker }
        }
        Fault::Sqlite(error) => {
            let reason = error.to_string();
            match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => StoreError::Full { store, reason },
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Unreadable { store, reason },
                _ => StoreError::Unavailable { store, reason },
            }
        }
    }
}
