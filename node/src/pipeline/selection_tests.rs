use super::*;
use crate::{
    check::samples::{definitions, table},
    config::Definitions,
};

const ROUTES: &str = r#"
    source = [{ name = "s", url = "postgres://a@b/c" }]
    destination = [{ name = "x", kind = "null" }, { name = "y", kind = "null" }]
    [[pipeline]]
    name = "p"
    source = "s"
    destinations = ["x", "y"]
    tables = ["public.*"]
    [[pipeline.table]]
    name = "public.orders"
    target = "sales.orders"
    destinations = ["y"]
    columns = ["id"]
    [[pipeline.table]]
    name = "public.orders"
    target = "sales.copy"
"#;

fn selection(pipeline: &str, relations: &[Table]) -> Selection {
    let definitions = definitions(pipeline);
    select(definitions.pipelines.first().expect("a pipeline"), relations, Publish::All)
}

fn names(selection: &Selection) -> Vec<&str> {
    selection.tables.iter().map(|selected| selected.table.name.as_str()).collect()
}

fn whats(selection: &Selection) -> Vec<&str> {
    selection.problems.iter().map(|problem| problem.what.as_str()).collect()
}

#[test]
fn entries_replace_the_default_route() {
    let definitions = Definitions::parse(ROUTES, &|_| None).expect("a valid file");
    let pipeline = definitions.pipelines.first().expect("a pipeline");
    let selection = select(pipeline, &[table(1, "items"), table(2, "orders")], Publish::All);
    let route = |route: &Route| format!("{} {} {:?}", route.destination, route.target, route.columns);
    let shown: Vec<Vec<String>> =
        selection.tables.iter().map(|selected| selected.routes.iter().map(route).collect()).collect();
    assert_eq!(
        shown,
        [
            vec!["x public.items None", "y public.items None"],
            vec!["y sales.orders Some([\"id\"])", "x sales.copy None", "y sales.copy None"],
        ]
    );
    assert_eq!(selection.tables.last().and_then(columns), None, "one route wants all");
}

#[test]
fn what_comes_otherwise_is_selected_only_by_its_full_name() {
    let relations = [
        Table { kind: TableKind::Partitioned, ..table(1, "root") },
        Table { partition_of: Some(1), ..table(2, "leaf") },
        Table { extension: Some("postgis".to_owned()), ..table(3, "srs") },
        Table { unlogged: true, ..table(4, "cache") },
        Table { kind: TableKind::View, ..table(5, "sums") },
    ];
    let all = selection("tables = [\"public.*\"]", &relations);
    assert_eq!((names(&all), whats(&all)), (vec!["root"], vec![]));
    assert_eq!(all.left_out, [TableName::new("public", "cache"), TableName::new("public", "sums")]);
    let named = selection("tables = [\"leaf\", \"srs\", \"cache\"]", &relations);
    assert_eq!((names(&named), whats(&named)), (vec!["leaf", "srs"], vec!["table public.cache cannot be replicated"]));
    let twice = selection("tables = [\"public.*\", \"leaf\"]", &relations);
    assert_eq!(whats(&twice), ["table public.leaf is a partition of public.root, and both are selected"]);
}

#[test]
fn every_holder_of_rows_needs_an_identity() {
    let keyless = |oid, name| Table { identity_columns: Vec::new(), ..table(oid, name) };
    let relations = [
        Table { kind: TableKind::Partitioned, ..table(1, "root") },
        Table { kind: TableKind::Partitioned, partition_of: Some(1), ..keyless(2, "middle") },
        Table { partition_of: Some(2), ..keyless(3, "leaf") },
    ];
    let refused = "table public.leaf has no replica identity: once published, its own updates and deletes fail";
    assert_eq!(whats(&selection("tables = [\"public.*\"]", &relations)), [refused]);
    let inserts = "[[pipeline.table]]\nname = \"root\"\npublish = \"insert\"";
    assert_eq!(whats(&selection(inserts, &relations)), [""; 0]);
}

#[test]
fn a_list_of_all_columns_is_no_list() {
    let entry = |columns| format!("[[pipeline.table]]\nname = \"t\"\ncolumns = {columns}");
    let full = [Table { identity: ReplicaIdentity::Full, ..table(1, "t") }];
    let whole = selection(&entry("[\"total\", \"id\"]"), &full);
    assert_eq!((whole.tables.first().and_then(columns), whats(&whole)), (None, vec![]));
    let part = selection(&entry("[\"id\"]"), &full);
    assert_eq!(part.tables.first().and_then(columns), Some(vec!["id".to_owned()]));
    assert_eq!(whats(&part), ["table public.t: columns leaves out some of the replica identity, which is FULL"]);
}

#[test]
fn publications_are_shared_unless_something_is_left_out() {
    let made = |pipeline: &str| -> Vec<(String, bool)> {
        let root = Table { kind: TableKind::Partitioned, ..table(3, "r") };
        let leaf = Table { partition_of: Some(3), ..table(4, "leaf") };
        let selection = selection(pipeline, &[table(1, "t"), table(2, "u"), root, leaf]);
        let made = publications("s", "p", &selection.tables).expect("short names");
        made.into_iter().map(|publication| (publication.name, publication.is_exclusive)).collect()
    };
    assert_eq!(made("tables = [\"public.*\"]"), [("rosetta_s".to_owned(), false)]);
    let inserts = "tables = [\"u\"]\n[[pipeline.table]]\nname = \"t\"\npublish = \"insert\"";
    assert_eq!(made(inserts), [("rosetta_s_p".to_owned(), true), ("rosetta_s_p_inserts".to_owned(), true)]);
    let only_inserts = "[[pipeline.table]]\nname = \"t\"\npublish = \"insert\"";
    assert_eq!(made(only_inserts), [("rosetta_s_inserts".to_owned(), false)]);
    let filtered = "[[pipeline.table]]\nname = \"t\"\nfilter = \"id > 1\"";
    assert_eq!(made(filtered), [("rosetta_s_p".to_owned(), true)]);
    assert_eq!(made("tables = [\"r\"]"), [("rosetta_s".to_owned(), false)]);
    assert_eq!(made("tables = [\"leaf\"]"), [("rosetta_s_p".to_owned(), true)]);
}

#[test]
fn a_filter_reads_only_what_every_holder_s_identity_has() {
    let filtered = "[[pipeline.table]]\nname = \"t\"\nfilter = \"total > 1\"";
    let found = |pipeline: &str, relations: &[Table]| -> Vec<String> {
        let selection = selection(pipeline, relations);
        let selected = selection.tables.first().expect("a table");
        let verdict = Verdict::Reads(vec!["id".to_owned(), "total".to_owned()]);
        let found = filter_problems(selected, &verdict, &PartitionTree::new(relations));
        found.into_iter().map(|problem| problem.what).collect()
    };
    let refused = |holder: &str| {
        format!(
            "table public.t: its filter reads column \"total\", which is not in the replica identity of {holder}, so that \
             updates and deletes at the source would fail"
        )
    };
    let full = Table { identity: ReplicaIdentity::Full, ..table(1, "t") };
    assert_eq!(found(filtered, &[table(1, "t")]), [refused("public.t")]);
    assert_eq!(found(filtered, std::slice::from_ref(&full)), [""; 0]);
    assert_eq!(found(&format!("{filtered}\npublish = \"insert\""), &[table(1, "t")]), [""; 0]);
    let root = Table { kind: TableKind::Partitioned, ..full };
    assert_eq!(found(filtered, &[root, Table { partition_of: Some(1), ..table(2, "leaf") }]), [refused("public.leaf")]);
}
