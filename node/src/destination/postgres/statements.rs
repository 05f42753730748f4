use std::fmt::Write as _;

use foldhash::{HashMap, HashMapExt};
use postgres_protocol::message::frontend;

use super::{
    layout::{Format, Layout, LayoutColumn, LayoutKey},
    net_effect::Unchanged,
    requests::Failure,
};
use crate::postgres::Connection;

/// A statement that is prepared once per session and table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// One row, all columns.
    InsertRow,
    /// One row by its key; the key's columns and those that are unchanged are left alone.
    UpdateRow(Unchanged),
    /// One row by its old key, which changes.
    RekeyRow(Unchanged),
    DeleteRow,
    /// Many rows by key; a parameter is an array, a column's values of all rows.
    UpdateSet(Unchanged),
    DeleteSet,
}

/// The statements that this session has prepared.
#[derive(Debug, Default)]
pub(super) struct Statements {
    names: HashMap<(u32, Shape), String>,
}

impl Statements {
    /// The name of the statement, preparing it in the pipeline of requests when it is new.
    pub(super) fn name(
        &mut self,
        connection: &mut Connection,
        layout: &Layout,
        shape: Shape,
    ) -> Result<String, Failure> {
        let key = (layout.id, shape);
        if let Some(name) = self.names.get(&key) {
            return Ok(name.clone());
        }
        let name = format!("s{}", self.names.len());
        frontend::parse(&name, &key.1.sql(layout), [], connection.out())?;
        self.names.insert(key, name.clone());
        Ok(name)
    }

    /// After a failure it is not known which exist.
    pub(super) fn forget(&mut self) {
        self.names = HashMap::new();
    }
}

impl Shape {
    /// The columns whose values are the statement's parameters, in order. An update of a row has its
    /// key's old values after these.
    pub(super) fn parameters<'a>(&self, layout: &'a Layout) -> Vec<&'a LayoutColumn> {
        match self {
            Shape::InsertRow => layout.columns.iter().collect(),
            Shape::UpdateRow(unchanged) => written(layout, unchanged).filter(|column| !layout.is_key(column)).collect(),
            Shape::RekeyRow(unchanged) => written(layout, unchanged).collect(),
            Shape::UpdateSet(unchanged) => {
                let others = written(layout, unchanged).filter(|column| !layout.is_key(column));
                layout.key_columns().chain(others).collect()
            }
            Shape::DeleteRow => row_identity(layout),
            Shape::DeleteSet => layout.key_columns().collect(),
        }
    }

    fn sql(&self, layout: &Layout) -> String {
        let table = &layout.table_sql;
        match self {
            Shape::InsertRow => {
                let values = (1..=layout.columns.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
                format!("INSERT INTO {table} ({}) OVERRIDING SYSTEM VALUE VALUES ({values})", layout.column_list())
            }
            Shape::UpdateRow(_) | Shape::RekeyRow(_) => {
                let written = self.parameters(layout);
                let set = written.iter().enumerate().map(|(i, c)| format!("{} = ${}", c.name_sql, i + 1));
                let set = set.collect::<Vec<_>>().join(", ");
                format!("UPDATE {table} AS d SET {set} WHERE {}", row_condition(layout, written.len()))
            }
            Shape::DeleteRow => format!("DELETE FROM {table} AS d WHERE {}", row_condition(layout, 0)),
            Shape::UpdateSet(_) => self.update_set_sql(layout),
            Shape::DeleteSet => {
                let keys = self.parameters(layout);
                format!("DELETE FROM {table} AS d USING {} WHERE {}", unnest(layout, &keys), join(layout, &keys))
            }
        }
    }

    fn update_set_sql(&self, layout: &Layout) -> String {
        let columns = self.parameters(layout);
        let keys: Vec<_> = columns.iter().copied().filter(|column| layout.is_key(column)).collect();
        let mut set = String::new();
        for (index, column) in columns.iter().enumerate().skip(keys.len()) {
            let comma = if set.is_empty() { "" } else { ", " };
            let _ = write!(set, "{comma}{} = {}", column.name_sql, element(layout, index, column));
        }
        format!(
            "UPDATE {} AS d SET {set} FROM {} WHERE {}",
            layout.table_sql,
            unnest(layout, &columns),
            join(layout, &keys)
        )
    }
}

/// The columns that identify one row of the table: its key, or all.
pub(super) fn row_identity(layout: &Layout) -> Vec<&LayoutColumn> {
    match layout.key {
        LayoutKey::Columns(_) => layout.key_columns().collect(),
        LayoutKey::WholeRow | LayoutKey::None => layout.columns.iter().collect(),
    }
}

fn written<'a>(layout: &'a Layout, unchanged: &[usize]) -> impl Iterator<Item = &'a LayoutColumn> {
    layout.columns.iter().filter(move |column| !unchanged.contains(&column.tuple_index))
}

/// Finds one row by parameters after the first `before`. Without a key exactly one of the rows that equal
/// the old one to the bit (`*=`, PostgreSQL docs, "Composite Type Comparison") is taken.
fn row_condition(layout: &Layout, before: usize) -> String {
    let columns = row_identity(layout);
    let numbered = columns.iter().enumerate().map(|(index, column)| (column, before + index + 1));
    if matches!(layout.key, LayoutKey::Columns(_)) {
        let terms = numbered.map(|(column, n)| format!("d.{} = ${n}", column.name_sql));
        return terms.collect::<Vec<_>>().join(" AND ");
    }
    let values = numbered.map(|(column, n)| format!("${n}::{}", column.type_sql)).collect::<Vec<_>>().join(", ");
    let names = columns.iter().map(|column| format!("f.{}", column.name_sql)).collect::<Vec<_>>().join(", ");
    format!(
        "(d.tableoid, d.ctid) = (SELECT f.tableoid, f.ctid FROM {} AS f \
         WHERE ROW({names})::record OPERATOR(pg_catalog.*=) ROW({values})::record LIMIT 1)",
        layout.table_sql
    )
}

/// `unnest($1::…, $2::…) AS s(c0, c1)`.
fn unnest(layout: &Layout, columns: &[&LayoutColumn]) -> String {
    let arrays = columns.iter().enumerate().map(|(index, column)| match layout.format {
        Format::Binary => format!("${}::{}[]", index + 1, column.type_sql),
        Format::Text => format!("${}::pg_catalog.text[]", index + 1),
    });
    let names = (0..columns.len()).map(|index| format!("c{index}")).collect::<Vec<_>>().join(", ");
    format!("unnest({}) AS s({names})", arrays.collect::<Vec<_>>().join(", "))
}

fn join(layout: &Layout, keys: &[&LayoutColumn]) -> String {
    let terms =
        keys.iter().enumerate().map(|(index, key)| format!("d.{} = {}", key.name_sql, element(layout, index, key)));
    terms.collect::<Vec<_>>().join(" AND ")
}

fn element(layout: &Layout, index: usize, column: &LayoutColumn) -> String {
    match layout.format {
        Format::Binary => format!("s.c{index}"),
        Format::Text => format!("s.c{index}::{}", column.type_sql),
    }
}
