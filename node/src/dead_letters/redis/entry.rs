//! Letters as entries of a stream.

use std::collections::HashMap;

use redis::{FromRedisValue, ScriptInvocation, Value};
use rosetta_proto::{Epoch, Lsn};

use crate::dead_letters::letter::{Failure, Letter, LetterChange, LetterId, ShapeId};

pub(super) fn id(id: LetterId) -> String {
    format!("{}-{}", id.commit_lsn.0, id.ordinal)
}

pub(super) fn failure(failure: &Failure) -> String {
    serde_json::to_string(failure).unwrap_or_default() // a struct of numbers and texts always has a form
}

/// The eight arguments of `add.lua` for one letter.
pub(super) fn push_arguments(letter: &Letter, script: &mut ScriptInvocation<'_>) {
    let (old, new) = letter.change.tuples();
    script.arg(id(letter.id)).arg(letter.change.code()).arg(letter.shape.0).arg(letter.epoch.0).arg(letter.added_at);
    script.arg(old).arg(new).arg(letter.failure.as_ref().map(failure).unwrap_or_default());
}

/// The answer to XRANGE; None when it holds what is no letter.
pub(super) fn letters(answer: Value) -> Option<Vec<Letter>> {
    let entries: Vec<(String, HashMap<String, Vec<u8>>)> = FromRedisValue::from_redis_value(answer).ok()?;
    entries.into_iter().map(letter).collect()
}

fn letter((id, mut fields): (String, HashMap<String, Vec<u8>>)) -> Option<Letter> {
    let (commit_lsn, ordinal) = id.split_once('-')?;
    let id = LetterId { commit_lsn: Lsn(commit_lsn.parse().ok()?), ordinal: ordinal.parse().ok()? };
    let text = |name: &str| std::str::from_utf8(fields.get(name)?).ok();
    let (shape, epoch, added_at) = (text("shape")?.parse(), text("epoch")?.parse(), text("at")?.parse());
    let code = text("op")?.to_owned();
    Some(Letter {
        id,
        shape: ShapeId(shape.ok()?),
        change: LetterChange::from_code(&code, fields.remove("old")?, fields.remove("new")?)?,
        epoch: Epoch(epoch.ok()?),
        added_at: added_at.ok()?,
        failure: None,
    })
}

/// Puts the answer to HMGET into the letters that it was asked for.
pub(super) fn put_failures(answer: Value, letters: &mut [Letter]) -> Option<()> {
    let failures: Vec<Option<String>> = FromRedisValue::from_redis_value(answer).ok()?;
    for (letter, text) in letters.iter_mut().zip(failures) {
        letter.failure = match text {
            Some(text) => Some(serde_json::from_str(&text).ok()?),
            None => None,
        };
    }
    Some(())
}
