//! Letters in Redis Streams, one a table: `rosetta:dlq:pipeline_<p>:destination_<d>:table_<schema.table>`. An entry's id
//! is the letter's: `<commit lsn>-<ordinal>`. Everything else is under `rosetta:dead_letters:`, so that whatever matches
//! `rosetta:dlq:*` is a stream.
//!
//! Each write is a script, which Redis runs, and logs, as a whole.

mod connection;
mod entry;

use std::{ops::Range, sync::Arc};

use redis::{Script, ScriptInvocation};
use rosetta_proto::{Epoch, Lsn};

use self::connection::{Connected, Said};
use super::{
    letter::{Failure, Letter, LetterId, LetterStream, Mailbox, Shape, ShapeId, Spill, SpillStep, StreamFigures},
    store::{Addition, Answer, DeadLetterStore, Owner, StoreError},
};

const EPOCHS: &str = "rosetta:dead_letters:epochs";
/// What one script adds: Redis does nothing else meanwhile.
const LETTERS_AT_ONCE: usize = 1000;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Ids in one request.
const IDS_AT_ONCE: usize = 5000;

/// Letters in a Redis.
#[derive(Debug)]
pub struct RedisStore {
    redis: Connected,
    add: Script,
    remove: Script,
    note: Script,
    spill: Script,
}

impl RedisStore {
    /// A store at `url` (`redis://…`). Nothing is asked of it yet, so a Redis that is away does no harm until it is
    /// needed. With `allow_volatile` one that may lose letters is used all the same.
    ///
    /// # Errors
    /// The URL is none.
    pub fn new(url: &str, allow_volatile: bool) -> Result<RedisStore, StoreError> {
        Ok(RedisStore {
            redis: Connected::new(url, allow_volatile)?,
            add: Script::new(include_str!("add.lua")),
            remove: Script::new(include_str!("remove.lua")),
            note: Script::new(include_str!("note.lua")),
            spill: Script::new(include_str!("spill.lua")),
        })
    }

