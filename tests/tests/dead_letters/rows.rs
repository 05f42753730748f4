//! Rows that the destination refuses.

use rosetta_tests::{DB, Pair, Rosetta, SOON, Table, eventually, rosetta::run};
use serde_json::Value;

const TABLES: &[&str] = &["public.t", "public.other"];
const SCHEMA: &str = "create table t (id int primary key, v text); create table other (id int primary key, v text);";

/// A pair whose destination refuses rows of `t` with a `v` that begins with `bad`.
async fn picky_pair() -> (Pair, String) {
    let pair = Pair::start().await;
    for side in [&pair.source, &pair.destination] {
        side.sql(DB, SCHEMA).await;
    }
    pair.destination.sql(DB, "alter table t add constraint no_bad check (v not like 'bad%')").await;
    let config = pair.config(&["public.*"], "");
    (pair, config)
}

/// `rosetta dlq …` with these arguments, as JSON; again until the process answers, which may just have been started.
pub(crate) async fn dlq(rosetta: &Rosetta, arguments: &[&str]) -> Value {
    eventually(SOON, &format!("dlq {arguments:?}"), async || {
        let endpoint = format!("http://{}", rosetta.address("gRPC").await);
        let mut line = vec!["dlq"];
        line.extend(arguments);
        line.extend(["--endpoint", &endpoint, "--output", "json"]);
        let answer = run(&line, &[]).await;
        if answer.code != Some(0) {
            return Err(answer.stderr);
        }
        serde_json::from_str(&answer.stdout).map_err(|error| format!("{error}: {}", answer.stdout))
    })
    .await
}

async fn letters(rosetta: &Rosetta) -> Vec<Value> {
    dlq(rosetta, &["list", "--limit", "100000"]).await.as_array().expect("a list").clone()
}

/// How many letters wait.
pub(crate) async fn total(rosetta: &Rosetta) -> u64 {
    use rosetta_proto::v1::{ListDeadLettersRequest, dead_letters_client::DeadLettersClient};
    eventually(SOON, "the letters are counted", async || {
        let endpoint = format!("http://{}", rosetta.address("gRPC").await);
        let mut client = DeadLettersClient::connect(endpoint).await.map_err(|error| error.to_string())?;
        let answer = client.list(ListDeadLettersRequest { page_size: 1, ..Default::default() }).await;
        answer.map(|answer| answer.into_inner().total).map_err(|error| error.message().to_owned())
    })
    .await
}

/// Waits until so many letters wait.
async fn wait_letters(rosetta: &Rosetta, count: usize) {
    eventually(SOON, &format!("{count} letters wait"), async || {
        let found = letters(rosetta).await;
        if found.len() == count { Ok(()) } else { Err(format!("{} do", found.len())) }
    })
    .await;
}

#[tokio::test]
async fn a_refused_row_waits_and_the_rest_goes_on() {
    let (pair, config) = picky_pair().await;
    pair.source.sql(DB, "insert into t values (1, 'one')").await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(TABLES)).await;
    pair.source
        .sql(DB, "insert into t select i, case when i = 50 then 'bad' else 'good' end from generate_series(2, 99) i")
        .await;
    pair.source.sql(DB, "insert into other values (1, 'after')").await;
    pair.settle(&Table::all(&["public.other"])).await;
    wait_letters(&rosetta, 1).await;
    let missing = pair.destination.value(DB, "select count(*) || ' ' || count(*) filter (where id = 50) from t").await;
    assert_eq!(missing, "98 0");
    let letter = &letters(&rosetta).await[0];
    assert_eq!(letter["table"], "public.t");
    assert_eq!(letter["key"], serde_json::json!({ "id": "50" }));
    assert_eq!((&letter["operation"], &letter["error_class"]), (&"insert".into(), &"23514".into()));
    assert!(letter["error"].as_str().unwrap().contains("no_bad"), "{letter}");
    let id = letter["id"].as_str().unwrap();
    let shown = dlq(&rosetta, &["show", id, "--values"]).await;
    assert_eq!(shown["values"], serde_json::json!({ "id": "50", "v": "bad" }));
    assert!(!rosetta.log().contains("'bad'"), "a row's value is in the log");
    pair.destination.sql(DB, "alter table t drop constraint no_bad").await;
    dlq(&rosetta, &["replay", "--pipeline", "main"]).await;
    wait_letters(&rosetta, 0).await;
    pair.settle(&Table::all(TABLES)).await;
}

/// Whatever the source does to a row that waits, waits behind it, whether the process is killed meanwhile or not.
#[tokio::test]
async fn changes_of_a_parked_row_wait_behind_it() {
    let (pair, config) = picky_pair().await;
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(TABLES)).await;
    pair.source.sql(DB, "insert into t values (1, 'bad one'), (2, 'two'), (3, 'bad three')").await;
    pair.source.sql(DB, "update t set v = 'now good' where id = 1").await;
    wait_letters(&rosetta, 3).await;
    rosetta.kill9();
    let rosetta = pair.rosetta("rosetta", &config);
    for change in [
        "update t set id = 10 where id = 1",       // a key change of a parked row
        "insert into t values (1, 'another one')", // the key that it gave up
        "update t set v = 'ten' where id = 10",
        "delete from t where id = 3",
        "update t set id = 30, v = 'bad' where id = 2", // refused itself
        "insert into t values (2, 'another two')",
        "insert into t values (4, 'four')",
    ] {
        pair.source.sql(DB, change).await;
    }
    pair.source.sql(DB, "insert into other values (1, 'after')").await;
    pair.settle(&Table::all(&["public.other"])).await;
    wait_letters(&rosetta, 9).await;
    let rows = pair.destination.value(DB, "select string_agg(id || ' ' || v, ', ' order by id) from t").await;
    assert_eq!(rows, "2 two, 4 four");
    pair.destination.sql(DB, "alter table t drop constraint no_bad").await;
    dlq(&rosetta, &["replay", "--pipeline", "main"]).await;
    wait_letters(&rosetta, 0).await;
    pair.settle(&Table::all(TABLES)).await;
}

