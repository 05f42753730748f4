/// The columns of one row, as they lie in a TupleData: a count, then per column a kind and, for values,
/// a length and the bytes. A `Tuple` is only made from bytes that were checked to have this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    bytes: &'a [u8],
}

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    /// A large value that the change did not touch and the log therefore does not hold.
    Unchanged,
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

impl<'a> Tuple<'a> {
    /// Takes one tuple off the front of `bytes`; None when they do not hold a whole one.
    pub fn split(bytes: &'a [u8]) -> Option<(Tuple<'a>, &'a [u8])> {
        let (count, mut rest) = bytes.split_first_chunk::<2>()?;
        for _ in 0..u16::from_be_bytes(*count) {
            (_, rest) = split_value(rest)?;
        }
        let length = bytes.len() - rest.len();
        let (tuple, rest) = bytes.split_at_checked(length)?;
        Some((Tuple { bytes: tuple }, rest))
    }

    /// A tuple from bytes that `as_bytes` gave.
    pub fn from_checked(bytes: &'a [u8]) -> Tuple<'a> {
        Tuple { bytes }
    }

    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub fn column_count(self) -> usize {
        self.bytes.first_chunk::<2>().map_or(0, |count| usize::from(u16::from_be_bytes(*count)))
    }

    pub fn values(self) -> Values<'a> {
        Values { rest: self.bytes.get(2..).unwrap_or_default() }
    }
}

/// Iterates over the columns of a tuple.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let (value, rest) = split_value(self.rest)?;
        self.rest = rest;
        Some(value)
    }
}

fn split_value(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        b'n' => Some((Value::Null, rest)),
        b'u' => Some((Value::Unchanged, rest)),
        b't' | b'b' => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (value, rest) = rest.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
            Some((if *kind == b't' { Value::Text(value) } else { Value::Binary(value) }, rest))
        }
        _ => None,
    }
}

impl Value<'_> {
    /// Appends this value in a tuple's form.
    pub fn write(self, out: &mut Vec<u8>) {
        let (kind, bytes) = match self {
            Value::Null => return out.push(b'n'),
            Value::Unchanged => return out.push(b'u'),
            Value::Text(bytes) => (b't', bytes),
            Value::Binary(bytes) => (b'b', bytes),
        };
        out.push(kind);
        // A value comes out of a message whose length is an i32.
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = (u8, Vec<u8>)> {
        (prop::sample::select(vec![b'n', b'u', b't', b'b']), prop::collection::vec(any::<u8>(), 0..20))
    }

    proptest! {
        #[test]
        fn values_round_trip(columns in prop::collection::vec(value(), 0..20), tail: Vec<u8>) {
            let values: Vec<Value<'_>> = columns.iter().map(|(kind, bytes)| match kind {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b't' => Value::Text(bytes),
                _ => Value::Binary(bytes),
            }).collect();
            let mut wire = (values.len() as u16).to_be_bytes().to_vec();
            values.iter().for_each(|value| value.write(&mut wire));
            let length = wire.len();
            wire.extend_from_slice(&tail);
            let (tuple, rest) = Tuple::split(&wire).unwrap();
            prop_assert_eq!(tuple.values().collect::<Vec<_>>(), values);
            prop_assert_eq!(rest, &tail[..]);
            prop_assert!(Tuple::split(&wire[..length - 1]).is_none() || length == 2);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            if let Some((tuple, _)) = Tuple::split(&bytes) {
                prop_assert_eq!(tuple.values().count(), tuple.column_count());
            }
        }
    }
}
