//! Pipelines that share a source, and with it a publication, do not change what each other gets.

use rosetta_tests::{DB, Pair, SOON, Table, eventually, oracle};

/// Two pipelines, `main` and `second`; the second's tables go to schema `other`.
fn two_pipelines(pair: &Pair, tables: &[&str], second: &str) -> String {
    let pipeline = "[[pipeline]]\nname = \"second\"\nsource = \"src\"\ndestinations = [\"dst\"]";
    format!("{}\n{pipeline}\n{second}", pair.config(tables, ""))
}

async fn settle_both(pair: &Pair, tables: &[Table]) {
    oracle::caught_up(pair.source_side(), "rosetta_second", SOON).await;
    pair.settle(tables).await;
}

const MEASURE: &str = "
    create table measure (id int primary key, v int) partition by range (id);
    create table measure_low partition of measure for values from (0) to (100);
    create table measure_high partition of measure for values from (100) to (200);
    insert into measure select i, 0 from generate_series(0, 199) i;";

/// In a publication with the root, a leaf's changes come under the root's name.
#[tokio::test]
async fn a_root_and_its_leaf_in_two_pipelines_both_get_their_changes() {
    let pair = Pair::start().await;
    pair.source.sql(DB, MEASURE).await;
    let leaf = "[[pipeline.table]]\nname = \"public.measure_low\"\ntarget = \"other.low\"";
    let _rosetta = pair.rosetta("rosetta", &two_pipelines(&pair, &["public.measure"], leaf));
    let tables = [Table::same("public.measure"), Table::mapped("public.measure_low", "other.low")];
    settle_both(&pair, &tables).await;
    pair.source.sql(DB, "update measure set v = id where id % 3 = 0; delete from measure where id % 7 = 0").await;
    pair.source.sql(DB, "insert into measure values (0, 5), (105, 5)").await;
    settle_both(&pair, &tables).await;
}

/// An archive keeps what the source deletes, whatever another pipeline publishes of the table.
#[tokio::test]
async fn inserts_only_stays_so_beside_a_pipeline_that_publishes_all() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table log (id int primary key, v text); create table kept (id int primary key)").await;
    pair.source.sql(DB, "insert into log values (1, 'a'), (2, 'b')").await;
    let archive = "tables = [\"public.kept\"]\n[[pipeline.table]]\nname = \"public.kept\"\ntarget = \"other.kept\"\n\
                   [[pipeline.table]]\nname = \"public.log\"\ntarget = \"other.log\"\npublish = \"insert\"";
    let _rosetta = pair.rosetta("rosetta", &two_pipelines(&pair, &["public.log", "public.kept"], archive));
    let tables = [Table::same("public.log"), Table::same("public.kept"), Table::mapped("public.kept", "other.kept")];
    settle_both(&pair, &tables).await;
    pair.source
        .sql(DB, "delete from log where id = 1; update log set v = 'c'; insert into log values (3, 'd'); insert into kept values (1)")
        .await;
    settle_both(&pair, &tables).await;
    let kept = "select string_agg(id || v, ' ' order by id) from other.log";
    assert_eq!(pair.destination.value(DB, kept).await, "1a 2b 3d");
}

/// Pipelines of one source start at the same time, in several processes.
#[tokio::test]
async fn a_publication_that_another_process_makes_at_this_moment_is_taken() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table mine (id int primary key); create table others (id int primary key)").await;
    let other = pair.source.client(DB).await;
    let make = "create publication rosetta_src for table others with (publish_via_partition_root = true)";
    other.batch_execute(&format!("begin; {make}")).await.unwrap();
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.mine"], ""));
    eventually(SOON, "a pipeline that waits for the other's publication", async || {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'PUBLICATION'";
        let count = pair.source.value(DB, waiting).await;
        if count == "1" { Ok(()) } else { Err(rosetta.log()) }
    })
    .await;
    other.batch_execute("commit; insert into mine values (1)").await.unwrap();
    pair.settle(&Table::all(&["public.mine"])).await;
}

#[tokio::test]
async fn a_publication_of_the_user_that_sends_partitions_under_their_own_names_is_refused() {
    let pair = Pair::start().await;
    pair.source.sql(DB, MEASURE).await;
    pair.source.sql(DB, "create publication mine for table measure").await;
    let config = pair.config(&["public.measure"], "publication = \"mine\"");
    let mut rosetta = pair.rosetta("refused", &config);
    assert_eq!(rosetta.wait_exit(SOON).await.code(), Some(1));
    let log = rosetta.log();
    let remedy = "ALTER PUBLICATION \"mine\" SET (publish_via_partition_root = true)";
    assert!(log.lines().any(|line| line.contains("public.measure") && line.contains(remedy)), "{log}");
    assert_eq!(pair.source.value(DB, "select count(*) from pg_replication_slots").await, "0");

    pair.source.sql(DB, remedy).await;
    let _rosetta = pair.rosetta("accepted", &config);
    pair.settle(&Table::all(&["public.measure"])).await;
    pair.source.sql(DB, "update measure set v = 1").await;
    pair.settle(&Table::all(&["public.measure"])).await;
}