#[tokio::test]
async fn a_truncate_settles_the_letters_before_it() {
    let (pair, config) = picky_pair().await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(TABLES)).await;
    pair.source.sql(DB, "insert into t values (1, 'bad'), (2, 'good')").await;
    wait_letters(&rosetta, 1).await;
    pair.source
        .sql(
            DB,
            "begin; insert into t values (3, 'bad'); truncate t; insert into t values (1, 'good'), (4, 'bad'); commit",
        )
        .await;
    pair.source.sql(DB, "insert into t values (5, 'five')").await;
    wait_letters(&rosetta, 1).await;
    eventually(SOON, "the changes after the TRUNCATE are there", async || {
        let rows = pair.destination.value(DB, "select string_agg(id || ' ' || v, ', ' order by id) from t").await;
        if rows == "1 good, 5 five" { Ok(()) } else { Err(rows) }
    })
    .await;
    pair.destination.sql(DB, "alter table t drop constraint no_bad").await;
    dlq(&rosetta, &["replay", "--pipeline", "main"]).await;
    wait_letters(&rosetta, 0).await;
    pair.settle(&Table::all(TABLES)).await;
}

#[tokio::test]
async fn a_letter_that_is_given_up_is_gone_and_frees_its_row() {
    let (pair, config) = picky_pair().await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(TABLES)).await;
    pair.source.sql(DB, "insert into t values (1, 'bad')").await;
    wait_letters(&rosetta, 1).await;
    let id = letters(&rosetta).await[0]["id"].as_str().unwrap().to_owned();
    dlq(&rosetta, &["discard", &id, "--reason", "a test", "--by", "tester"]).await;
    wait_letters(&rosetta, 0).await;
    assert!(rosetta.log().contains("given up") && rosetta.log().contains("tester"));
    pair.source.sql(DB, "delete from t where id = 1").await;
    pair.source.sql(DB, "insert into t values (1, 'fine')").await;
    pair.settle(&Table::all(TABLES)).await;
}

/// Most of what a table gets is refused: it stops, and nothing else does.
#[tokio::test]
async fn a_table_of_which_most_is_refused_stops() {
    let (pair, config) = picky_pair().await;
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(TABLES)).await;
    pair.source.sql(DB, "insert into t select i, 'bad' from generate_series(1, 1000) i").await;
    wait_letters(&rosetta, 1000).await;
    assert!(rosetta.log().contains("the table has stopped"), "{}", rosetta.log());
    pair.source.sql(DB, "insert into t values (2000, 'good')").await;
    pair.source.sql(DB, "insert into other values (1, 'goes on')").await;
    pair.settle(&Table::all(&["public.other"])).await;
    wait_letters(&rosetta, 1001).await;
    rosetta.kill9();
    let rosetta = pair.rosetta("rosetta", &config);
    pair.source.sql(DB, "insert into t values (2001, 'good')").await;
    wait_letters(&rosetta, 1002).await;
    pair.destination.sql(DB, "alter table t drop constraint no_bad").await;
    dlq(&rosetta, &["replay", "--pipeline", "main", "--table", "public.t"]).await;
    wait_letters(&rosetta, 0).await;
    pair.source.sql(DB, "insert into t values (3000, 'lives')").await;
    pair.settle(&Table::all(TABLES)).await;
}

/// A transaction that is too large for one batch goes through in parts, and a bad row in it does not stop it.
#[tokio::test]
async fn a_refused_row_inside_a_large_transaction() {
    let (pair, config) = picky_pair().await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(TABLES)).await;
    pair.source
        .sql(DB, "insert into t select i, case when i % 20000 = 777 then 'bad' else 'good' end from generate_series(1, 100000) i")
        .await;
    pair.source.sql(DB, "insert into other values (1, 'after')").await;
    pair.settle_within(&Table::all(&["public.other"]), 2 * SOON).await;
    wait_letters(&rosetta, 5).await;
    assert_eq!(pair.destination.value(DB, "select count(*) from t").await, "99995");
    pair.destination.sql(DB, "alter table t drop constraint no_bad").await;
    dlq(&rosetta, &["replay", "--pipeline", "main"]).await;
    wait_letters(&rosetta, 0).await;
    pair.settle(&Table::all(TABLES)).await;
}

/// Without anybody's doing: letters are tried again by themselves.
#[tokio::test]
async fn letters_are_tried_again_by_themselves() {
    let (pair, config) = picky_pair().await;
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(TABLES)).await;
    pair.source.sql(DB, "insert into t values (1, 'bad')").await;
    wait_letters(&rosetta, 1).await;
    pair.destination.sql(DB, "alter table t drop constraint no_bad").await;
    wait_letters(&rosetta, 0).await;
    pair.settle(&Table::all(TABLES)).await;
}