    /// Whether what it acknowledges survives its crash.
    ///
    /// # Errors
    /// `Unsafe`, with what to set; `Unavailable`.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.redis.check().await
    }

    async fn run(&self, owner: &Owner, script: &ScriptInvocation<'_>) -> Result<u64, StoreError> {
        match self.redis.write(script).await? {
            Said::Done(count) => Ok(count),
            Said::Fenced(newest) => {
                Err(StoreError::Fenced { pipeline: owner.pipeline.clone(), epoch: owner.epoch, newest })
            }
            Said::Forgotten => Err(self.redis.unreadable("a spill without its record")),
        }
    }

    async fn add_some(&self, owner: &Owner, stream: &LetterStream, letters: &[&Letter]) -> Result<(), StoreError> {
        let keys = Keys::of(stream);
        let mut script = self.add.prepare_invoke();
        script.key(EPOCHS).key(keys.stream).key(keys.failures).key(keys.tables);
        script.arg(&owner.pipeline).arg(padded(owner.epoch)).arg(&stream.table);
        for letter in letters {
            entry::push_arguments(letter, &mut script);
        }
        self.run(owner, &script).await.map(drop)
    }

    async fn add_all(&self, owner: &Owner, destination: &str, addition: Addition) -> Result<(), StoreError> {
        let mailbox = Mailbox::new(&owner.pipeline, destination);
        if !addition.shapes.is_empty() {
            let shapes: Vec<_> = addition.shapes.iter().map(|shape| (shape.id().0, shape.to_json())).collect();
            self.redis.command(redis::cmd("HSET").arg(shapes_key(&owner.pipeline)).arg(shapes)).await?;
        }
        for (table, letters) in by_table(&addition.letters) {
            let stream = mailbox.stream(table);
            for letters in pieces(&letters) {
                self.add_some(owner, &stream, letters).await?;
            }
        }
        match addition.spill {
            Some(step) => self.add_spill(owner, &mailbox, step).await,
            None => Ok(()),
        }
    }

    async fn add_spill(&self, owner: &Owner, mailbox: &Mailbox, step: SpillStep) -> Result<(), StoreError> {
        let Spill { worker, end, since } = step.to;
        let mut script = self.spill.prepare_invoke();
        script.key(EPOCHS).key(spills_key(mailbox));
        script.arg(&owner.pipeline).arg(padded(owner.epoch)).arg(worker).arg(since);
        script.arg(step.from.map(|from| from.0.to_string()).unwrap_or_default()).arg(end.0.to_string());
        match self.redis.write(&script).await? {
            Said::Forgotten => Err(StoreError::Forgotten {
                store: self.redis.name(),
                pipeline: mailbox.pipeline.clone(),
                destination: mailbox.destination.clone(),
                worker,
            }),
            Said::Done(_) => Ok(()),
            Said::Fenced(newest) => {
                Err(StoreError::Fenced { pipeline: owner.pipeline.clone(), epoch: owner.epoch, newest })
            }
        }
    }

    async fn remove_all(&self, owner: &Owner, stream: &LetterStream, ids: &[LetterId]) -> Result<u64, StoreError> {
        let mut removed = 0;
        for ids in ids.chunks(IDS_AT_ONCE) {
            let keys = Keys::of(stream);
            let mut script = self.remove.prepare_invoke();
            script.key(EPOCHS).key(keys.stream).key(keys.failures).key(keys.tables);
            script.arg(&owner.pipeline).arg(padded(owner.epoch)).arg(&stream.table);
            for id in ids {
                script.arg(entry::id(*id));
            }
            removed += self.run(owner, &script).await?;
        }
        Ok(removed)
    }

    async fn note_all(
        &self,
        owner: &Owner,
        stream: &LetterStream,
        failures: &[(LetterId, Failure)],
    ) -> Result<(), StoreError> {
        for failures in failures.chunks(LETTERS_AT_ONCE) {
            let keys = Keys::of(stream);
            let mut script = self.note.prepare_invoke();
            script.key(EPOCHS).key(keys.stream).key(keys.failures).arg(&owner.pipeline).arg(padded(owner.epoch));
            for (id, failure) in failures {
                script.arg(entry::id(*id)).arg(entry::failure(failure));
            }
            self.run(owner, &script).await?;
        }
        Ok(())
    }

    async fn read_some(
        &self,
        stream: &LetterStream,
        range: Range<LetterId>,
        limit: usize,
    ) -> Result<Vec<Letter>, StoreError> {
        let keys = Keys::of(stream);
        let (start, end) = (entry::id(range.start), format!("({}", entry::id(range.end)));
        let command = redis::cmd("XRANGE").arg(&keys.stream).arg(start).arg(end).arg("COUNT").arg(limit).clone();
        let found = self.redis.command(&command).await?;
        let mut letters = entry::letters(found).ok_or_else(|| self.redis.unreadable(&keys.stream))?;
        if letters.is_empty() {
            return Ok(letters);
        }
        let ids: Vec<_> = letters.iter().map(|letter| entry::id(letter.id)).collect();
        let failures = self.redis.command(redis::cmd("HMGET").arg(&keys.failures).arg(ids)).await?;
        entry::put_failures(failures, &mut letters).ok_or_else(|| self.redis.unreadable(&keys.failures))?;
        Ok(letters)
    }

    async fn figures(&self, mailbox: &Mailbox) -> Result<Vec<(String, StreamFigures)>, StoreError> {
        let tables: Vec<String> = self.redis.ask(redis::cmd("SMEMBERS").arg(tables_key(mailbox))).await?;
        let mut figures = Vec::new();
        for table in tables {
            let key = Keys::of(&mailbox.stream(&table)).stream;
            let letters: u64 = self.redis.ask(redis::cmd("XLEN").arg(&key)).await?;
            if letters == 0 {
                continue;
            }
            let bytes: Option<u64> = self.redis.ask(redis::cmd("MEMORY").arg("USAGE").arg(&key)).await?;
            let first = redis::cmd("XRANGE").arg(&key).arg("-").arg("+").arg("COUNT").arg(1).clone();
            let first = entry::letters(self.redis.command(&first).await?);
            let first = first.ok_or_else(|| self.redis.unreadable(&key))?;
            let oldest = first.first().map(|letter| letter.added_at);
            figures.push((table, StreamFigures { letters, bytes: bytes.unwrap_or_default(), oldest }));
        }
        figures.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(figures)
    }

    async fn find_shape(&self, pipeline: &str, id: ShapeId) -> Result<Option<Arc<Shape>>, StoreError> {
        let key = shapes_key(pipeline);
        let text: Option<String> = self.redis.ask(redis::cmd("HGET").arg(&key).arg(id.0)).await?;
        text.map(|text| Shape::from_json(&text).ok_or_else(|| self.redis.unreadable(&key))).transpose()
    }

    async fn all_spills(&self, mailbox: &Mailbox) -> Result<Vec<Spill>, StoreError> {
        let key = spills_key(mailbox);
        let fields: Vec<(u32, String)> = self.redis.ask(redis::cmd("HGETALL").arg(&key)).await?;
        let parse = |(worker, text): &(u32, String)| {
            let (end, since) = text.split_once(' ')?;
            Some(Spill { worker: *worker, end: Lsn(end.parse().ok()?), since: since.parse().ok()? })
        };
        let spills: Option<Vec<_>> = fields.iter().map(parse).collect();
        let mut spills = spills.ok_or_else(|| self.redis.unreadable(&key))?;
        spills.sort_by_key(|spill| spill.worker);
        Ok(spills)
    }

    async fn finish_spill(&self, owner: &Owner, destination: &str, worker: u32) -> Result<(), StoreError> {
        let mut script = self.spill.prepare_invoke();
        script.key(EPOCHS).key(spills_key(&Mailbox::new(&owner.pipeline, destination)));
        script.arg(&owner.pipeline).arg(padded(owner.epoch)).arg(worker).arg(0);
        self.run(owner, &script).await.map(drop)
    }

    async fn find_epoch(&self, pipeline: &str) -> Result<Epoch, StoreError> {
        let epoch: Option<u64> = self.redis.ask(redis::cmd("HGET").arg(EPOCHS).arg(pipeline)).await?;
        Ok(Epoch(epoch.unwrap_or_default()))
    }
}

