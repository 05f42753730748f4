//! Every type, to the last byte, by the copy and by the stream.
//!
//! Each family is one table: `id` and one column per type. Row n holds the n-th edge value of every column; the last
//! row is all NULL. Half of the rows are there before the copy; the others, and updates of all, come by the stream.

use rosetta_tests::{DB, Options, Pair, Postgres, Table};

mod builtin;
mod custom;

/// A column: its type, and SQL literals of its edge values. One that begins with `=` is an expression.
type Column = (&'static str, &'static [&'static str]);

struct Family {
    table: &'static str,
    columns: Vec<Column>,
}

/// Where the rows that come by the stream begin.
const STREAMED: usize = 1000;

impl Family {
    fn rows(&self) -> usize {
        self.columns.iter().map(|(_, values)| values.len()).max().unwrap_or(0) + 1
    }

    fn create(&self) -> String {
        let columns: Vec<String> =
            self.columns.iter().enumerate().map(|(i, (name, _))| format!("c{i} {name}")).collect();
        format!("create table {} (id int primary key, {})", self.table, columns.join(", "))
    }

    /// One statement per row.
    fn inserts(&self, first_id: usize) -> Vec<String> {
        (0..self.rows())
            .map(|row| {
                let values = self.columns.iter().map(|(name, values)| value(name, values, row, self.rows()));
                let values: Vec<String> = values.collect();
                format!("insert into {} values ({}, {})", self.table, first_id + row, values.join(", "))
            })
            .collect()
    }

    /// Every row takes the values of the next one, one row changes its key, one goes.
    fn updates(&self) -> Vec<String> {
        let targets: Vec<String> = (0..self.columns.len()).map(|i| format!("c{i} = o.c{i}")).collect();
        let (table, rows) = (self.table, self.rows());
        vec![
            format!(
                "update {table} t set {} from {table} o where t.id >= {STREAMED} \
                 and o.id = (t.id - {STREAMED} + 1) % {rows}",
                targets.join(", ")
            ),
            format!(
                "update {table} t set {} from {table} o where t.id < {STREAMED} \
                 and o.id = {STREAMED} + (t.id + 1) % {rows}",
                targets.join(", ")
            ),
            format!("update {table} set id = id + 5000 where id in (0, {STREAMED})"),
            format!("delete from {table} where id in (1, {})", STREAMED + 1),
        ]
    }
}

fn value(type_name: &str, values: &[&str], row: usize, rows: usize) -> String {
    if row + 1 == rows {
        return "null".to_owned();
    }
    let value = values[row % values.len()];
    match value.strip_prefix('=') {
        Some(expression) => format!("({expression})::{type_name}"),
        None => format!("'{}'::{type_name}", value.replace('\'', "''")),
    }
}

/// The literals are written for these, whatever the server is set to.
const WRITER_SETTINGS: &str = "-c search_path=public -c DateStyle=ISO,MDY -c IntervalStyle=postgres -c TimeZone=UTC \
     -c extra_float_digits=1 -c bytea_output=hex -c xmloption=content";

async fn execute(server: &Postgres, statements: &[String]) {
    let client = server.try_client(DB, WRITER_SETTINGS).await.expect("connect");
    for statement in statements {
        if let Err(e) = client.batch_execute(statement).await {
            let start: String = statement.chars().take(500).collect();
            panic!("{}\n  in: {start}", rosetta_tests::postgres::explain(&e));
        }
    }
}

/// Copies half of the rows and streams the rest. Keyed tables find rows by their key; with `full`, by all values.
async fn round_trip(pair: &Pair, families: &[Family], full: bool) {
    for family in families {
        execute(&pair.source, &[family.create()]).await;
        if full {
            execute(&pair.source, &[format!("alter table {} replica identity full", family.table)]).await;
        }
        execute(&pair.source, &family.inserts(0)).await;
    }
    let tables: Vec<Table> = families.iter().map(|f| Table::same(&format!("public.{}", f.table))).collect();
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&tables).await;
    for family in families {
        execute(&pair.source, &family.inserts(STREAMED)).await;
    }
    pair.settle(&tables).await;
    for family in families {
        execute(&pair.source, &family.updates()).await;
    }
    pair.settle(&tables).await;
}

/// Settings that would change the text of values, were they not fixed by whoever reads and writes them.
fn odd_settings() -> Options {
    [
        ("DateStyle", "German, DMY"),
        ("IntervalStyle", "iso_8601"),
        ("TimeZone", "America/St_Johns"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-5"),
        ("search_path", "odd"),
        ("xmloption", "document"),
    ]
    .into_iter()
    .fold(Options::default(), |options, (name, value)| options.set(name, value))
}
