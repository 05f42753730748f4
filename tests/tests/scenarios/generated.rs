//! Generated columns are not in the stream, and identity columns refuse plain values: both must still be equal.

use rosetta_tests::{DB, Pair, Table};

const TABLES: &[&str] = &["public.always", "public.computed", "public.serials"];

const SCHEMA: &str = "
    create table always (id bigint generated always as identity primary key, v text);
    create table computed (net numeric(10, 2), id int primary key, gross numeric generated always as (net * 1.19) stored, v text);
    create table serials (id serial primary key, n bigserial, v text default 'd');";

async fn follow(pair: &Pair) {
    pair.source
        .sql(
            DB,
            "insert into always (v) select 'v' || i from generate_series(1, 100) i;
             insert into computed (id, net) select i, i from generate_series(1, 100) i;
             insert into serials (v) values (default), (null), ('x');",
        )
        .await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(TABLES)).await;
    pair.source
        .sql(
            DB,
            "insert into always (v) values ('a'), ('b'); update always set v = 'c' where id = 3; delete from always where id = 4;
             insert into always (id, v) overriding system value values (100000, 'chosen');
             insert into computed (id, net) values (1000, 5.55); update computed set net = net + 1 where id % 2 = 0;
             update computed set v = 'only this' where id % 3 = 0; update computed set id = id + 5000 where id = 9;
             delete from computed where id = 10; insert into serials (v) values ('y');",
        )
        .await;
    pair.settle(&Table::all(TABLES)).await;
}

#[tokio::test]
async fn in_tables_that_rosetta_creates() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    follow(&pair).await;
}

#[tokio::test]
async fn in_tables_that_exist() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    pair.destination.sql(DB, SCHEMA).await;
    follow(&pair).await;
}
