//! Foreign keys and deferred constraints at the destination: the state after each source transaction satisfies them.

use rosetta_tests::{DB, Pair, Table};

const SCHEMA: &str = "
    create table parent (id int primary key, v text);
    create table child (id int primary key, parent int references parent on delete cascade deferrable, v text);
    create table tree (id int primary key, up int references tree deferrable initially deferred);";

const TABLES: &[&str] = &["public.parent", "public.child", "public.tree"];

#[tokio::test]
async fn foreign_keys_at_the_destination_hold_and_do_not_hinder() {
    let pair = Pair::start().await;
    for side in [&pair.source, &pair.destination] {
        side.sql(DB, SCHEMA).await;
    }
    pair.source
        .sql(
            DB,
            "insert into parent select i from generate_series(1, 2000) i;
             insert into child select i, i % 2000 + 1 from generate_series(1, 5000) i;
             insert into tree select i, 1001 - i from generate_series(1, 1000) i;",
        )
        .await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(TABLES)).await;
    for change in [
        "begin; set constraints all deferred; insert into child values (9001, 9001); insert into parent values (9001); commit",
        "delete from parent where id % 10 = 3",
        "begin; insert into tree values (2001, 2002), (2002, 2003), (2003, 2001); commit",
        "begin; delete from tree where id > 2000; insert into tree values (2001, null); commit",
        "begin; set constraints all deferred; update parent set id = 50000 where id = 5; update child set parent = 50000 where parent = 5; commit",
        "begin; truncate parent, child; insert into parent values (1); insert into child values (1, 1); commit",
    ] {
        pair.source.sql(DB, change).await;
    }
    pair.settle(&Table::all(TABLES)).await;
}

#[tokio::test]
async fn triggers_at_the_destination_do_not_repeat_what_the_source_did() {
    let pair = Pair::start().await;
    let schema = "
        create table t (id int primary key, v int); create table log (id int primary key, v int);
        create function note() returns trigger language plpgsql as
            $$ begin insert into log values (new.id, new.v); return new; end $$;
        create trigger note after insert on t for each row execute function note();";
    for side in [&pair.source, &pair.destination] {
        side.sql(DB, schema).await;
    }
    pair.source.sql(DB, "insert into t values (1, 1)").await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t", "public.log"])).await;
    pair.source.sql(DB, "insert into t values (2, 2), (3, 3)").await;
    pair.settle(&Table::all(&["public.t", "public.log"])).await;
}
