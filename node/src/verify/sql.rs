//! The queries of a comparison. Both sides run the same ones, under the settings that every session fixes.

use std::fmt::Write as _;

use super::compare::RowKey;
use crate::{
    postgres::{ident, literal},
    schema::TableName,
};

/// hashtextextended may be negative, and abs() of the least bigint is an error.
const WITHOUT_SIGN: &str = "9223372036854775807";

/// The cursor that [`Relation::declare_rows`] opens.
pub(super) const CURSOR: &str = "rosetta_verify";

/// Longest text of a value that is shown, in characters.
const SHOWN_LENGTH: usize = 200;

/// A column that identifies rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    /// The built-in type by whose values rows are found, so that an index can serve; None: they are found by text.
    pub(super) value_type: Option<String>,
}

/// What of a table is compared, on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) name: TableName,
    pub(super) is_partitioned: bool,
    /// Empty where whole rows are compared.
    pub(super) key: Vec<KeyColumn>,
    /// In the same order on both sides.
    pub(super) columns: Vec<String>,
    /// A condition on the rows, in SQL.
    pub(super) filter: Option<String>,
    /// Whether to hash the UTF-8 form, because the two databases have different encodings.
    pub(super) hash_as_utf8: bool,
}

impl Relation {
    /// Per bucket that has rows: its number, the number of rows, and the sum of their hashes.
    pub(super) fn buckets(&self, count: u32) -> String {
        format!(
            "SELECT (key_hash & {WITHOUT_SIGN}) % {count} AS bucket, count(*), sum(row_hash::numeric) FROM ({}) AS r \
             GROUP BY 1",
            self.rows(None)
        )
    }

    /// Opens a cursor over the rows of some buckets: key hash, row hash, key columns; sorted as `OrderedKey` is.
    pub(super) fn declare_rows(&self, count: u32, buckets: &[u32]) -> String {
        let mut order = "key_hash".to_owned();
        for number in 1..=self.key.len() {
            let _ = write!(order, ", k{number} COLLATE \"C\" NULLS FIRST");
        }
        format!(
            "DECLARE {CURSOR} NO SCROLL CURSOR FOR SELECT * FROM ({}) AS r \
             WHERE (key_hash & {WITHOUT_SIGN}) % {count} = ANY ('{{{}}}'::bigint[]) ORDER BY {order}",
            self.rows(None),
            joined(buckets, ",")
        )
    }

    /// The rows with these keys, and possibly others that are alike: key hash, row hash, key columns.
    pub(super) fn rows_of(&self, keys: &[&RowKey]) -> String {
        self.rows(Some(&self.is_one_of(keys)))
    }

    /// For the rows with one key, one hash per compared column, NULL where the column is.
    pub(super) fn column_hashes(&self, key: &RowKey) -> String {
        let hashes: Vec<String> = self.columns.iter().map(|name| self.hash(&text(name))).collect();
        self.select(&hashes.join(", "), Some(&self.is_one_of(&[key])))
    }

    /// For the rows with one key, the compared columns as text, long ones cut.
    pub(super) fn column_values(&self, key: &RowKey) -> String {
        let values: Vec<String> =
            self.columns.iter().map(|name| format!("pg_catalog.left({}, {SHOWN_LENGTH})", text(name))).collect();
        self.select(&values.join(", "), Some(&self.is_one_of(&[key])))
    }

    fn rows(&self, condition: Option<&str>) -> String {
        let row_hash = self.row_hash();
        let key_hash = if self.key.is_empty() {
            row_hash.clone()
        } else {
            self.hash(&row_text(self.key.iter().map(|column| column.name.as_str())))
        };
        let mut list = format!("{key_hash} AS key_hash, {row_hash} AS row_hash");
        for (column, number) in self.key.iter().zip(1..) {
            let _ = write!(list, ", {} AS k{number}", text(&column.name));
        }
        self.select(&list, condition)
    }

    /// No alias on the table: a filter may name it.
    fn select(&self, list: &str, condition: Option<&str>) -> String {
        // The rows of inheritance children are published as the children's own.
        let only = if self.is_partitioned { "" } else { "ONLY " };
        // The filter goes into lines of its own, so that a comment in it ends with it.
        let filter = self.filter.as_ref().map(|filter| format!("(\n{filter}\n)"));
        let conditions: Vec<&str> = filter.as_deref().into_iter().chain(condition).collect();
        let mut sql = format!("SELECT {list} FROM {only}{}", self.name.sql());
        if !conditions.is_empty() {
            let _ = write!(sql, " WHERE {}", conditions.join(" AND "));
        }
        sql
    }

    fn row_hash(&self) -> String {
        self.hash(&row_text(self.columns.iter().map(String::as_str)))
    }

    fn hash(&self, text: &str) -> String {
        let text = if self.hash_as_utf8 {
            format!("pg_catalog.encode(pg_catalog.convert_to({text}, 'UTF8'), 'hex')")
        } else {
            text.to_owned()
        };
        format!("pg_catalog.hashtextextended({text} COLLATE \"C\", 0)")
    }

