//! How a row is found: by key, by index, by all its columns; and tables in which it cannot be found are refused.

use rosetta_tests::{DB, Pair, SOON, Table};

#[tokio::test]
async fn every_replica_identity_finds_its_row() {
    let tables = Table::all(&["public.by_key", "public.by_index", "public.by_full", "public.keyless"]);
    let pair = Pair::start().await;
    pair.source
        .sql(
            DB,
            "create table by_key (a int, b text, v int, primary key (b, a));
             create table by_index (a int not null, b text, v int); create unique index by_index_a on by_index (a);
             alter table by_index replica identity using index by_index_a;
             create table by_full (a int primary key, b text, v int); alter table by_full replica identity full;
             create table keyless (a int, b text, v int); alter table keyless replica identity full;",
        )
        .await;
    for table in ["by_key", "by_index", "by_full", "keyless"] {
        pair.source.sql(DB, &format!("insert into {table} select i, 'b' || i, 0 from generate_series(1, 500) i")).await;
    }
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&tables).await;
    for table in ["by_key", "by_index", "by_full", "keyless"] {
        let changes = format!(
            "update {table} set v = v + 1 where a % 2 = 0; delete from {table} where a % 7 = 0;
             update {table} set a = a + 10000 where a % 11 = 0; insert into {table} values (-1, 'new', null);
             update {table} set v = null where a = 4; update {table} set v = 1 where v is null;"
        );
        pair.source.sql(DB, &changes).await;
    }
    pair.settle(&tables).await;
}

#[tokio::test]
async fn one_of_several_identical_rows_is_changed() {
    let tables = Table::all(&["public.twins"]);
    let pair = Pair::start().await;
    pair.source
        .sql(
            DB,
            "create table twins (a int, b text, c numeric, f float8, j json);
             alter table twins replica identity full;
             insert into twins select 1, 'same', 1.0, '-0', '{\"a\": 1}' from generate_series(1, 5);
             insert into twins select null, null, null, 'NaN', null from generate_series(1, 5);
             insert into twins values (1, 'same', 1.00, '0', '{\"a\":1}'), (1, 'same', 1.0, '0', '{\"a\": 1}');",
        )
        .await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.twins"], ""));
    pair.settle(&tables).await;
    // 1.0 and 1.00, 0 and -0, and two spellings of one json document are equal values but not equal rows.
    for change in [
        "delete from twins where ctid = (select ctid from twins where b = 'same' limit 1)",
        "delete from twins where ctid = (select ctid from twins where a is null limit 1)",
        "update twins set b = 'changed' where ctid = (select ctid from twins where b = 'same' limit 1)",
        "begin; insert into twins select 2, 'x', 2, 2, null from generate_series(1, 3);
            delete from twins where ctid = (select ctid from twins where a = 2 limit 1);
            update twins set a = 3 where ctid = (select ctid from twins where a = 2 limit 1); commit",
        "delete from twins where c::text = '1.00'",
        "delete from twins where f::text = '0'",
        "update twins set c = 7 where a is null",
    ] {
        pair.source.sql(DB, change).await;
    }
    pair.settle(&tables).await;
    assert_eq!(pair.destination.value(DB, "select count(*) from twins where a is null and c = 7").await, "4");
}

/// In a publication that publishes updates, such a table would make its owner's own UPDATEs fail.
#[tokio::test]
async fn a_table_without_identity_is_refused_before_anything_is_created() {
    for identity in ["", "; alter table loose add primary key (a); alter table loose replica identity nothing"] {
        let pair = Pair::start().await;
        pair.source
            .sql(DB, &format!("create table loose (a int, b int); insert into loose values (1, 1){identity}"))
            .await;
        let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
        assert!(!rosetta.wait_exit(SOON).await.success());
        let log = rosetta.log();
        let named = log.lines().any(|l| l.contains("loose") && l.to_lowercase().contains("replica identity"));
        assert!(named, "no line names the table and the reason:\n{log}");
        let left = "select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots)";
        assert_eq!(pair.source.value(DB, left).await, "0", "something was created on the source");
        pair.source.sql(DB, "update loose set b = 2; delete from loose").await;
    }
}

#[tokio::test]
async fn a_table_without_identity_can_be_published_for_inserts_only() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table loose (a int, b int); create table kept (id int primary key, v int)").await;
    pair.source.sql(DB, "insert into loose values (1, 1); insert into kept values (1, 1)").await;
    let route = "[[pipeline.table]]\nname = \"public.loose\"\npublish = \"insert\"";
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], route));
    pair.settle(&Table::all(&["public.loose", "public.kept"])).await;
    pair.source.sql(DB, "insert into loose values (2, 2); update kept set v = 2; insert into kept values (2, 2)").await;
    pair.settle(&Table::all(&["public.loose", "public.kept"])).await;
    pair.source.sql(DB, "update loose set b = 9; delete from kept where id = 2").await;
    let as_inserted = "(select a, case when b = 9 then a else b end from public.loose)";
    pair.settle(&[Table::mapped(as_inserted, "public.loose"), Table::same("public.kept")]).await;
}
