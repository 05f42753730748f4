use std::fmt;

use super::{Column, Generated, Identity, Table, TableKind, TableName, TypeKind, Wanted};
use crate::postgres::ident;

/// One way in which a target table does not fit its source, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The target.
    pub table: TableName,
    pub severity: Severity,
    pub what: String,
    pub remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Slow, or rejects some rows.
    Warning,
    /// Rows cannot be written, or not exactly.
    Error,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {}: {}", self.table, self.what, self.remedy)
    }
}

/// What keeps the target from holding exactly the source's rows; `sent` are the source's columns that go there.
/// Empty when it fits.
pub fn fit(wanted: &Wanted, target: &Table, sent: &[&Column]) -> Vec<Misfit> {
    let mut misfits = Misfits { table: target.table_name(), found: Vec::new() };
    misfits.check_kind(target);
    if misfits.found.is_empty() {
        sent.iter().for_each(|column| misfits.check_sent(column, target));
        misfits.check_not_sent(target, sent);
        misfits.check_key(wanted, target);
    }
    misfits.found
}

struct Misfits {
    table: TableName,
    found: Vec<Misfit>,
}

impl Misfits {
    fn error(&mut self, what: String, remedy: String) {
        self.add(Severity::Error, what, remedy);
    }

    fn warning(&mut self, what: String, remedy: String) {
        self.add(Severity::Warning, what, remedy);
    }

    fn add(&mut self, severity: Severity, what: String, remedy: String) {
        self.found.push(Misfit { table: self.table.clone(), severity, what, remedy });
    }

    fn check_kind(&mut self, target: &Table) {
        let kind = match target.kind {
            TableKind::Ordinary | TableKind::Partitioned if target.unlogged => {
                let what = "is unlogged at the destination, so that a crash would empty it".to_owned();
                return self.error(what, format!("ALTER TABLE {} SET LOGGED", self.table.sql()));
            }
            TableKind::Ordinary | TableKind::Partitioned => return,
            TableKind::View => "a view",
            TableKind::MaterializedView => "a materialized view",
            TableKind::Foreign => "a foreign table",
        };
        let remedy = "rename it, or route the source's table to another target".to_owned();
        self.error(format!("is {kind} at the destination"), remedy);
    }

    fn check_sent(&mut self, column: &Column, target: &Table) {
        let (name, sql, quoted) = (&column.name, self.table.sql(), ident(&column.name));
        let Some(at_target) = target.column(name) else {
            let remedy = format!("ALTER TABLE {sql} ADD COLUMN {quoted} {}", column.type_sql);
            return self.error(format!("lacks column {name} at the destination"), remedy);
        };
        if at_target.generated != Generated::No {
            let remedy = format!("make it a plain column (ALTER TABLE {sql} ALTER COLUMN {quoted} DROP EXPRESSION)");
            self.error(format!("generates column {name} at the destination, but the source sends it"), remedy);
        }
        if type_fit(column, at_target) == TypeFit::No {
            let (from, to) = (&column.type_sql, &at_target.type_sql);
            let remedy = format!("ALTER TABLE {sql} ALTER COLUMN {quoted} TYPE {from}");
            self.error(format!("has column {name} of type {to}, which cannot hold the source's {from}"), remedy);
        }
        if at_target.not_null && !column.not_null {
            let remedy = format!("ALTER TABLE {sql} ALTER COLUMN {quoted} DROP NOT NULL");
            self.warning(format!("has column {name} NOT NULL only at the destination, which rejects NULLs"), remedy);
        }
    }

    fn check_not_sent(&mut self, target: &Table, sent: &[&Column]) {
        let is_filled = |column: &Column| {
            let fills_itself = column.default_sql.is_some() || column.identity != Identity::No;
            fills_itself || !column.not_null || sent.iter().any(|sent| sent.name == column.name)
        };
        for column in target.columns.iter().filter(|column| !is_filled(column)) {
            let (name, sql) = (&column.name, self.table.sql());
            let what = format!(
                "has column {name} NOT NULL without a default at the destination, and the source does not send it"
            );
            let remedy = format!("give it a default, or ALTER TABLE {sql} ALTER COLUMN {} DROP NOT NULL", ident(name));
            self.error(what, remedy);
        }
    }

    /// Without the index an update or delete would change every row that has the key, however many there are.
    fn check_key(&mut self, wanted: &Wanted, target: &Table) {
        let key = &wanted.source.identity_columns;
        if wanted.inserts_only || key.is_empty() || has_unique_key(target, key) {
            return;
        }
        let columns = key.iter().map(|name| ident(name)).collect::<Vec<_>>().join(", ");
        let sql = self.table.sql();
        let remedy =
            format!("ALTER TABLE {sql} ADD PRIMARY KEY ({columns}), or CREATE UNIQUE INDEX ON {sql} ({columns})");
        let key = key.join(", ");
        self.error(format!("has no unique index on the source's key ({key}) at the destination"), remedy);
    }
}