impl DeadLetterStore for RedisStore {
    fn claim<'a>(&'a self, owner: &'a Owner) -> Answer<'a, ()> {
        // Any write claims; this one adds nothing.
        Box::pin(async move {
            let none = Mailbox::new(&owner.pipeline, "").stream("");
            let keys = Keys::of(&none);
            let mut script = self.note.prepare_invoke();
            script.key(EPOCHS).key(keys.stream).key(keys.failures).arg(&owner.pipeline).arg(padded(owner.epoch));
            self.run(owner, &script).await.map(drop)
        })
    }

    fn newest_epoch<'a>(&'a self, pipeline: &'a str) -> Answer<'a, Epoch> {
        Box::pin(self.find_epoch(pipeline))
    }

    fn add<'a>(&'a self, owner: &'a Owner, destination: &'a str, addition: Addition) -> Answer<'a, ()> {
        Box::pin(self.add_all(owner, destination, addition))
    }

    fn remove<'a>(&'a self, owner: &'a Owner, stream: &'a LetterStream, ids: &'a [LetterId]) -> Answer<'a, u64> {
        Box::pin(self.remove_all(owner, stream, ids))
    }

    fn note<'a>(
        &'a self,
        owner: &'a Owner,
        stream: &'a LetterStream,
        failures: &'a [(LetterId, Failure)],
    ) -> Answer<'a, ()> {
        Box::pin(self.note_all(owner, stream, failures))
    }

    fn read<'a>(&'a self, stream: &'a LetterStream, range: Range<LetterId>, limit: usize) -> Answer<'a, Vec<Letter>> {
        Box::pin(self.read_some(stream, range, limit))
    }

    fn streams<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a, Vec<(String, StreamFigures)>> {
        Box::pin(self.figures(mailbox))
    }

    fn shape<'a>(&'a self, pipeline: &'a str, id: ShapeId) -> Answer<'a, Option<Arc<Shape>>> {
        Box::pin(self.find_shape(pipeline, id))
    }

    fn spills<'a>(&'a self, mailbox: &'a Mailbox) -> Answer<'a, Vec<Spill>> {
        Box::pin(self.all_spills(mailbox))
    }

    fn end_spill<'a>(&'a self, owner: &'a Owner, destination: &'a str, worker: u32) -> Answer<'a, ()> {
        Box::pin(self.finish_spill(owner, destination, worker))
    }
}

/// The keys of one stream.
struct Keys {
    stream: String,
    failures: String,
    tables: String,
}

impl Keys {
    fn of(stream: &LetterStream) -> Keys {
        let Mailbox { pipeline, destination } = &stream.mailbox;
        let table = &stream.table;
        Keys {
            stream: format!("rosetta:dlq:pipeline_{pipeline}:destination_{destination}:table_{table}"),
            failures: format!("rosetta:dead_letters:failures:{pipeline}:{destination}:{table}"),
            tables: tables_key(&stream.mailbox),
        }
    }
}

fn tables_key(mailbox: &Mailbox) -> String {
    format!("rosetta:dead_letters:tables:{}:{}", mailbox.pipeline, mailbox.destination)
}

fn spills_key(mailbox: &Mailbox) -> String {
    format!("rosetta:dead_letters:spills:{}:{}", mailbox.pipeline, mailbox.destination)
}

fn shapes_key(pipeline: &str) -> String {
    format!("rosetta:dead_letters:shapes:{pipeline}")
}

/// Scripts compare epochs as texts.
fn padded(epoch: Epoch) -> String {
    format!("{:020}", epoch.0)
}

/// Letters in their order, a list for each table.
fn by_table(letters: &[(String, Letter)]) -> Vec<(&str, Vec<&Letter>)> {
    let mut tables: std::collections::BTreeMap<&str, Vec<&Letter>> = std::collections::BTreeMap::new();
    for (table, letter) in letters {
        tables.entry(table).or_default().push(letter);
    }
    tables.into_iter().collect()
}

/// Letters in portions that one script may take.
fn pieces<'a>(letters: &'a [&'a Letter]) -> Vec<&'a [&'a Letter]> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, letter) in letters.iter().enumerate() {
        if index > start && (index - start >= LETTERS_AT_ONCE || bytes + letter.size() > BYTES_AT_ONCE) {
            pieces.push(&letters[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += letter.size();
    }
    pieces.push(&letters[start..]);
    pieces
}