    fn is_one_of(&self, keys: &[&RowKey]) -> String {
        let (mut listed, mut conditions, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            match key {
                RowKey::Columns(values) => match values.iter().cloned().collect::<Option<Vec<String>>>() {
                    Some(values) => listed.push(self.listed(&values)),
                    None => conditions.push(self.is_key(values)),
                },
                RowKey::Hash(hash) => hashes.push(*hash),
            }
        }
        if !listed.is_empty() {
            // A list of rows is joined, by an index or a hash; a chain of ORs would be walked for every row.
            let columns: Vec<String> = self.key.iter().map(KeyColumn::expression).collect();
            conditions.push(format!("({}) IN (VALUES {})", columns.join(", "), listed.join(", ")));
        }
        if !hashes.is_empty() {
            conditions.push(format!("{} = ANY ('{{{}}}'::bigint[])", self.row_hash(), joined(&hashes, ",")));
        }
        format!("({})", conditions.join(" OR "))
    }

    fn listed(&self, values: &[String]) -> String {
        let values = self.key.iter().zip(values).map(|(column, value)| column.literal(value));
        format!("({})", values.collect::<Vec<_>>().join(", "))
    }

    /// For a key with a NULL in it, which no list finds.
    fn is_key(&self, values: &[Option<String>]) -> String {
        let columns = self.key.iter().zip(values).map(|(column, value)| match value {
            None => format!("{} IS NULL", ident(&column.name)),
            Some(value) => format!("{} = {}", column.expression(), column.literal(value)),
        });
        format!("({})", columns.collect::<Vec<_>>().join(" AND "))
    }
}

impl KeyColumn {
    fn expression(&self) -> String {
        match self.value_type {
            Some(_) => ident(&self.name),
            None => format!("{} COLLATE \"C\"", text(&self.name)),
        }
    }

    fn literal(&self, value: &str) -> String {
        match &self.value_type {
            Some(value_type) => format!("{}::pg_catalog.{}", literal(value), ident(value_type)),
            None => format!("{}::text", literal(value)),
        }
    }
}

fn text(column: &str) -> String {
    format!("{}::text", ident(column))
}

/// PostgreSQL's composite output quotes its parts, so that different rows cannot read alike, nor NULL and ''.
fn row_text<'a>(columns: impl Iterator<Item = &'a str>) -> String {
    format!("ROW({})::text", columns.map(text).collect::<Vec<_>>().join(", "))
}

fn joined(numbers: &[impl ToString], separator: &str) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Relation {
        Relation {
            name: TableName::new("My \"Shop\"", "or.ders"),
            is_partitioned: false,
            key: vec![KeyColumn { name: "I\"d".to_owned(), value_type: Some("int8".to_owned()) }],
            columns: vec!["I\"d".to_owned(), "to tal".to_owned()],
            filter: Some("total > 0 -- paid".to_owned()),
            hash_as_utf8: false,
        }
    }

    #[test]
    fn every_name_is_quoted() {
        let sql = orders().buckets(16);
        assert!(sql.contains(r#"FROM ONLY "My ""Shop"""."or.ders" WHERE"#), "{sql}");
        assert!(sql.contains(r#"ROW("I""d"::text, "to tal"::text)::text"#), "{sql}");
        assert!(sql.contains("% 16 AS bucket"), "{sql}");
    }

    #[test]
    fn a_comment_in_a_filter_ends_with_it() {
        assert!(orders().buckets(1).contains("WHERE (\ntotal > 0 -- paid\n)) AS r"));
    }

    #[test]
    fn keys_are_quoted_and_null_is_found() {
        let (quote, null) = (RowKey::Columns(vec![Some("o'k\\".to_owned())]), RowKey::Columns(vec![None]));
        let sql = orders().rows_of(&[&quote, &null]);
        assert!(
            sql.ends_with(r#" AND (("I""d" IS NULL) OR ("I""d") IN (VALUES ( E'o''k\\'::pg_catalog."int8")))"#),
            "{sql}"
        );
    }

    #[test]
    fn a_key_of_another_type_is_compared_as_text() {
        let mut orders = orders();
        orders.key = vec![KeyColumn { name: "path".to_owned(), value_type: None }];
        let sql = orders.rows_of(&[&RowKey::Columns(vec![Some("a".to_owned())])]);
        assert!(sql.ends_with(r#"(("path"::text COLLATE "C") IN (VALUES ('a'::text)))"#), "{sql}");
    }

    #[test]
    fn keyless_rows_are_found_by_their_hash() {
        let keyless = Relation { key: Vec::new(), filter: None, is_partitioned: true, ..orders() };
        let sql = keyless.rows_of(&[&RowKey::Hash(-5), &RowKey::Hash(7)]);
        assert!(sql.contains(r#"FROM "My ""Shop"""."or.ders" WHERE"#), "{sql}");
        assert!(sql.ends_with("= ANY ('{-5,7}'::bigint[]))"), "{sql}");
        assert!(keyless.declare_rows(4, &[1, 3]).ends_with("= ANY ('{1,3}'::bigint[]) ORDER BY key_hash"));
    }
}
