use std::time::Duration;

use super::*;

const BASE: &str = r#"[[source]]
name = "shop"
url = "postgres://rosetta:${SHOP_PASSWORD}@db.example:5432/shop?sslmode=verify-full"
[[source]]
name = "crm"
url = "${CRM_URL}"
[[destination]]
name = "mirror"
kind = "postgres"
url = "postgresql://mirror.example/shop"
[[destination]]
name = "count"
kind = "null"
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "SHOP_PASSWORD" => Some("a\"b@c/d".to_owned()),
        "CRM_URL" => Some("postgres://crm:p%40@crm.example/crm".to_owned()),
        "TABLE" => Some("public.a\nb".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Definitions, ConfigError> {
    Definitions::parse(text, &environment)
}

/// The message for what follows `BASE`, its line counted from the first line of `text`.
fn message(text: &str) -> String {
    let blank_lines = "\n".repeat(1000 - BASE.lines().count());
    match parse(&format!("{BASE}{blank_lines}{text}")) {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string().replace("line 100", "line "),
    }
}

#[test]
fn the_whole_file() {
    let text = format!(
        "{BASE}{}",
        r#"
[[pipeline]]
name = "orders"
source = "shop"
destinations = ["mirror", "count"]
tables = ["public.*", "!public.audit_*"]
snapshot = "never"
apply_workers = 4
slot = "my_slot"
publication = "My Publication"
[[pipeline.table]]
name = "public.orders"
target = "sales.orders"
columns = ["id", "total"]
filter = "total > 0 AND name ~ '^a$'"
destinations = ["mirror"]
publish = "insert"
[[pipeline.table]]
name = 'crm."Other Table"'
[[pipeline]]
name = "small"
source = "crm"
destinations = ["count"]
[[pipeline.table]]
name = "notes"
"#
    );
    let defined = parse(&text).expect("valid");
    let url = |name| defined.source(name).map(|source| source.url.expose());
    assert_eq!(url("shop"), Some("postgres://rosetta:a%22b%40c%2Fd@db.example:5432/shop?sslmode=verify-full"));
    assert_eq!(url("crm"), Some("postgres://crm:p%40@crm.example/crm"));
    assert_eq!(url("other"), None);
    assert_eq!(defined.destination("count").map(|count| &count.kind), Some(&DestinationKind::Null));
    assert!(!format!("{defined:?}").contains("example"), "a URL shows in Debug");

    let table = |text: &str| text.parse::<TableName>().expect("a table name");
    let orders = &defined.pipelines[0];
    assert_eq!((orders.name.as_str(), orders.source.as_str()), ("orders", "shop"));
    assert_eq!(orders.destinations, ["mirror", "count"]);
    assert_eq!((orders.snapshot, orders.apply_workers), (SnapshotMode::Never, 4));
    assert_eq!((orders.slot.as_str(), orders.publication.as_deref()), ("my_slot", Some("My Publication")));
    assert!(orders.tables.matches(&table("anything")) && !orders.tables.matches(&table("audit_log")));
    assert!(orders.tables.matches(&table("crm.\"Other Table\"")) && !orders.tables.matches(&table("crm.other")));
    let route = TableEntry {
        name: table("public.orders"),
        target: Some(table("sales.orders")),
        columns: Some(vec!["id".to_owned(), "total".to_owned()]),
        filter: Some("total > 0 AND name ~ '^a$'".to_owned()),
        destinations: Some(vec!["mirror".to_owned()]),
        publish: Publish::Insert,
    };
    assert_eq!(orders.entries[0], route);
    let small = &defined.pipelines[1];
    assert_eq!((small.snapshot, small.apply_workers), (SnapshotMode::Initial, 1));
    assert_eq!((small.slot.as_str(), small.publication.as_deref()), ("rosetta_small", None));
    assert_eq!(small.tables.exact_names(), [&table("public.notes")]);
    let plain = TableEntry {
        name: table("public.notes"),
        target: None,
        columns: None,
        filter: None,
        destinations: None,
        publish: Publish::All,
    };
    assert_eq!(small.entries, [plain]);
}

#[test]
fn quantities_carry_their_units() {
    let limits = |line: &str| {
        let text = format!(
            "source = [{{ name = \"s\", url = \"postgres://a@b/c\" }}]\ndestination = [{{ name = \"d\", kind = \"null\" }}]\n\
             [[pipeline]]\nname = \"p\"\nsource = \"s\"\ndestinations = [\"d\"]\ntables = [\"public.*\"]\n{line}\n"
        );
        Definitions::parse(&text, &|_| None).map(|found| found.pipelines[0].spill).map_err(|error| error.to_string())
    };
    let defaults = SpillLimits::default();
    assert_eq!(limits(""), Ok(defaults));
    assert_eq!(limits("spill_after = \"250ms\""), Ok(SpillLimits { after: Duration::from_millis(250), ..defaults }));
    assert_eq!(limits("max_slot_wal = \"2 GB\""), Ok(SpillLimits { max_slot_wal: 2 << 30, ..defaults }));
    assert_eq!(limits("max_dead_letters = \"7MB\""), Ok(SpillLimits { max_bytes: 7 << 20, ..defaults }));
    for wrong in ["30", "s", "0s", "-1s", "1.5s", "5gb", ""] {
        let error = limits(&format!("spill_after = \"{wrong}\"")).unwrap_err();
        assert!(error.contains("spill_after") && error.contains("use one of s, ms, m, h"), "{error}");
    }
}

#[test]
fn keys_values_and_variables() {
    let cases = [
        ("[[source]]\nname = \"a\"\nulr = \"x\"", "line 3, column 1: unknown key 'ulr'; known keys here: name, url"),
        (
            "[[sources]]",
            "line 1, column 3: unknown key 'sources'; known keys here: allow_volatile_dead_letters, source, destination, pipeline",
        ),
        (
            "[[pipeline]]\nname = \"a\"\n  tabels = [\"public.*\"]",
            "line 3, column 3: unknown key 'tabels'; known keys here: name, source, destinations, tables, snapshot, \
             apply_workers, slot, publication, spill_after, max_slot_wal, max_dead_letters, table",
        ),
        (
            "[[pipeline]]\nname = \"a\"\n[[pipeline.table]]\nname = \"b\"\n[[pipeline.table]]\ncolumn = [\"é\"]",
            "line 6, column 1: unknown key 'column'; known keys here: name, target, columns, filter, destinations, publish",
        ),
        ("[[source]]\nname = 5", "line 2, column 8: invalid type: integer `5`, expected a string"),
        (
            "[[pipeline]]\ndestinations = \"postgres://u:secret@h\"",
            "line 2, column 16: invalid type: a string, expected a sequence",
        ),
        ("[[source]]\nname = \"a\"\nname = \"b\"", "line 3, column 1: duplicate key"),
        ("[[source]]\nname = \"a", "line 2, column 10: invalid basic string, expected `\"`"),
        (
            "[[source]]\nname = \"a\"\nurl = \"postgres://u:${NONE}@h\"",
            "line 3, column 7: environment variable NONE is not set; set it, or write $${ for a literal ${",
        ),
        (
            "[[source]]\nname = \"${a b}\"",
            "line 2, column 8: \"${a b}\" is not the name of a variable; use letters, digits and _, or write $${ for a literal ${",
        ),
        (
            "[[source]]\nname = \"${SHOP\"",
            "line 2, column 8: \"${\" is not closed; write ${NAME}, or $${ for a literal ${",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(message(text), expected, "{text}");
    }
}

#[test]
fn sources_and_destinations() {
    let cases = [
        ("[[source]]\nurl = \"\"", "line 1, column 1: source: key 'name' is missing; add name = \"NAME\""),
        (
            "[[source]]\nname = \"a b\"",
            "line 2, column 8: source name \"a b\" is not usable; use 1 to 63 of A-Z, a-z, 0-9, _ and -",
        ),
        (
            "[[source]]\nname = \"a\"",
            "line 1, column 1: source \"a\": key 'url' is missing; add url = \"postgres://USER:PASSWORD@HOST/DATABASE\"",
        ),
        (
            "[[source]]\nname = \"a\"\nurl = \"mysql://u:secret@h\"",
            "line 3, column 7: source \"a\": url is not a PostgreSQL one; begin it with postgres:// or postgresql://",
        ),
        (
            "[[source]]\nname = \"shop\"\nurl = \"postgres://h\"",
            "line 1, column 1: source \"shop\" is defined twice; rename or remove one",
        ),
        (
            "[[destination]]\nname = \"\"",
            "line 2, column 8: destination name \"\" is not usable; use 1 to 63 of A-Z, a-z, 0-9, _ and -",
        ),
        (
            "[[destination]]\nname = \"d\"",
            "line 1, column 1: destination \"d\": key 'kind' is missing; add kind = \"postgres\"",
        ),
        (
            "[[destination]]\nname = \"d\"\nkind = \"postgres\"",
            "line 1, column 1: destination \"d\": key 'url' is missing; add url = \"postgres://USER:PASSWORD@HOST/DATABASE\"",
        ),
        (
            "[[destination]]\nname = \"d\"\nkind = \"null\"\nurl = \"x\"",
            "line 4, column 7: destination \"d\": kind \"null\" connects to nothing; remove url",
        ),
        (
            "[[destination]]\nname = \"d\"\nkind = \"snowflake\"",
            "line 3, column 8: destination \"d\": kind \"snowflake\" is not available in this version; use \"postgres\" or \"null\"",
        ),
        (
            "[[destination]]\nname = \"d\"\nkind = \"mysql\"",
            "line 3, column 8: destination \"d\": kind \"mysql\" does not exist; use \"postgres\" or \"null\"",
        ),
        (
            "[[destination]]\nname = \"count\"\nkind = \"null\"",
            "line 1, column 1: destination \"count\" is defined twice; rename or remove one",
        ),
        ("", "line 1, column 1: no pipeline is defined; add a [[pipeline]]"),
    ];
    for (text, expected) in cases {
        assert_eq!(message(text), expected, "{text}");
    }
}

/// Line 1 to 4 are a pipeline that lacks its tables; `text` begins on line 5.
fn in_pipeline(text: &str) -> String {
    message(&format!("[[pipeline]]\nname = \"p\"\nsource = \"shop\"\ndestinations = [\"mirror\", \"count\"]\n{text}"))
}

#[test]
fn pipelines() {
    let cases = [
        (
            "[[pipeline]]\nname = \"Orders\"",
            "line 2, column 8: pipeline name \"Orders\" is not usable; it becomes part of a slot's name, so use 1 to 40 \
             of a-z, 0-9 and _",
        ),
        (
            "[[pipeline]]\nname = \"p\"",
            "line 1, column 1: pipeline \"p\": key 'source' is missing; add source = \"NAME\"",
        ),
        (
            "[[pipeline]]\nname = \"p\"\nsource = \"postgres://u:secret@h\"",
            "line 3, column 10: pipeline \"p\": source \"***\" is not defined; known sources: shop, crm",
        ),
        (
            "[[pipeline]]\nname = \"p\"\nsource = \"shp\"",
            "line 3, column 10: pipeline \"p\": source \"shp\" is not defined; known sources: shop, crm",
        ),
        (
            "[[pipeline]]\nname = \"p\"\nsource = \"shop\"",
            "line 1, column 1: pipeline \"p\": key 'destinations' is missing; add destinations = [\"NAME\"]",
        ),
        (
            "[[pipeline]]\nname = \"p\"\nsource = \"shop\"\ndestinations = []",
            "line 4, column 16: pipeline \"p\": destinations is empty; name at least one",
        ),
        (
            "[[pipeline]]\nname = \"p\"\nsource = \"shop\"\ndestinations = [\"count\", \"count\"]",
            "line 4, column 26: pipeline \"p\": destinations names \"count\" twice; remove one",
        ),
        (
            "[[pipeline]]\nname = \"p\"\nsource = \"shop\"\ndestinations = [\"count\", \"lake\"]",
            "line 4, column 26: pipeline \"p\": destination \"lake\" is not defined; known destinations: mirror, count",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(message(text), expected, "{text}");
    }
    let cases = [
        (
            "",
            "line 1, column 1: pipeline \"p\": key 'tables' is missing; add a pattern such as \"public.*\", or a [[pipeline.table]]",
        ),
        (
            "tables = [\"!a\"]",
            "line 5, column 10: pipeline \"p\": tables selects nothing; add a pattern such as \"public.*\", or a [[pipeline.table]]",
        ),
        (
            "tables = [\"a\", \"a.\"]",
            "line 5, column 16: pipeline \"p\": tables: 'a.' is not a pattern: a part is empty; write schema.table",
        ),
        (
            "tables = [\"${TABLE}\"]",
            "line 5, column 11: pipeline \"p\": tables: 'public.a\\nb' is not a pattern: '\\n' stands outside of double \
             quotes; quote the part that holds it",
        ),
        (
            "snapshot = \"once\"",
            "line 5, column 12: pipeline \"p\": snapshot \"once\" does not exist; use \"initial\" or \"never\"",
        ),
        ("apply_workers = 0", "line 5, column 17: pipeline \"p\": apply_workers = 0 is out of range; use 1 to 64"),
        ("apply_workers = -1", "line 5, column 17: pipeline \"p\": apply_workers = -1 is out of range; use 1 to 64"),
        ("apply_workers = 65", "line 5, column 17: pipeline \"p\": apply_workers = 65 is out of range; use 1 to 64"),
        (
            "slot = \"My-Slot\"",
            "line 5, column 8: pipeline \"p\": slot \"My-Slot\" is not usable; PostgreSQL allows 1 to 63 of a-z, 0-9 and _",
        ),
        (
            "publication = \"\"",
            "line 5, column 15: pipeline \"p\": publication \"\" is not 1 to 63 bytes long; name an existing publication, \
             or remove the key and Rosetta makes its own",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(in_pipeline(text), expected, "{text}");
    }
}

#[test]
fn pipelines_among_each_other() {
    let second = |text: &str| {
        let first = "tables = [\"a\"]\n[[pipeline]]";
        in_pipeline(&format!("{first}\n{text}\ndestinations = [\"count\"]\ntables = [\"a\"]"))
    };
    assert_eq!(
        second("name = \"p\"\nsource = \"crm\""),
        "line 6, column 1: pipeline \"p\" is defined twice; rename or remove one"
    );
    assert_eq!(
        second("name = \"q\"\nsource = \"shop\"\nslot = \"rosetta_p\""),
        "line 9, column 8: pipeline \"q\": slot \"rosetta_p\" belongs to pipeline \"p\" of the same source; give each a \
         slot of its own"
    );
    assert_eq!(second("name = \"q\"\nsource = \"crm\"\nslot = \"rosetta_p\""), "no error");
}

#[test]
fn entries() {
    let cases = [
        (
            "target = \"b\"",
            "line 5, column 1: pipeline \"p\", table: key 'name' is missing; add name = \"schema.table\"",
        ),
        (
            "name = \"a.*\"",
            "line 6, column 8: pipeline \"p\", table 'a.*' is not a table name: '*' is a wildcard, and one table is \
             meant; put patterns into tables, or quote the part",
        ),
        (
            "name = \"a\"\ntarget = \"a.b.c\"",
            "line 7, column 10: pipeline \"p\", table public.a: target 'a.b.c' is not a table name: it has more than two \
             parts; write schema.table, and quote a part that holds a dot",
        ),
        (
            "name = \"a\"\ncolumns = []",
            "line 7, column 11: pipeline \"p\", table public.a: columns is empty; name at least one",
        ),
        (
            "name = \"a\"\ncolumns = [\"\"]",
            "line 7, column 12: pipeline \"p\", table public.a: columns holds an empty name; remove it",
        ),
        (
            "name = \"a\"\ncolumns = [\"x\", \"y\", \"x\"]",
            "line 7, column 22: pipeline \"p\", table public.a: columns names \"x\" twice; remove one",
        ),
        (
            "name = \"a\"\nfilter = \" \"",
            "line 7, column 10: pipeline \"p\", table public.a: filter is empty; write a condition, or remove the key",
        ),
        (
            "name = \"a\"\ndestinations = [\"lake\"]",
            "line 7, column 17: pipeline \"p\", table public.a: destination \"lake\" is not one of the pipeline's; known \
             destinations: mirror, count",
        ),
        (
            "name = \"a\"\npublish = \"update\"",
            "line 7, column 11: pipeline \"p\", table public.a: publish \"update\" does not exist; use \"all\" or \"insert\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(in_pipeline(&format!("[[pipeline.table]]\n{text}")), expected, "{text}");
    }
    assert_eq!(
        in_pipeline("tables = [\"!public.audit_*\"]\n[[pipeline.table]]\nname = \"audit_log\""),
        "line 6, column 1: pipeline \"p\", table public.audit_log: tables excludes it; remove the exclusion or this entry"
    );
}

#[test]
fn entries_among_each_other() {
    let both =
        |first: &str, second: &str| in_pipeline(&format!("[[pipeline.table]]\n{first}\n[[pipeline.table]]\n{second}"));
    assert_eq!(
        both("name = \"a\"", "name = \"public.a\"\ntarget = \"b\"\nfilter = \"x\""),
        "line 7, column 1: pipeline \"p\", table public.a: filter differs from the table's earlier entry, but a pipeline \
         reads a table in one way only; put this entry in a pipeline of its own"
    );
    assert_eq!(
        both("name = \"a\"", "name = \"public.a\"\ntarget = \"b\"\npublish = \"insert\""),
        "line 7, column 1: pipeline \"p\", table public.a: publish differs from the table's earlier entry, but a pipeline \
         reads a table in one way only; put this entry in a pipeline of its own"
    );
    let taken = "destination \"mirror\" already gets public.a into public.b; give this entry another target or other destinations";
    assert_eq!(
        both("name = \"a\"\ntarget = \"b\"\ndestinations = [\"mirror\"]", "name = \"b\""),
        format!("line 9, column 1: pipeline \"p\", table public.b: {taken}")
    );
    assert_eq!(
        both("name = \"a\"\ntarget = \"b\"", "name = \"a\"\ntarget = \"b\"\ncolumns = [\"x\"]"),
        format!("line 8, column 1: pipeline \"p\", table public.a: {taken}")
    );
    let apart = both(
        "name = \"a\"\ntarget = \"b\"\ndestinations = [\"mirror\"]",
        "name = \"a\"\ntarget = \"b\"\ndestinations = [\"count\"]",
    );
    assert_eq!(apart, "no error");
}

#[test]
fn without_definitions_the_remedy_is_to_add_one() {
    let error = parse("[[pipeline]]\nname = \"p\"\nsource = \"s\"").map_err(|error| error.to_string());
    let expected = "line 3, column 10: pipeline \"p\": source \"s\" is not defined; add a [[source]]";
    assert_eq!(error.expect_err("invalid"), expected);
}

#[test]
fn files_are_named() {
    let folder = std::env::temp_dir().join(format!("rosetta-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("shop.toml");
    let shown = path.display().to_string();
    let load = || Definitions::load(&path).map_err(|error| error.to_string()).expect_err("invalid");
    assert_eq!(
        load(),
        format!(
            "cannot read the configuration {shown}: No such file or directory (os error 2); check the path and its permissions"
        )
    );
    std::fs::write(&path, "\n[[source]]\nnam = \"a\"").expect("written");
    assert_eq!(load(), format!("{shown}, line 3, column 1: unknown key 'nam'; known keys here: name, url"));
    std::fs::remove_dir_all(&folder).expect("removed");
}
