//! Letters as people see them: values as PostgreSQL prints them. No I/O.

use std::fmt::Write as _;

use super::{convert::Addressed, letter::LetterChange};
use crate::{
    pipeline::batch::{Operation, RowKey},
    source::pgoutput::{Tuple, Value},
};

/// A column of a letter's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnText {
    Null,
    /// The source did not send it, as the change did not touch it.
    Unchanged,
    Text(String),
}

impl Addressed {
    /// The row's key as a JSON object of texts; empty where the table has none.
    pub fn key_text(&self) -> String {
        let (Some(tuple), RowKey::Columns(key)) = (self.key_tuple(), &self.table.key) else { return String::new() };
        let mut object = serde_json::Map::new();
        for &index in key {
            let column = self.table.relation.columns.get(index);
            let (Some(column), Some(value)) = (column, tuple.values().nth(index)) else { continue };
            let text = match text_of(column.type_oid, value) {
                ColumnText::Text(text) => serde_json::Value::String(text),
                ColumnText::Null | ColumnText::Unchanged => serde_json::Value::Null,
            };
            object.insert(column.name.clone(), text);
        }
        serde_json::Value::Object(object).to_string()
    }

    /// The row's columns: as they are after the change, for a delete as they were before it.
    pub fn columns(&self) -> Vec<(String, ColumnText)> {
        let LetterChange::Row { operation, old, new, .. } = &self.letter.change else { return Vec::new() };
        let tuple = Tuple::from_checked(if *operation == Operation::Delete { old } else { new });
        let columns = self.table.relation.columns.iter().zip(tuple.values());
        columns.map(|(column, value)| (column.name.clone(), text_of(column.type_oid, value))).collect()
    }

    /// The tuple by which the row is found.
    fn key_tuple(&self) -> Option<Tuple<'_>> {
        let LetterChange::Row { operation, old, new, .. } = &self.letter.change else { return None };
        Some(Tuple::from_checked(match operation {
            Operation::Insert | Operation::Update => new,
            Operation::Rekey | Operation::Delete => old,
        }))
    }
}

fn text_of(type_oid: u32, value: Value<'_>) -> ColumnText {
    match value {
        Value::Null => ColumnText::Null,
        Value::Unchanged => ColumnText::Unchanged,
        Value::Text(bytes) => ColumnText::Text(String::from_utf8_lossy(bytes).into_owned()),
        Value::Binary(bytes) => ColumnText::Text(binary_text(type_oid, bytes).unwrap_or_else(|| hex("\\x", bytes))),
    }
}

/// The common types, by their oids in PostgreSQL's catalog (pg_type.dat); the bytes themselves for others.
fn binary_text(type_oid: u32, bytes: &[u8]) -> Option<String> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    match type_oid {
        16 => Some(if bytes.first()? == &0 { "f" } else { "t" }.to_owned()),
        20 => Some(i64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        21 => Some(i16::from_be_bytes(bytes.try_into().ok()?).to_string()),
        23 => Some(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        26 => Some(u32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        700 => Some(f32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        701 => Some(f64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        19 | 25 | 114 | 142 | 1042 | 1043 => text(bytes),
        3802 => text(bytes.strip_prefix(&[1])?),
        2950 => uuid(bytes.try_into().ok()?),
        1700 => numeric(bytes),
        _ => None,
    }
}

fn hex(prefix: &str, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(prefix.len() + 2 * bytes.len());
    text.push_str(prefix);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn uuid(bytes: [u8; 16]) -> Option<String> {
    let digits = hex("", &bytes);
    let parts = [digits.get(..8)?, digits.get(8..12)?, digits.get(12..16)?, digits.get(16..20)?, digits.get(20..)?];
    Some(parts.join("-"))
}

/// Base-10000 digits (numeric_send in PostgreSQL's numeric.c): count, weight of the first, sign, digits after the point.
fn numeric(bytes: &[u8]) -> Option<String> {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
    let (&[count, weight, sign, scale], digits) = words.split_first_chunk::<4>()?;
    match sign {
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let (weight, scale) = (i32::from(weight.cast_signed()), usize::from(scale));
    let digit = |place: i32| -> u16 {
        let index = usize::try_from(weight - place).ok().filter(|index| *index < usize::from(count));
        index.and_then(|index| digits.get(index)).copied().unwrap_or_default()
    };
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", digit(place))).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let groups = i32::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=groups).map(|place| format!("{:04}", digit(-place))).collect();
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_types_read_as_postgres_prints_them() {
        let text = |oid, bytes: &[u8]| text_of(oid, Value::Binary(bytes));
        let is = |text: &str| ColumnText::Text(text.to_owned());
        assert_eq!(text(23, &(-7i32).to_be_bytes()), is("-7"));
        assert_eq!(text(16, &[1]), is("t"));
        assert_eq!(text(17, &[0, 255]), is("\\x00ff"));
        assert_eq!(text(3802, b"\x01{}"), is("{}"));
        assert_eq!(text(2950, &[0x11; 16]), is("11111111-1111-1111-1111-111111111111"));
        assert_eq!(text(23, &[1]), is("\\x01"), "bytes that are no such value are shown as they are");
    }

    #[test]
    fn numerics_keep_every_digit() {
        let number = |weight: i16, sign: u16, scale: u16, digits: &[u16]| {
            let mut bytes = Vec::new();
            for word in [digits.len() as u16, weight.cast_unsigned(), sign, scale].iter().chain(digits) {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            numeric(&bytes).unwrap()
        };
        assert_eq!(number(0, 0, 2, &[12, 3400]), "12.34");
        assert_eq!(number(1, 0x4000, 0, &[1, 0]), "-10000");
        assert_eq!(number(-2, 0, 6, &[1200]), "0.000012");
        assert_eq!(number(0, 0, 3, &[]), "0.000");
        assert_eq!(number(0, 0xC000, 0, &[]), "NaN");
    }
}
