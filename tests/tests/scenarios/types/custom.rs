//! Types that a database defines itself, whose OIDs differ between the two servers, and those of extensions.

use rosetta_tests::{DB, Pair, Postgres, Table};

use super::{Family, execute, round_trip};

const EXTENSIONS: &[&str] = &["citext", "hstore", "ltree", "cube", "seg", "isn", "intarray"];

/// Types that Rosetta creates at the destination by itself.
const ENUMS_AND_DOMAINS: &str = "
    create type color as enum ('red', 'it''s', 'grün', 'with space', 'a,b', '{x}', 'NULL', '');
    create schema other; create type other.color as enum ('blue', 'red');
    create domain price as numeric(10, 2) check (value >= 0 or value is null);
    create domain price2 as price; create domain words as text[]; create domain code as char(4);
    create domain tint as color;";

/// Types that stand at the destination already, as an operator would have them.
const COMPOSITES_AND_RANGES: &str = "
    create type mood as enum ('sad', 'happy');
    create type pair as (a int, b text);
    create type nest as (p pair, ps pair[], m mood, at timestamptz);
    create type shrunk as (a int, gone text, b text); alter type shrunk drop attribute gone;
    create type text_range as range (subtype = text);
    create type mood_range as range (subtype = mood);";

/// So that no type has the same OID on both sides.
const SHIFT: &str = "do $$ begin for i in 1..50 loop
    execute format('create type shift_%s as enum (''x'')', i); end loop; end $$";

async fn prepared() -> Pair {
    let pair = Pair::start().await;
    pair.destination.sql(DB, SHIFT).await;
    for server in [&pair.source, &pair.destination] {
        for extension in available(server).await {
            server.sql(DB, &format!("create extension {extension}")).await;
        }
        server.sql(DB, COMPOSITES_AND_RANGES).await;
    }
    pair.source.sql(DB, ENUMS_AND_DOMAINS).await;
    pair
}

async fn available(server: &Postgres) -> Vec<&'static str> {
    let mut found = Vec::new();
    for extension in EXTENSIONS {
        let query = format!("select count(*) from pg_available_extensions where name = '{extension}'");
        if server.value(DB, &query).await == "1" {
            found.push(*extension);
        }
    }
    found
}

async fn families(server: &Postgres) -> Vec<Family> {
    let extensions = available(server).await;
    let mut families = vec![enums_and_domains(), composites_and_ranges()];
    families.extend(of_extensions().into_iter().filter(|f| extensions.contains(&f.table.trim_end_matches("_values"))));
    families
}

#[tokio::test]
async fn are_equal_to_the_last_byte() {
    let pair = prepared().await;
    let families = families(&pair.source).await;
    round_trip(&pair, &families, false).await;
}

#[tokio::test]
async fn are_equal_with_replica_identity_full() {
    let pair = prepared().await;
    let families = families(&pair.source).await;
    round_trip(&pair, &families, true).await;
}

/// ALTER TYPE sends nothing into the stream, and yet rows with the new label follow.
#[tokio::test]
async fn an_enum_label_added_on_both_sides_mid_stream() {
    let pair = Pair::start().await;
    for server in [&pair.source, &pair.destination] {
        server.sql(DB, "create type mood as enum ('sad', 'happy')").await;
    }
    pair.source
        .sql(DB, "create table t (id int primary key, m mood, ms mood[]); insert into t values (1, 'sad', '{sad}')")
        .await;
    let tables = Table::all(&["public.t"]);
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.t"], ""));
    pair.settle(&tables).await;
    for server in [&pair.destination, &pair.source] {
        server.sql(DB, "alter type mood add value 'calm' before 'sad'").await;
    }
    execute(&pair.source, &["insert into t values (2, 'calm', '{calm,sad}')".to_owned()]).await;
    pair.settle(&tables).await;
}

/// The labels are added at the source alone, and used in every way that a type can hold another.
#[tokio::test]
async fn enum_labels_added_at_the_source_arrive_inside_other_types() {
    let pair = Pair::start().await;
    let schema = "create type mood as enum ('sad', 'happy'); create domain feeling as mood;
        create type state as (at int, m mood, ms feeling[]); create domain states as state[];
        create table arrays (id int primary key, v mood[]); create table domains (id int primary key, v feeling[]);
        create table composites (id int primary key, v state); create table nested (id int primary key, v states);
        insert into arrays values (1, '{sad}'); insert into nested values (1, '{\"(1,sad,{happy})\"}')";
    pair.source.sql(DB, schema).await;
    let tables = Table::all(&["public.arrays", "public.domains", "public.composites", "public.nested"]);
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&tables).await;
    for (label, row) in [
        ("calm", "insert into arrays values (2, '{calm,sad}')"),
        ("glad", "insert into domains values (2, '{glad,NULL}')"),
        ("mad", "insert into composites values (2, '(1,mad,\"{sad,mad}\")')"),
        ("bad", "insert into nested values (2, array[row(1, 'bad', array['bad']::feeling[])::state])"),
    ] {
        pair.source.sql(DB, &format!("alter type mood add value '{label}' before 'happy'")).await;
        pair.source.sql(DB, row).await;
        pair.settle(&tables).await;
    }
}

