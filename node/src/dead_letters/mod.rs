//! Changes that a destination did not take wait here, in order, and are applied later: docs/DEAD_LETTERS.md.

mod aside;
mod breaker;
mod convert;
mod desk;
mod display;
mod letter;
mod load;
mod merge;
#[cfg(test)]
mod order_tests;
mod outage;
mod parked;
mod redis;
mod sqlite;
mod store;

pub use self::{
    aside::{Aside, AsideLetter, Emptied, Rejection, Verdicts, letters_of, set_aside},
    breaker::Breaker,
    convert::{Addressed, batch_of, table_name},
    desk::{Desk, DeskCommand, DeskError},
    display::ColumnText,
    letter::{
        BLOCKED, Failure, Letter, LetterChange, LetterId, LetterName, LetterNameError, LetterStream, Mailbox, Shape,
        ShapeColumn, ShapeId, ShapeKey, Spill, SpillStep, StreamFigures, TABLE_STOPPED,
    },
    load::{Pages, Shapes, Waiting, load_parked, remove_before, sweep},
    merge::Merged,
    outage::{Absence, Away, Outages, Plan, SpillLimits, plan},
    parked::{Block, Outlook, Parked, ParkedChange},
    redis::RedisStore,
    sqlite::SqliteStore,
    store::{Addition, Answer, DeadLetterStore, Owner, StoreError},
};
