//! Keys that change, swap and return within one transaction or one batch.

use rosetta_tests::{DB, Pair, SOON, Table, oracle};

const SCHEMA: &str = "
    create table k (id int primary key, v text);
    create table u (id int primary key, code int not null, v text, constraint u_code unique (code) deferrable);";

/// The destination has the unique index too, so that a wrong order inside a batch fails there.
const DESTINATION_SCHEMA: &str = "
    create table k (id int primary key, v text);
    create table u (id int primary key, code int not null, v text, constraint u_code unique (code));";

async fn prepared() -> (Pair, Vec<Table>) {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    pair.destination.sql(DB, DESTINATION_SCHEMA).await;
    pair.source.sql(DB, "insert into k select i, 'v' || i from generate_series(1, 100) i").await;
    pair.source.sql(DB, "insert into u select i, i, 'v' || i from generate_series(1, 100) i").await;
    (pair, Table::all(&["public.k", "public.u"]))
}

#[tokio::test]
async fn keys_and_unique_values_swap_inside_one_batch() {
    let (pair, tables) = prepared().await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&tables).await;
    // While nobody reads, the changes gather; then they come in one batch.
    rosetta.sigterm();
    rosetta.wait_exit(SOON).await;
    for change in [
        "begin; update k set id = -1 where id = 1; update k set id = 1 where id = 2; update k set id = 2 where id = -1; commit",
        "begin; update k set id = -id; update k set id = 101 + id; commit",
        "begin; set constraints all deferred; update u set code = 101 - code; commit",
        "begin; update u set code = -code where id in (3, 4); update u set code = 7 - id + 0 where false; commit",
        "begin; delete from u where id = 5; insert into u values (500, 96, 'takes the code of 5'); commit",
        "begin; update u set id = id + 1000, v = 'moved' where id < 50; insert into u values (1, 5000, 'new 1'); commit",
        "begin; delete from k where id = 10; insert into k values (10, 'back'); delete from k where id = 10; commit",
        "begin; insert into k values (9999, 'x'); update k set id = 9998 where id = 9999; delete from k where id = 9998; commit",
        "begin; insert into k values (7777, 'x'); update k set id = 7778 where id = 7777; insert into k values (7777, 'y'); commit",
    ] {
        pair.source.sql(DB, change).await;
    }
    let _again = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&tables).await;
}

#[tokio::test]
async fn a_unique_value_moves_to_another_row_with_every_transaction() {
    let (pair, tables) = prepared().await;
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&tables).await;
    let client = pair.source.client(DB).await;
    for round in 1..=300 {
        let (from, to) = (round % 100 + 1, (round + 1) % 100 + 1);
        let change = format!(
            "begin; set constraints all deferred;
             update u set code = (select sum(code) from u where id in ({from}, {to})) - code where id in ({from}, {to});
             update k set id = -id where id = {from} or id = -{from}; commit"
        );
        client.batch_execute(&change).await.expect("a swap");
    }
    pair.settle(&tables).await;
    oracle::assert_equal(pair.source_side(), pair.destination_side(), &tables).await;
}
