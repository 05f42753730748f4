use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::compare::Kind;
use crate::cli::{self, Output};

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every table that could be compared is the same on both sides, and every table could be compared.
    pub equal: bool,
    pub tables: Vec<TableReport>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// One table on its way to one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    pub pipeline: String,
    pub destination: String,
    /// The source's table, `schema.name`.
    pub table: String,
    /// The destination's table, `schema.name`.
    pub target: String,
    /// Rows as counted; while the source changes, the two counts may be a moment apart.
    pub rows_source: u64,
    pub rows_destination: u64,
    pub equal: bool,
    /// The first differences, at most 20.
    pub differences: Vec<Difference>,
    /// How many keys differ.
    pub differences_total: usize,
    /// False where counting stopped: there are more than `differences_total`.
    pub differences_complete: bool,
    /// Keys that changed at each reading, so that nothing can be said of them.
    pub unsettled: usize,
    pub note: Option<String>,
    /// Why the table could not be compared.
    pub error: Option<String>,
}

/// One key whose rows are not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Key columns and their values as text; `row_hash` where the table has no key.
    pub key: BTreeMap<String, Option<String>>,
    pub kind: Kind,
    /// The columns whose values differ; empty when rows are missing or extra.
    pub columns: Vec<String>,
    /// Both sides' values, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
}

/// The compared columns of a row as text on each side; long values are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Values {
    pub source: BTreeMap<String, Option<String>>,
    pub destination: BTreeMap<String, Option<String>>,
}

impl Report {
    /// The report of these tables.
    pub fn new(tables: Vec<TableReport>, notes: Vec<String>) -> Report {
        Report { equal: tables.iter().all(|table| table.equal), tables, notes }
    }

    /// Whether the exit code is 0.
    pub fn is_ok(&self) -> bool {
        self.equal
    }

    /// The report as text, ended by a line break.
    pub fn render(&self, output: Output) -> String {
        match output {
            Output::Json => cli::json(self),
            Output::Table => self.for_people(),
        }
    }

    fn for_people(&self) -> String {
        let header = ["PIPELINE", "DESTINATION", "TABLE", "ROWS SOURCE", "ROWS DESTINATION", "RESULT"];
        let mut text = cli::table(header, self.tables.iter().map(TableReport::cells), None);
        for table in &self.tables {
            table.explain(&mut text);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let unequal = self.tables.iter().filter(|table| !table.equal).count();
        let plural = if self.tables.len() == 1 { "" } else { "s" };
        let result = if unequal == 0 { "all equal".to_owned() } else { format!("{unequal} not equal") };
        let _ = writeln!(text, "{} table{plural} compared: {result}", self.tables.len());
        text
    }
}

impl TableReport {
    fn cells(&self) -> [String; 6] {
        let table =
            if self.table == self.target { self.table.clone() } else { format!("{} -> {}", self.table, self.target) };
        let result = match (&self.error, self.equal) {
            (Some(_), _) => "not compared".to_owned(),
            (None, true) => "equal".to_owned(),
            (None, false) => format!("{} differ", self.count()),
        };
        let (rows_source, rows_destination) = match self.error {
            Some(_) => ("-".to_owned(), "-".to_owned()),
            None => (self.rows_source.to_string(), self.rows_destination.to_string()),
        };
        [self.pipeline.clone(), self.destination.clone(), table, rows_source, rows_destination, result]
    }

    fn count(&self) -> String {
        let more = if self.differences_complete { "" } else { "more than " };
        format!("{more}{}", self.differences_total)
    }

    fn explain(&self, text: &mut String) {
        let subject = format!("{} at {}", self.target, self.destination);
        if let Some(error) = &self.error {
            let _ = writeln!(text, "{subject}: not compared: {error}");
        }
        if let Some(note) = &self.note {
            let _ = writeln!(text, "{subject}: note: {note}");
        }
        if self.unsettled > 0 {
            let cause = "keys changed at every reading and were left out; compare again under less load";
            let _ = writeln!(text, "{subject}: note: {} {cause}", self.unsettled);
        }
        for difference in &self.differences {
            let _ = writeln!(text, "{subject}: {}", difference.line());
        }
        if self.differences_total > self.differences.len() {
            let _ = writeln!(text, "{subject}: ... {} in all", self.count());
        }
    }
}

impl Difference {
    fn line(&self) -> String {
        let kind = match self.kind {
            Kind::Missing => "missing",
            Kind::Extra => "extra",
            Kind::Different => "different",
        };
        let mut line = format!("{kind} {}", pairs(&self.key));
        if !self.columns.is_empty() {
            let _ = write!(line, " in {}", self.columns.join(", "));
        }
        if let Some(values) = &self.values {
            let _ = write!(line, "; source ({}), destination ({})", pairs(&values.source), pairs(&values.destination));
        }
        line
    }
}

fn pairs(values: &BTreeMap<String, Option<String>>) -> String {
    let shown = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value:?}"),
        None => format!("{name}=NULL"),
    };
    values.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let key = BTreeMap::from([("id".to_owned(), Some("7".to_owned()))]);
        let columns = vec!["total".to_owned()];
        let table = TableReport {
            pipeline: "p".to_owned(),
            destination: "d".to_owned(),
            table: "public.orders".to_owned(),
            target: "sales.orders".to_owned(),
            rows_source: 3,
            rows_destination: 3,
            differences: vec![Difference { key, kind: Kind::Different, columns, values: None }],
            differences_total: 1,
            differences_complete: true,
            ..TableReport::default()
        };
        Report::new(vec![table], Vec::new())
    }

    #[test]
    fn json_has_the_promised_fields() {
        let json: serde_json::Value = serde_json::from_str(&report().render(Output::Json)).expect("JSON");
        assert_eq!(json["equal"], false);
        let table = &json["tables"][0];
        assert_eq!(
            (&table["table"], &table["rows_source"], &table["equal"]),
            (&"public.orders".into(), &3.into(), &false.into())
        );
        let expected = serde_json::json!({"key": {"id": "7"}, "kind": "different", "columns": ["total"]});
        assert_eq!(table["differences"], serde_json::json!([expected]));
    }

    #[test]
    fn people_read_where_it_differs() {
        let text = report().render(Output::Table);
        assert!(text.contains("sales.orders at d: different id=\"7\" in total\n"), "{text}");
        assert!(text.ends_with("1 table compared: 1 not equal\n"), "{text}");
    }
}
