use super::*;
use crate::check::{
    report::Level,
    samples::{definitions, table},
    source_facts::Publication,
};
use crate::{
    pipeline::selection::select,
    schema::{ReplicaIdentity, TableKind},
};

fn facts(tables: Vec<Table>) -> SourceFacts {
    let readable = tables.iter().map(|table| table.oid).collect();
    SourceFacts { version: 15, role: "me".to_owned(), tables, readable, ..SourceFacts::default() }
}

fn problems(pipeline: &str, facts: &SourceFacts) -> Vec<String> {
    let definitions = definitions(pipeline);
    let findings = definitions.pipelines.iter().flat_map(|pipeline| {
        let selection = select(pipeline, &facts.tables, published(pipeline, facts));
        findings(pipeline, &selection, facts)
    });
    findings.filter(|finding| finding.level != Level::Ok).map(|finding| finding.what).collect()
}

fn keyless(oid: u32, name: &str) -> Table {
    Table { identity_columns: Vec::new(), primary_key: Vec::new(), ..table(oid, name) }
}

const ALL: &str = "tables = [\"public.*\"]";

#[test]
fn a_good_table_has_no_problem() {
    assert_eq!(problems(ALL, &facts(vec![table(1, "orders")])), [""; 0]);
}

#[test]
fn a_table_without_identity_is_refused_unless_only_inserts_are_published() {
    let facts = facts(vec![keyless(1, "log")]);
    let refused = "table public.log has no replica identity: once published, its own updates and deletes fail";
    assert_eq!(problems(ALL, &facts), [refused]);
    let inserts = format!("{ALL}\n[[pipeline.table]]\nname = \"log\"\npublish = \"insert\"");
    assert_eq!(problems(&inserts, &facts), [""; 0]);
    let full = Table { identity: ReplicaIdentity::Full, ..keyless(1, "log") };
    assert_eq!(problems(ALL, &self::facts(vec![full])), [""; 0]);
    let publication =
        Publication { name: "u".to_owned(), left_out: vec!["update", "delete"], ..Publication::default() };
    let facts = SourceFacts { publications: vec![publication], ..facts };
    assert_eq!(problems(&format!("{ALL}\npublication = \"u\""), &facts), [""; 0]);
}

#[test]
fn each_partition_needs_an_identity() {
    let root = Table { kind: TableKind::Partitioned, identity: ReplicaIdentity::Full, ..keyless(1, "events") };
    let leaf = Table { partition_of: Some(1), ..keyless(2, "events_1") };
    let facts = facts(vec![root, leaf]);
    let found = problems(ALL, &facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found.iter().all(|what| what.starts_with("table public.events_1 has no replica identity")));
}

#[test]
fn what_leads_to_nothing_is_named() {
    let view = Table { kind: TableKind::View, ..table(9, "sums") };
    let unlogged = Table { unlogged: true, ..table(2, "cache") };
    let facts = facts(vec![table(1, "orders"), unlogged, view]);
    let found = problems("tables = [\"public.*\", \"sums\", \"gone\", \"sales.*\"]", &facts);
    assert_eq!(
        found,
        [
            "table public.sums cannot be replicated",
            "table public.gone does not exist at the source",
            "pattern sales.* selects no table",
            "left out, being views, foreign or unlogged tables (1): public.cache",
        ]
    );
}

#[test]
fn column_lists_hold_the_identity_and_need_a_new_server() {
    let entry = format!("{ALL}\n[[pipeline.table]]\nname = \"orders\"\ncolumns = [\"total\", \"gone\"]");
    let old = SourceFacts { version: 14, ..facts(vec![table(1, "orders")]) };
    assert_eq!(
        problems(&entry, &old),
        [
            "table public.orders has no column \"gone\" that can be replicated",
            "table public.orders: columns leaves out \"id\", which is part of its replica identity",
            "table public.orders has a filter or a column list, which PostgreSQL 14 cannot publish",
        ]
    );
}

#[test]
fn row_security_that_hides_rows_is_a_problem_where_rows_are_copied() {
    let root = Table { kind: TableKind::Partitioned, ..table(1, "events") };
    let leaf = Table { partition_of: Some(1), ..table(2, "events_1") };
    let facts = SourceFacts { limited: [(2, true)].into(), ..facts(vec![root, leaf]) };
    assert_eq!(
        problems(ALL, &facts),
        ["row-level security of table public.events_1 at the source keeps rows from role me"]
    );
    assert_eq!(problems(&format!("{ALL}\nsnapshot = \"never\""), &facts), [""; 0]);
}
