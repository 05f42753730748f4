use rosetta_proto::Lsn;

use super::{Begin, Commit, Message, Old, Relation, RelationColumn, Truncate, Tuple};

/// Bytes that are not what `pgoutput` sends.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("pgoutput message '{tag}' cannot be read: {reason}")]
pub struct DecodeError {
    tag: char,
    reason: &'static str,
}

/// Decodes one message of protocol version 1.
///
/// # Errors
/// A message that is cut short or of a kind that this version does not have. Never panics.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let Some((&tag, body)) = bytes.split_first() else {
        return Err(DecodeError { tag: ' ', reason: "it is empty" });
    };
    let body = &mut Reader(body);
    let message = match tag {
        b'B' => begin(body).map(Message::Begin),
        b'C' => commit(body).map(Message::Commit),
        b'R' => relation(body).map(Message::Relation),
        b'I' => insert(body),
        b'U' => update(body),
        b'D' => delete(body),
        b'T' => truncate(body).map(Message::Truncate),
        b'M' => logical(body),
        b'O' | b'Y' => Some(Message::Other),
        _ => return Err(DecodeError { tag: char::from(tag), reason: "its kind is not known" }),
    };
    message.ok_or(DecodeError { tag: char::from(tag), reason: "it is cut short or malformed" })
}

fn begin(body: &mut Reader<'_>) -> Option<Begin> {
    Some(Begin { commit_lsn: body.lsn()?, committed_at: body.i64()?, xid: body.u32()? })
}

fn commit(body: &mut Reader<'_>) -> Option<Commit> {
    let _flags = body.u8()?;
    Some(Commit { commit_lsn: body.lsn()?, end_lsn: body.lsn()?, committed_at: body.i64()? })
}

fn relation(body: &mut Reader<'_>) -> Option<Relation> {
    let (oid, schema, name) = (body.u32()?, body.text()?, body.text()?);
    let identity = body.u8()?;
    let count = body.u16()?;
    let mut columns = Vec::with_capacity(usize::from(count).min(1600));
    for _ in 0..count {
        let is_key = body.u8()? & 1 == 1;
        let name = body.text()?;
        let type_oid = body.u32()?;
        let _type_modifier = body.u32()?;
        columns.push(RelationColumn { name, type_oid, is_key });
    }
    // The protocol writes pg_catalog as an empty name.
    let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
    Some(Relation { oid, schema, name, identity, columns })
}

fn insert<'a>(body: &mut Reader<'a>) -> Option<Message<'a>> {
    let relation = body.u32()?;
    (body.u8()? == b'N').then_some(())?;
    Some(Message::Insert { relation, new: body.tuple()? })
}

fn update<'a>(body: &mut Reader<'a>) -> Option<Message<'a>> {
    let relation = body.u32()?;
    let old = match body.u8()? {
        b'N' => None,
        kind => {
            let old = old(kind, body)?;
            (body.u8()? == b'N').then_some(())?;
            Some(old)
        }
    };
    Some(Message::Update { relation, old, new: body.tuple()? })
}

fn delete<'a>(body: &mut Reader<'a>) -> Option<Message<'a>> {
    let relation = body.u32()?;
    let kind = body.u8()?;
    Some(Message::Delete { relation, old: old(kind, body)? })
}

fn old<'a>(kind: u8, body: &mut Reader<'a>) -> Option<Old<'a>> {
    let is_full = match kind {
        b'O' => true,
        b'K' => false,
        _ => return None,
    };
    Some(Old { is_full, tuple: body.tuple()? })
}

fn truncate(body: &mut Reader<'_>) -> Option<Truncate> {
    let count = body.u32()?;
    let flags = body.u8()?;
    let relations = (0..count).map(|_| body.u32()).collect::<Option<Vec<u32>>>()?;
    Some(Truncate { relations, restart_identity: flags & 2 != 0 })
}

fn logical<'a>(body: &mut Reader<'a>) -> Option<Message<'a>> {
    let _flags = body.u8()?;
    Some(Message::Logical { lsn: body.lsn()? })
}

/// Takes fields off the front of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn lsn(&mut self) -> Option<Lsn> {
        self.array().map(|bytes| Lsn(u64::from_be_bytes(bytes)))
    }

    fn text(&mut self) -> Option<String> {
        let end = memchr::memchr(0, self.0)?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        String::from_utf8(text.to_vec()).ok()
    }

    fn tuple(&mut self) -> Option<Tuple<'a>> {
        let (tuple, rest) = Tuple::split(self.0)?;
        self.0 = rest;
        Some(tuple)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_relation_is_read() {
        let mut wire = vec![b'R', 0, 0, 0, 7];
        wire.extend_from_slice(b"public\0t\0d\0\x02");
        wire.extend_from_slice(b"\x01id\0\0\0\0\x14\xff\xff\xff\xff");
        wire.extend_from_slice(b"\x00v\0\0\0\0\x19\xff\xff\xff\xff");
        let Ok(Message::Relation(relation)) = decode(&wire) else { panic!("not a relation") };
        assert_eq!((relation.oid, relation.schema.as_str(), relation.name.as_str()), (7, "public", "t"));
        let keys: Vec<_> = relation.columns.iter().map(|c| (c.name.as_str(), c.is_key)).collect();
        assert_eq!(keys, [("id", true), ("v", false)]);
    }

    #[test]
    fn an_update_with_its_old_key_is_read() {
        let wire = b"U\0\0\0\x07K\0\x01t\0\0\0\x011N\0\x01t\0\0\0\x012";
        let Ok(Message::Update { relation: 7, old: Some(old), new }) = decode(wire) else { panic!("not an update") };
        assert!(!old.is_full);
        assert_eq!(old.tuple.values().next(), Some(crate::source::pgoutput::Value::Text(b"1")));
        assert_eq!(new.values().next(), Some(crate::source::pgoutput::Value::Text(b"2")));
    }

    proptest! {
        #[test]
        fn never_panics(tag in prop::sample::select(b"BCRIUDTOYMx".to_vec()), body: Vec<u8>) {
            let mut wire = vec![tag];
            wire.extend_from_slice(&body);
            let _ = decode(&wire);
        }

        #[test]
        fn positions_round_trip(commit: u64, end: u64, committed_at: i64) {
            let mut wire = vec![b'C', 0];
            wire.extend_from_slice(&commit.to_be_bytes());
            wire.extend_from_slice(&end.to_be_bytes());
            wire.extend_from_slice(&committed_at.to_be_bytes());
            let expected = Commit { commit_lsn: Lsn(commit), end_lsn: Lsn(end), committed_at };
            prop_assert_eq!(decode(&wire), Ok(Message::Commit(expected)));
        }
    }
}
