//! Memory is bounded in bytes: neither a huge transaction nor many tables make it grow.

use rosetta_tests::{DB, Pair, SOON, Table};

const MEGABYTE: u64 = 1024 * 1024;

#[tokio::test]
async fn two_million_rows_in_one_transaction_need_less_than_150_mb() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table big (id int primary key, v text, n int)").await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.big"], ""));
    pair.settle(&[]).await;
    pair.source.sql(DB, "insert into big select i, md5(i::text), i from generate_series(1, 2000000) i").await;
    pair.settle_within(&Table::all(&["public.big"]), 5 * SOON).await;
    let peak = rosetta.memory().peak;
    assert!(peak < 150 * MEGABYTE, "peak memory {} MB", peak / MEGABYTE);
}

#[tokio::test]
async fn a_large_transaction_of_updates_and_deletes_needs_no_more() {
    let pair = Pair::start().await;
    pair.source
        .sql(
            DB,
            "create table big (id int primary key, v text, n int);
             insert into big select i, md5(i::text), i from generate_series(1, 500000) i",
        )
        .await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.big"], ""));
    pair.settle_within(&[], 2 * SOON).await;
    let change = "begin; update big set n = n + 1; delete from big where id % 3 = 0; update big set id = -id where id % 5 = 0; commit";
    pair.source.sql(DB, change).await;
    pair.settle_within(&Table::all(&["public.big"]), 5 * SOON).await;
    let peak = rosetta.memory().peak;
    assert!(peak < 150 * MEGABYTE, "peak memory {} MB", peak / MEGABYTE);
}

#[tokio::test]
async fn a_hundred_tables_at_rest_need_less_than_40_mb() {
    let pair = Pair::start().await;
    let create = "do $$ begin for i in 1..100 loop
        execute format('create table t%s (id int primary key, v text)', i);
        execute format('insert into t%s select i, md5(i::text) from generate_series(1, 1000) i', i); end loop; end $$";
    pair.source.sql(DB, create).await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    let tables: Vec<Table> = (1..=100).map(|n| Table::same(&format!("public.t{n}"))).collect();
    pair.settle(&tables).await;
    for number in 1..=100 {
        pair.source.sql(DB, &format!("update t{number} set v = 'changed' where id % 10 = 0")).await;
    }
    pair.settle(&tables).await;
    let resident = rosetta.memory().now;
    assert!(resident < 40 * MEGABYTE, "resident memory {} MB", resident / MEGABYTE);
}
