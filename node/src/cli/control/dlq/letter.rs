use std::collections::BTreeMap;

use rosetta_proto::v1::{ColumnValue, DeadLetter};
use serde::{Serialize, Serializer};

use super::super::{
    super::table,
    error::one_line,
    words::{or_dash, some, word},
};

/// A letter as it is printed. `values` is there only if asked for.
#[derive(Serialize)]
pub(super) struct Letter {
    id: String,
    pipeline: String,
    destination: String,
    table: String,
    lsn: String,
    ordinal: u64,
    key: Option<serde_json::Value>,
    operation: String,
    error: String,
    error_class: Option<String>,
    attempts: u32,
    first_failed_at: Option<String>,
    last_failed_at: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, Value>,
}

/// What a column of the changed row is.
enum Value {
    Null,
    Text(String),
    Unchanged,
}

const HEADER: [&str; 9] = ["id", "pipeline", "destination", "table", "operation", "key", "attempts", "since", "error"];

impl Letter {
    pub(super) fn new(letter: DeadLetter) -> Letter {
        let operation = word(letter.operation().as_str_name(), "OPERATION_");
        Letter {
            id: letter.id,
            pipeline: letter.pipeline,
            destination: letter.destination,
            table: letter.table,
            lsn: letter.lsn,
            ordinal: letter.ordinal,
            key: key(&letter.key),
            operation,
            error: one_line(&letter.error),
            error_class: some(&letter.error_class),
            attempts: letter.attempts,
            first_failed_at: letter.first_failed_at.map(|at| at.to_string()),
            last_failed_at: letter.last_failed_at.map(|at| at.to_string()),
            values: letter.values.into_iter().map(Value::of).collect(),
        }
    }

    /// All of a letter, a line for each field.
    pub(super) fn page(self) -> String {
        let fields = [
            ("id", self.id),
            ("pipeline", self.pipeline),
            ("destination", self.destination),
            ("table", self.table),
            ("operation", self.operation),
            ("key", or_dash(self.key)),
            ("lsn", self.lsn),
            ("ordinal", self.ordinal.to_string()),
            ("error", self.error),
            ("error class", or_dash(self.error_class)),
            ("attempts", self.attempts.to_string()),
            ("first failed", or_dash(self.first_failed_at)),
            ("last failed", or_dash(self.last_failed_at)),
        ];
        let fields = fields.into_iter().map(|(name, value)| [name.to_owned(), value]);
        let values = self.values.into_iter().map(|(name, value)| [format!("  {name}"), value.cell()]);
        table(["", ""], fields.chain(values), None)
    }

    fn row(self) -> [String; 9] {
        let (key, since) = (or_dash(self.key), or_dash(self.first_failed_at));
        let attempts = self.attempts.to_string();
        [self.id, self.pipeline, self.destination, self.table, self.operation, key, attempts, since, self.error]
    }
}

/// The letters, and how many more there are.
pub(super) fn list(letters: Vec<Letter>, total: u64) -> String {
    let shown = letters.len();
    let mut text = table(HEADER, letters.into_iter().map(Letter::row), None);
    if total > shown as u64 {
        text.push_str(&format!("{shown} of {total}; --limit shows more\n"));
    }
    text
}

/// The key as JSON; as text where a node of another version writes it otherwise.
fn key(text: &str) -> Option<serde_json::Value> {
    some(text).map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
}

impl Value {
    fn of(column: ColumnValue) -> (String, Value) {
        let ColumnValue { name, value, is_unchanged } = column;
        let value = match value {
            Some(text) => Value::Text(text),
            None if is_unchanged => Value::Unchanged,
            None => Value::Null,
        };
        (name, value)
    }

    fn cell(self) -> String {
        match self {
            Value::Null => "NULL".to_owned(),
            Value::Text(text) => format!("'{}'", one_line(&text)),
            Value::Unchanged => "(unchanged)".to_owned(),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_none(),
            Value::Text(text) => serializer.serialize_str(text),
            // No text of PostgreSQL is an object here, so it cannot be taken for a value.
            Value::Unchanged => serde_json::json!({ "unchanged": true }).serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use rosetta_proto::v1::Operation;

    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            id: "17-0".to_owned(),
            pipeline: "orders".to_owned(),
            destination: "mirror".to_owned(),
            table: "public.a".to_owned(),
            lsn: "0/1A".to_owned(),
            ordinal: 2,
            key: r#"{"id":"7"}"#.to_owned(),
            operation: Operation::Update.into(),
            error: "duplicate key\nin a_key".to_owned(),
            attempts: 3,
            ..DeadLetter::default()
        }
    }

    fn column(name: &str, value: Option<&str>, is_unchanged: bool) -> ColumnValue {
        ColumnValue { name: name.to_owned(), value: value.map(str::to_owned), is_unchanged }
    }

    #[test]
    fn json_keeps_its_fields() {
        let value = serde_json::to_value(Letter::new(letter())).unwrap();
        let expected = serde_json::json!({
            "id": "17-0", "pipeline": "orders", "destination": "mirror", "table": "public.a", "lsn": "0/1A",
            "ordinal": 2, "key": { "id": "7" }, "operation": "update", "error": "duplicate key in a_key",
            "error_class": null, "attempts": 3, "first_failed_at": null, "last_failed_at": null,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn null_empty_and_unchanged_differ() {
        let values = vec![column("a", None, false), column("b", Some(""), false), column("c", None, true)];
        let letter = DeadLetter { values, ..letter() };
        let value = serde_json::to_value(Letter::new(letter.clone())).unwrap();
        assert_eq!(value["values"], serde_json::json!({ "a": null, "b": "", "c": { "unchanged": true } }));
        let page = Letter::new(letter).page();
        assert!(page.contains("a           NULL\n") && page.contains("c           (unchanged)\n"), "{page}");
    }

    #[test]
    fn a_list_says_what_it_leaves_out() {
        let text = list(vec![Letter::new(letter())], 5);
        assert!(text.ends_with("1 of 5; --limit shows more\n"), "{text}");
        assert!(text.contains(r#" 17-0  orders    mirror       public.a  update     {"id":"7"}  3 "#), "{text}");
        assert!(!list(vec![Letter::new(letter())], 1).contains("--limit"));
    }
}
