//! The size that was asked for: 2,000 tables.

use rosetta_tests::{DB, Pair, SOON, Table};

const TABLES: usize = 2000;

#[tokio::test]
async fn two_thousand_are_copied_and_followed() {
    let pair = Pair::start().await;
    let client = pair.source.client(DB).await;
    for number in 0..TABLES {
        let create =
            format!("create table t{number} (id int primary key, v text); insert into t{number} values (1, 'one')");
        client.batch_execute(&create).await.expect("a table");
    }
    let _rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    let tables: Vec<Table> = (0..TABLES).map(|n| Table::same(&format!("public.t{n}"))).collect();
    pair.settle_within(&tables, 5 * SOON).await;
    for number in 0..TABLES {
        let change = format!("insert into t{number} values (2, 'two'); update t{number} set v = 'eins' where id = 1");
        client.batch_execute(&change).await.expect("a change");
    }
    pair.settle_within(&tables, 3 * SOON).await;
}