/// Whether some unique index is over columns of `key` only, so that a key leads to at most one row.
pub(super) fn has_unique_key(target: &Table, key: &[String]) -> bool {
    target.unique_indexes.iter().any(|index| index.columns.iter().all(|column| key.contains(column)))
}

/// Whether one type can hold another's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeFit {
    /// The same type: the same bytes, in either format.
    Same,
    /// Another type that holds the value when it reads its text.
    ByText,
    No,
}

pub(super) fn type_fit(source: &Column, target: &Column) -> TypeFit {
    let modifier = |fits: bool, fit: TypeFit| if fits { fit } else { TypeFit::No };
    if is_same_type(source, target) {
        return modifier(modifier_fits(built_in(target), source.type_modifier, target.type_modifier), TypeFit::Same);
    }
    let is_label = source.type_kind == TypeKind::Enum || source.type_extension.as_deref() == Some("citext");
    match (built_in(source), built_in(target)) {
        ("int2", "int4" | "int8") | ("int4", "int8") => TypeFit::ByText,
        ("varchar" | "bpchar" | "name", "text") => TypeFit::ByText,
        ("varchar", "bpchar") => TypeFit::No, // it pads
        ("bpchar", "varchar") => {
            modifier(modifier_fits("varchar", source.type_modifier, target.type_modifier), TypeFit::ByText)
        }
        ("text" | "name", "varchar") => modifier(target.type_modifier < 0, TypeFit::ByText),
        (_, "text" | "varchar") if is_label && !source.is_array => modifier(target.type_modifier < 0, TypeFit::ByText),
        _ => TypeFit::No,
    }
}

/// An extension may live in another schema on each server.
fn is_same_type(source: &Column, target: &Column) -> bool {
    let same_extension = source.type_extension.is_some() && source.type_extension == target.type_extension;
    source.type_name == target.type_name && (source.type_schema == target.type_schema || same_extension)
}

/// A built-in type's name; empty for other types.
fn built_in(column: &Column) -> &str {
    if column.type_schema == "pg_catalog" { &column.type_name } else { "" }
}

/// Whether a type's modifier allows at least what another allows; -1 is none.
fn modifier_fits(type_name: &str, source: i32, target: i32) -> bool {
    if source == target || target < 0 {
        return true;
    }
    match type_name.trim_start_matches('_') {
        "varchar" | "bpchar" | "varbit" => source >= 0 && source <= target,
        "numeric" => source >= 0 && numeric_fits(source, target),
        // The number of fractional digits; 6 is the most and the default.
        "timestamp" | "timestamptz" | "time" | "timetz" => target >= 6 || (0..=target).contains(&source),
        _ => false,
    }
}

