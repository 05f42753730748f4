//! Changes that a destination did not take wait here, in order, and are applied later: docs/DEAD_LETTERS.md.

mod letter;
mod redis;
mod sqlite;
mod store;

pub use self::{
    letter::{
        BLOCKED, Failure, Letter, LetterChange, LetterId, LetterName, LetterNameError, LetterStream, Mailbox, Shape,
        ShapeColumn, ShapeId, ShapeKey, Spill, SpillStep, StreamFigures, TABLE_STOPPED,
    },
    redis::RedisStore,
    sqlite::SqliteStore,
    store::{Addition, Answer, DeadLetterStore, Owner, StoreError},
};
