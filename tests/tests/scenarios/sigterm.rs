//! Many pipelines in one process: they stop together and quickly, and a broken one disturbs nobody.

use std::time::{Duration, Instant};

use rosetta_tests::{DB, Pair, Rosetta, SOON, Table, oracle};

const PIPELINES: usize = 20;

fn pipelines(pair: &Pair, count: usize) -> String {
    let mut config = format!(
        "[[source]]\nname = \"src\"\nurl = \"{}\"\n[[destination]]\nname = \"dst\"\nkind = \"postgres\"\nurl = \"{}\"\n",
        pair.source.url(DB),
        pair.destination.url(DB)
    );
    for number in 0..count {
        config.push_str(&format!(
            "[[pipeline]]\nname = \"p{number}\"\nsource = \"src\"\ndestinations = [\"dst\"]\ntables = [\"s{number}.*\"]\n"
        ));
    }
    config
}

async fn create_tables(pair: &Pair, count: usize) -> Vec<Table> {
    for number in 0..count {
        let schema = format!(
            "create schema s{number}; create table s{number}.t (id int primary key, v text);
             insert into s{number}.t select i, 'v' from generate_series(1, 100) i"
        );
        pair.source.sql(DB, &schema).await;
    }
    (0..count).map(|number| Table::same(&format!("s{number}.t"))).collect()
}

async fn all_caught_up(pair: &Pair, count: usize) {
    for number in 0..count {
        oracle::caught_up(pair.source_side(), &format!("rosetta_p{number}"), 2 * SOON).await;
    }
}

/// No session outlives its process.
async fn assert_sessions_end(pair: &Pair) {
    for server in [&pair.source, &pair.destination] {
        let sessions = "select count(*) from pg_stat_activity where application_name like 'rosetta%'";
        rosetta_tests::eventually(Duration::from_secs(2), "the sessions end with their process", async || {
            let left = server.value(DB, sessions).await;
            if left == "0" { Ok(()) } else { Err(format!("{left} are left")) }
        })
        .await;
    }
}

#[tokio::test]
async fn twenty_pipelines_stop_within_two_seconds() {
    let pair = Pair::start().await;
    let tables = create_tables(&pair, PIPELINES).await;
    let config = pipelines(&pair, PIPELINES);
    let mut rosetta = Rosetta::start(&config, &pair.scratch.join("rosetta"));
    all_caught_up(&pair, PIPELINES).await;
    for number in 0..PIPELINES {
        pair.source.sql(DB, &format!("update s{number}.t set v = 'just before the end'")).await;
    }
    let asked = Instant::now();
    rosetta.sigterm();
    let status = rosetta.wait_exit(SOON).await;
    let took = asked.elapsed();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
    assert_sessions_end(&pair).await;

    let _again = Rosetta::start(&config, &pair.scratch.join("rosetta"));
    all_caught_up(&pair, PIPELINES).await;
    oracle::assert_equal(pair.source_side(), pair.destination_side(), &tables).await;
}

#[tokio::test]
async fn a_sigterm_during_the_first_copy_is_obeyed_too() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t as select i as id, repeat('x', 500) v from generate_series(1, 300000) i").await;
    pair.source.sql(DB, "alter table t add primary key (id)").await;
    let config = pair.config(&["public.t"], "");
    let mut rosetta = pair.rosetta("rosetta", &config);
    rosetta_tests::eventually(SOON, "the slot exists", async || {
        oracle::confirmed_flush(&pair.source.client(DB).await, rosetta_tests::SLOT).await
    })
    .await;
    let asked = Instant::now();
    rosetta.sigterm();
    assert!(rosetta.wait_exit(SOON).await.success());
    assert!(asked.elapsed() < Duration::from_secs(2), "stopping took {:?}", asked.elapsed());
    let _again = pair.rosetta("rosetta", &config);
    pair.settle_within(&Table::all(&["public.t"]), 2 * SOON).await;
}

#[tokio::test]
async fn a_pipeline_that_cannot_run_does_not_disturb_another() {
    let pair = Pair::start().await;
    let tables = create_tables(&pair, 2).await;
    let nobody = format!("postgres://postgres@127.0.0.1:1/{DB}");
    let config = format!(
        "{}[[source]]\nname = \"gone\"\nurl = \"{nobody}\"\n\
         [[pipeline]]\nname = \"p_gone\"\nsource = \"gone\"\ndestinations = [\"dst\"]\ntables = [\"public.*\"]\n\
         [[pipeline]]\nname = \"p_absent\"\nsource = \"src\"\ndestinations = [\"dst\"]\ntables = [\"nowhere.at_all\"]\n",
        pipelines(&pair, 2)
    );
    let mut rosetta = Rosetta::start(&config, &pair.scratch.join("rosetta"));
    for round in 0..3 {
        for number in 0..2 {
            pair.source.sql(DB, &format!("update s{number}.t set v = 'round {round}'")).await;
        }
        all_caught_up(&pair, 2).await;
        oracle::assert_equal(pair.source_side(), pair.destination_side(), &tables).await;
    }
    let log = rosetta.log();
    assert!(log.contains("p_gone") && log.contains("p_absent"), "the broken pipelines are not named:\n{log}");
    rosetta.sigterm();
    assert!(rosetta.wait_exit(SOON).await.success());
}