/// The modifier is (precision << 16 | scale) + 4, the scale of 11 bits with sign (PostgreSQL, numeric.c).
fn numeric_fits(source: i32, target: i32) -> bool {
    let digits = |modifier: i32| {
        let packed = modifier - 4;
        let scale = ((packed & 0x7ff) ^ 1024) - 1024;
        ((packed >> 16) & 0xffff, scale)
    };
    let ((source_precision, source_scale), (precision, scale)) = (digits(source), digits(target));
    scale >= source_scale && precision - scale >= source_precision - source_scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::examples::{column, table};

    fn misfits(target: &Table) -> Vec<(Severity, String)> {
        let source = table(vec![column("id", "int4", -1), column("a", "text", -1)]);
        let wanted = Wanted { target: source.table_name(), source, columns: None, inserts_only: false };
        found(&wanted, target)
    }

    fn found(wanted: &Wanted, target: &Table) -> Vec<(Severity, String)> {
        let sent: Vec<_> = wanted.sent_columns().collect();
        fit(wanted, target, &sent).into_iter().map(|misfit| (misfit.severity, misfit.to_string())).collect()
    }

    /// The single misfit of a target, which must be of the given severity and say the given words.
    fn assert_misfit(target: &Table, severity: Severity, words: &str) {
        let found = misfits(target);
        assert!(found.len() == 1 && found.iter().all(|(s, text)| *s == severity && text.contains(words)), "{found:?}");
    }

    #[test]
    fn a_table_fits_its_likeness_and_a_wider_one() {
        let spare = Column { not_null: true, default_sql: Some("now()".to_owned()), ..column("b", "text", -1) };
        assert_eq!(misfits(&table(vec![column("a", "text", -1), column("id", "int8", -1), spare])), []);
    }

    #[test]
    fn each_misfit_is_found() {
        let id = || column("id", "int4", -1);
        let a = || column("a", "text", -1);
        assert_misfit(&table(vec![id()]), Severity::Error, "lacks column a");
        assert_misfit(&table(vec![id(), column("a", "jsonb", -1)]), Severity::Error, "cannot hold the source's text");
        let generated = Column { generated: Generated::Stored, ..a() };
        assert_misfit(&table(vec![id(), generated]), Severity::Error, "DROP EXPRESSION");
        let strict = Column { not_null: true, ..column("b", "text", -1) };
        assert_misfit(&table(vec![id(), a(), strict]), Severity::Error, "column b NOT NULL without a default");
        let strict = Column { not_null: true, ..a() };
        assert_misfit(&table(vec![id(), strict]), Severity::Warning, "rejects NULLs");
        let view = Table { kind: TableKind::View, ..table(vec![]) };
        assert_misfit(&view, Severity::Error, "is a view at the destination");
        let unlogged = Table { unlogged: true, ..table(vec![id(), a()]) };
        assert_misfit(&unlogged, Severity::Error, "SET LOGGED");
        let keyless = Table { unique_indexes: vec![], ..table(vec![id(), a()]) };
        assert_misfit(&keyless, Severity::Error, "CREATE UNIQUE INDEX ON \"public\".\"t\" (\"id\")");
        let source = table(vec![id(), a()]);
        let inserts = Wanted { target: source.table_name(), source, columns: None, inserts_only: true };
        assert_eq!(found(&inserts, &keyless), []);
    }

    fn types(source: (&str, i32), target: (&str, i32)) -> TypeFit {
        type_fit(&column("a", source.0, source.1), &column("a", target.0, target.1))
    }

    #[test]
    fn lengths_may_grow_but_not_shrink() {
        assert_eq!(types(("varchar", 14), ("varchar", 24)), TypeFit::Same);
        assert_eq!(types(("varchar", 14), ("varchar", -1)), TypeFit::Same);
        assert_eq!(types(("varchar", 24), ("varchar", 14)), TypeFit::No);
        assert_eq!(types(("varchar", -1), ("varchar", 14)), TypeFit::No);
        assert_eq!(types(("bit", 8), ("bit", 9)), TypeFit::No);
        assert_eq!(types(("_varchar", 14), ("_varchar", 24)), TypeFit::Same);
        assert_eq!(types(("timestamptz", -1), ("timestamptz", 6)), TypeFit::Same);
        assert_eq!(types(("timestamptz", -1), ("timestamptz", 3)), TypeFit::No);
        assert_eq!(types(("timestamptz", 3), ("timestamptz", 4)), TypeFit::Same);
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        let numeric = |precision: i32, scale: i32| ("numeric", ((precision << 16) | (scale & 0x7ff)) + 4);
        assert_eq!(types(numeric(10, 2), numeric(12, 4)), TypeFit::Same);
        assert_eq!(types(numeric(10, 2), numeric(11, 4)), TypeFit::No, "one digit fewer before the point");
        assert_eq!(types(numeric(10, 2), numeric(12, 1)), TypeFit::No);
        assert_eq!(types(numeric(3, -2), numeric(5, 0)), TypeFit::Same, "negative scale");
        assert_eq!(types(("numeric", -1), numeric(100, 50)), TypeFit::No);
    }

    #[test]
    fn other_types_hold_a_value_only_by_its_text() {
        assert_eq!(types(("int2", -1), ("int8", -1)), TypeFit::ByText);
        assert_eq!(types(("int8", -1), ("int4", -1)), TypeFit::No);
        assert_eq!(types(("varchar", 14), ("text", -1)), TypeFit::ByText);
        assert_eq!(types(("text", -1), ("varchar", -1)), TypeFit::ByText);
        assert_eq!(types(("text", -1), ("varchar", 14)), TypeFit::No);
        assert_eq!(types(("text", -1), ("bpchar", -1)), TypeFit::No);
        assert_eq!(types(("json", -1), ("jsonb", -1)), TypeFit::No);
    }

    #[test]
    fn an_extension_may_live_elsewhere_and_labels_are_text() {
        let citext = |schema: &str| Column {
            type_schema: schema.to_owned(),
            type_extension: Some("citext".to_owned()),
            ..column("a", "citext", -1)
        };
        assert_eq!(type_fit(&citext("public"), &citext("extensions")), TypeFit::Same);
        assert_eq!(type_fit(&citext("public"), &column("a", "text", -1)), TypeFit::ByText);
        let color = |schema: &str| Column {
            type_schema: schema.to_owned(),
            type_kind: TypeKind::Enum,
            ..column("a", "color", -1)
        };
        assert_eq!(type_fit(&color("a"), &column("a", "text", -1)), TypeFit::ByText);
        assert_eq!(type_fit(&color("a"), &color("b")), TypeFit::No);
    }
}
