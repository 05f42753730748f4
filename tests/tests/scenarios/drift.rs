//! Tables that change while a pipeline follows them, or that join it later: never wrong in silence.

use rosetta_tests::{DB, Pair, SOON, Table};

/// Both types have eight bytes: the binary form of one would be read as the other.
#[tokio::test]
async fn a_type_that_changes_stops_the_pipeline() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, v int8); insert into t values (1, 1)").await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
    pair.source.sql(DB, "alter table t alter v type float8; insert into t values (2, 2)").await;
    rosetta.wait_log(SOON, "another type").await;
    assert!(!rosetta.wait_exit(SOON).await.success());
    assert_eq!(pair.destination.value(DB, "select count(*) from t").await, "1");
    pair.destination.sql(DB, "alter table t alter v type float8").await;
    let _again = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
}

#[tokio::test]
async fn a_renamed_table_goes_on_to_the_same_target() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, v text); insert into t values (1, 'a')").await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
    pair.source
        .sql(
            DB,
            "alter table t rename to renamed; insert into renamed values (2, 'b'); delete from renamed where id = 1",
        )
        .await;
    pair.settle(&[Table::mapped("public.renamed", "public.t")]).await;
}

#[tokio::test]
async fn a_table_that_joins_later_is_copied_then() {
    let pair = Pair::start().await;
    pair.source
        .sql(DB, "create table first (id int primary key); insert into first select generate_series(1, 100)")
        .await;
    let config = pair.config(&["public.*"], "");
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(&["public.first"])).await;
    pair.source.sql(DB, "create table later (id int primary key, v text); insert into later select i, 'old' from generate_series(1, 1000) i").await;
    rosetta.sigterm();
    rosetta.wait_exit(SOON).await;
    pair.source
        .sql(
            DB,
            "insert into first values (101); update later set v = 'new' where id < 10; delete from later where id = 20",
        )
        .await;
    let _again = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(&["public.first"])).await;
    pair.source.sql(DB, "update later set v = 'newer' where id = 500; insert into later values (2000, 'live')").await;
    pair.settle(&Table::all(&["public.first", "public.later"])).await;
}

#[tokio::test]
async fn a_publication_of_the_users_must_hold_every_table() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table a (id int primary key); create table b (id int primary key)").await;
    pair.source.sql(DB, "create publication mine for table a").await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], "publication = \"mine\""));
    rosetta.wait_log(SOON, "does not hold table public.b").await;
    assert_eq!(rosetta.wait_exit(SOON).await.code(), Some(1));
    assert_eq!(pair.source.value(DB, "select count(*) from pg_replication_slots").await, "0");
}

#[tokio::test]
async fn an_enum_label_that_the_destination_lacks_is_added() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create type mood as enum ('sad', 'glad'); create table t (id int primary key, m mood)").await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
    pair.source.sql(DB, "alter type mood add value 'calm' before 'glad'").await;
    pair.source.sql(DB, "insert into t values (1, 'glad'), (2, 'calm')").await;
    pair.settle(&Table::all(&["public.t"])).await;
}

/// What happened to it in between is not in the stream any more.
#[tokio::test]
async fn a_table_that_was_left_out_for_a_while_is_copied_anew() {
    let pair = Pair::start().await;
    let schema = "create table a (id int primary key, v text); create table b (id int primary key);
        insert into a values (1, 'old'), (2, 'old')";
    pair.source.sql(DB, schema).await;
    let (all, without) = (pair.config(&["public.*"], ""), pair.config(&["public.*", "!public.a"], ""));
    for (folder, config, tables) in [("all", &all, &["public.a", "public.b"][..]), ("without", &without, &["public.b"])]
    {
        let mut rosetta = pair.rosetta(folder, config);
        pair.settle(&Table::all(tables)).await;
        pair.source.sql(DB, "update a set v = 'new' where id = 1; insert into b select count(*) from b").await;
        pair.settle(&Table::all(tables)).await;
        rosetta.sigterm();
        rosetta.wait_exit(SOON).await;
        pair.source.sql(DB, "update a set v = 'newer' where id = 2").await;
    }
    let mut refused = pair.rosetta("refused", &all);
    assert_eq!(refused.wait_exit(SOON).await.code(), Some(1));
    assert!(refused.log().contains("public.a"), "{}", refused.log());
    pair.destination.sql(DB, "truncate a").await;
    let _again = pair.rosetta("again", &all);
    pair.settle(&Table::all(&["public.b"])).await;
    pair.source.sql(DB, "update a set v = v || '!'").await;
    pair.settle(&Table::all(&["public.a", "public.b"])).await;
}

/// A new table of the same name is in no publication, and not the one that was copied.
#[tokio::test]
async fn a_table_that_was_dropped_and_made_anew_is_refused() {
    let pair = Pair::start().await;
    let table = "create table t (id int primary key, v text); insert into t values (1, 'old')";
    pair.source.sql(DB, &format!("{table}; create table u (id int primary key)")).await;
    let config = pair.config(&["public.*"], "");
    let mut rosetta = pair.rosetta("first", &config);
    pair.settle(&Table::all(&["public.t", "public.u"])).await;
    pair.source.sql(DB, &format!("drop table t; {table}, (2, 'new')")).await;
    pair.settle(&Table::all(&["public.u"])).await;
    rosetta.sigterm();
    rosetta.wait_exit(SOON).await;
    let mut refused = pair.rosetta("refused", &config);
    assert_eq!(refused.wait_exit(SOON).await.code(), Some(1));
    let log = refused.log();
    assert!(log.contains("table public.t has left publication rosetta_src"), "{log}");
    let remedy =
        log.split("run TRUNCATE").nth(1).and_then(|rest| rest.split(" at destination").next()).expect("a remedy");
    pair.destination.sql(DB, &format!("truncate{remedy}")).await;
    let _again = pair.rosetta("again", &config);
    pair.settle(&Table::all(&["public.u"])).await;
    pair.source.sql(DB, "insert into t values (3, 'newer')").await;
    pair.settle(&Table::all(&["public.t", "public.u"])).await;
}
