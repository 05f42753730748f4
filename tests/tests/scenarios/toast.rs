//! A large value that an update does not touch is not in the stream; it must survive at the destination.

use rosetta_tests::{DB, Pair, Table};

const TABLES: &[&str] = &["public.by_key", "public.by_full", "public.by_index", "public.keyless"];

/// Random text does not compress, so it is stored out of line.
const BIG: &str = "(select string_agg(md5(random()::text || i), '') from generate_series(1, 400) i)";

const SCHEMA: &str = "
    create table by_key (id int primary key, n int, big text, other text);
    create table by_full (like by_key including all); alter table by_full replica identity full;
    create table by_index (like by_key including all); alter table by_index drop constraint by_index_pkey;
    create unique index by_index_id on by_index (id); alter table by_index alter id set not null;
    alter table by_index replica identity using index by_index_id;
    create table keyless (id int, n int, big text, other text); alter table keyless replica identity full;";

async fn fill(pair: &Pair, from: u32, to: u32) {
    for table in TABLES {
        let insert = format!("insert into {table} select s, 0, {BIG}, {BIG} from generate_series({from}, {to}) s");
        pair.source.sql(DB, &insert).await;
    }
}

#[tokio::test]
async fn unchanged_large_values_survive_every_kind_of_update() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    fill(&pair, 1, 20).await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(TABLES)).await;
    fill(&pair, 21, 40).await;
    for table in TABLES {
        for change in [
            format!("update {table} set n = n + 1"),
            format!("update {table} set big = {BIG} where id % 4 = 0"),
            format!(
                "begin; update {table} set n = n + 1; update {table} set other = {BIG} where id % 3 = 0; update {table} set n = n + 1; commit"
            ),
            format!(
                "begin; insert into {table} select 100, 0, {BIG}, {BIG}; update {table} set n = 5 where id = 100; commit"
            ),
            // The key moves and the large values are not sent with it.
            format!("update {table} set id = id + 1000 where id % 5 = 0"),
            format!(
                "begin; update {table} set id = id + 5000 where id < 4; update {table} set id = id - 5000, n = 9 where id > 5000; commit"
            ),
            format!(
                "begin; delete from {table} where id = 7; insert into {table} select 7, 1, {BIG}, null; update {table} set n = 8 where id = 7; commit"
            ),
            format!("update {table} set big = null where id = 8"),
            format!("begin; update {table} set n = n where id = 9; delete from {table} where id = 9; commit"),
        ] {
            pair.source.sql(DB, &change).await;
        }
    }
    pair.settle(&Table::all(TABLES)).await;
}
