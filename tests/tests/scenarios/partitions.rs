//! Partitioned tables, as one table or leaf by leaf.

use rosetta_tests::{DB, Pair, Table};

const SCHEMA: &str = "
    create table measure (day date not null, id int not null, v int, primary key (day, id)) partition by range (day);
    create table measure_2023 partition of measure for values from ('2023-01-01') to ('2024-01-01');
    create table measure_2024 partition of measure for values from ('2024-01-01') to ('2025-01-01') partition by list (id);
    create table measure_2024_even partition of measure_2024 for values in (2, 4, 6, 8, 10);
    create table measure_2024_rest partition of measure_2024 default;
    insert into measure select '2023-06-01'::date + i, i % 20, i from generate_series(1, 400) i;";

const CHANGES: &str = "
    insert into measure values ('2023-12-31', 1000, 1), ('2024-12-31', 2, 2);
    update measure set v = v + 1 where id % 3 = 0;
    update measure set day = day + 365 where day < '2023-07-01';
    update measure set id = id + 1 where day > '2024-01-01' and id in (2, 4);
    delete from measure where v % 5 = 0;";

#[tokio::test]
async fn a_partitioned_table_arrives_as_one() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.measure"], ""));
    pair.settle(&Table::all(&["public.measure"])).await;
    pair.source.sql(DB, CHANGES).await;
    pair.source
        .sql(
            DB,
            "create table measure_2025 partition of measure for values from ('2025-01-01') to ('2026-01-01');
             insert into measure values ('2025-05-05', 1, 1);
             truncate measure_2023; insert into measure values ('2023-05-05', 1, 1);",
        )
        .await;
    // A truncated leaf is not published as a change of its root (PostgreSQL docs, CREATE PUBLICATION).
    let without_2023 = "(select * from public.measure where day >= '2024-01-01')";
    pair.settle(&[Table::same(without_2023)]).await;
    pair.source.sql(DB, "truncate measure; insert into measure values ('2024-05-05', 1, 1)").await;
    pair.settle(&Table::all(&["public.measure"])).await;
}

#[tokio::test]
async fn a_pattern_that_matches_root_and_leaves_copies_each_row_once() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.measure"])).await;
    pair.source.sql(DB, CHANGES).await;
    pair.settle(&Table::all(&["public.measure"])).await;
}

#[tokio::test]
async fn a_partitioned_destination_routes_its_rows() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    let partitioned_otherwise = "
        create table measure (day date not null, id int not null, v int, primary key (day, id)) partition by hash (id);
        create table measure_a partition of measure for values with (modulus 2, remainder 0);
        create table measure_b partition of measure for values with (modulus 2, remainder 1);";
    pair.destination.sql(DB, partitioned_otherwise).await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.measure"], ""));
    pair.settle(&Table::all(&["public.measure"])).await;
    pair.source.sql(DB, CHANGES).await;
    pair.settle(&Table::all(&["public.measure"])).await;
}

#[tokio::test]
async fn leaves_can_be_followed_one_by_one() {
    let leaves = &["public.measure_2024_even", "public.measure_2024_rest"];
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    // A pattern would select the root, whose changes theirs are: a partition must be named in full.
    let _rosetta = pair.rosetta("rosetta", &pair.config(leaves, ""));
    pair.settle(&Table::all(leaves)).await;
    pair.source.sql(DB, CHANGES).await;
    pair.source.sql(DB, "truncate measure_2024_even; insert into measure values ('2024-02-02', 8, 8)").await;
    pair.settle(&Table::all(leaves)).await;
}
