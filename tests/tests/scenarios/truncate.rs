//! TRUNCATE keeps its place among the other changes.

use rosetta_tests::{DB, Pair, SOON, Table};

const TABLES: &[&str] = &["public.a", "public.b", "public.c"];

#[tokio::test]
async fn of_several_tables_between_other_changes() {
    let pair = Pair::start().await;
    let schema = "
        create table a (id int primary key, v int); create table b (id int primary key, a int references a);
        create table c (id int); alter table c replica identity full;";
    pair.source.sql(DB, schema).await;
    pair.source
        .sql(DB, "insert into a values (1, 1), (2, 2); insert into b values (1, 1); insert into c values (1)")
        .await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(TABLES)).await;
    // They gather while nobody reads, and come in one batch.
    rosetta.sigterm();
    rosetta.wait_exit(SOON).await;
    for change in [
        "insert into a values (3, 3); insert into c values (2), (2)",
        "truncate a, b, c",
        "insert into a values (4, 4); insert into c values (3)",
        "begin; insert into a values (5, 5); truncate a cascade; insert into a values (6, 6); insert into b values (1, 6); commit",
        "begin; truncate c; rollback",
        "truncate a restart identity cascade",
        "insert into a values (7, 7)",
        "begin; insert into c values (8); truncate c; insert into c values (9), (9); delete from c where ctid = '(0,2)'; commit",
    ] {
        pair.source.sql(DB, change).await;
    }
    let _again = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(TABLES)).await;
    pair.source.sql(DB, "truncate a, b, c").await;
    pair.settle(&Table::all(TABLES)).await;
}