/// Rows on their way may hold the old label, so both are there until a person has looked.
#[tokio::test]
async fn a_renamed_enum_label_is_told_of() {
    let pair = Pair::start().await;
    let schema = "create type mood as enum ('sad', 'happy'); create table t (id int primary key, v mood);
        insert into t values (1, 'sad'), (2, 'happy')";
    pair.source.sql(DB, schema).await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
    pair.source.sql(DB, "alter type mood rename value 'sad' to 'blue'; insert into t values (3, 'blue')").await;
    rosetta.wait_log(rosetta_tests::SOON, "enum public.mood has label 'sad' at the destination").await;
    pair.settle(&[Table::same("(select * from public.t where id > 1)")]).await;
    pair.destination.sql(DB, "update t set v = 'blue' where v = 'sad'").await;
    pair.settle(&Table::all(&["public.t"])).await;
}

fn enums_and_domains() -> Family {
    Family {
        table: "enums_and_domains",
        columns: vec![
            ("color", &["red", "it's", "grün", "with space", "a,b", "{x}", "NULL", ""]),
            ("color[]", &["{red,\"with space\",NULL}", "{\"NULL\",\"\",\"a,b\",\"{x}\"}", "{}", "{{red},{grün}}"]),
            ("other.color", &["blue", "red"]),
            ("other.color[]", &["{blue,red}"]),
            ("price", &["12.50", "0", "NaN"]),
            ("price2", &["1.00"]),
            ("price[]", &["{1.00,2.5,NULL}"]),
            ("words", &["{a,NULL,\"b c\"}", "{}"]),
            ("code", &["ab", "abcd"]),
            ("tint", &["red", "it's"]),
            ("tint[]", &["{red,NULL}"]),
        ],
    }
}

fn composites_and_ranges() -> Family {
    Family {
        table: "composites_and_ranges",
        columns: vec![
            ("pair", &["(1,\"a \"\"quoted\"\", \\\\ value\")", "(,)", "(1,\"\")", "(,null)", "(-1,\"(x)\")"]),
            ("pair[]", &["{\"(1,a)\",NULL,\"(,)\"}", "{}"]),
            (
                "nest",
                &[
                    "(\"(1,x)\",\"{\"\"(2,y)\"\",NULL}\",happy,\"2024-01-01 00:00:00+00\")",
                    "(,,,)",
                    "(\"(,)\",{},,infinity)",
                ],
            ),
            ("nest[]", &["=array[row(row(1,'a')::pair, array[row(2,'b')::pair], 'sad', null)::nest, null]"]),
            ("shrunk", &["(1,b)", "(,)"]),
            ("text_range", &["empty", "[a,b)", "(,\"z z\"]", "[\"\",\"a,b\"]"]),
            ("text_range[]", &["{\"[a,b)\",empty}"]),
            ("text_multirange", &["{[a,b),[c,d]}", "{}"]),
            ("mood_range", &["[sad,happy]", "(,happy)"]),
            ("mood", &["sad", "happy"]),
            ("aclitem", &["postgres=r/postgres", "postgres=a*r/postgres"]),
        ],
    }
}

fn of_extensions() -> Vec<Family> {
    vec![
        Family {
            table: "citext_values",
            columns: vec![("citext", &["MiXed", "", "ÄÖ"]), ("citext[]", &["{A,a,NULL}"])],
        },
        Family {
            table: "hstore_values",
            columns: vec![
                ("hstore", &["a=>NULL, b=>\"NULL\"", "\"\"=>\"\"", "\"ü\"=>\"😀\", \"q\\\"\"=>\"\\\\\"", ""]),
                ("hstore[]", &["{\"a=>1\",NULL}"]),
            ],
        },
        Family {
            table: "ltree_values",
            columns: vec![
                ("ltree", &["Top.Science.Astronomy", "", "a"]),
                ("ltree[]", &["{a.b,c}"]),
                ("lquery", &["*.Astro*%.!pizza@|b{1,}", "Top.*{0,2}"]),
                ("ltxtquery", &["Europe & Russia*@ & !Transportation"]),
            ],
        },
        Family {
            table: "cube_values",
            columns: vec![("cube", &["(1,2),(3,4)", "(0)", "(0.1,-2,3)"]), ("cube[]", &["{\"(1,2)\"}"])],
        },
        Family { table: "seg_values", columns: vec![("seg", &["1.0 .. 2.50", "~6.25", "5(+-)0.3", "<3 .. 4"])] },
        Family {
            table: "isn_values",
            columns: vec![("isbn13", &["978-0-393-04002-9"]), ("ean13", &["978-0-393-04002-9"])],
        },
        Family { table: "intarray_values", columns: vec![("query_int", &["1&(2|!3)", "7"])] },
    ]
}
