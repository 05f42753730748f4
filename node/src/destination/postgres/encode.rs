//! Rows in the forms that PostgreSQL takes: COPY text, COPY binary, and arrays as parameters
//! (PostgreSQL docs, "COPY: File Formats" and the array_recv wire form).

use super::layout::{Format, Layout};
use crate::source::pgoutput::{Tuple, Value};

pub(super) const BINARY_COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
pub(super) const BINARY_COPY_TRAILER: &[u8] = &[0xff, 0xff];
const NULL_LENGTH: [u8; 4] = (-1i32).to_be_bytes();
const TEXT_OID: u32 = 25;

/// A tuple that cannot be written in the layout's format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the stream holds a {0} where it must not")]
pub(super) struct EncodeError(pub(super) &'static str);

/// One row of a COPY, in the layout's format.
pub(super) fn copy_row(layout: &Layout, tuple: Tuple<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match layout.format {
        Format::Binary => copy_binary_row(layout, tuple, out),
        Format::Text => copy_text_row(layout, tuple, out),
    }
}

fn copy_binary_row(layout: &Layout, tuple: Tuple<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.extend_from_slice(&(layout.columns.len() as u16).to_be_bytes());
    let mut wanted = layout.columns.iter().map(|column| column.tuple_index).peekable();
    for (index, value) in tuple.values().enumerate() {
        if wanted.next_if_eq(&index).is_none() {
            continue;
        }
        match value {
            Value::Binary(bytes) => length_and_bytes(bytes, out),
            Value::Null => out.extend_from_slice(&NULL_LENGTH),
            Value::Text(_) => return Err(EncodeError("text value in a binary table")),
            Value::Unchanged => return Err(EncodeError("left-out value in a new row")),
        }
    }
    Ok(())
}

fn copy_text_row(layout: &Layout, tuple: Tuple<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut wanted = layout.columns.iter().map(|column| column.tuple_index).peekable();
    let mut first = true;
    for (index, value) in tuple.values().enumerate() {
        if wanted.next_if_eq(&index).is_none() {
            continue;
        }
        if !first {
            out.push(b'\t');
        }
        first = false;
        match value {
            Value::Text(text) => escape(text, out),
            Value::Null => out.extend_from_slice(b"\\N"),
            Value::Binary(_) => return Err(EncodeError("binary value in a text table")),
            Value::Unchanged => return Err(EncodeError("left-out value in a new row")),
        }
    }
    out.push(b'\n');
    Ok(())
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = from.split_first() else { return };
        let letter = match byte {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            other => other,
        };
        out.extend_from_slice(&[b'\\', letter]);
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn length_and_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The wanted columns of many rows, found once: `rows.len() * columns.len()` values, row by row.
pub(super) fn columns_of<'a>(
    tuples: impl Iterator<Item = Tuple<'a>>,
    tuple_indexes: &[usize],
) -> Result<Vec<Value<'a>>, EncodeError> {
    let mut values = Vec::new();
    let last = tuple_indexes.iter().max().map_or(0, |last| last + 1);
    let mut row = Vec::with_capacity(last);
    for tuple in tuples {
        row.clear();
        row.extend(tuple.values().take(last));
        for &index in tuple_indexes {
            values.push(*row.get(index).ok_or(EncodeError("row with too few columns"))?);
        }
    }
    Ok(values)
}

/// A one-dimensional array of `values`, in binary; an array of texts when the table travels as text.
pub(super) fn array<'a>(
    format: Format,
    element_oid: u32,
    values: impl ExactSizeIterator<Item = Value<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let element_oid = if format == Format::Text { TEXT_OID } else { element_oid };
    let count = values.len() as u32;
    for word in [1, 1, element_oid, count, 1] {
        out.extend_from_slice(&u32::to_be_bytes(word));
    }
    for value in values {
        match (value, format) {
            (Value::Null, _) => out.extend_from_slice(&NULL_LENGTH),
            (Value::Binary(bytes), Format::Binary) | (Value::Text(bytes), Format::Text) => length_and_bytes(bytes, out),
            (Value::Binary(_) | Value::Text(_), _) => return Err(EncodeError("value of the other format")),
            (Value::Unchanged, _) => return Err(EncodeError("left-out value that is needed")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_copy_reads_it() {
        let mut out = Vec::new();
        escape(b"a\tb\\c\nd\re", &mut out);
        assert_eq!(out, b"a\\tb\\\\c\\nd\\re");
    }

    #[test]
    fn arrays_carry_their_element_type_and_nulls() {
        let mut out = Vec::new();
        array(Format::Binary, 23, [Value::Binary(&[0, 0, 0, 7]), Value::Null].into_iter(), &mut out).unwrap();
        let expected =
            [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7, 255, 255, 255, 255];
        assert_eq!(out, expected);
    }
}
