//! `rosetta check` says beforehand what would fail; `rosetta verify` says afterwards what differs.

use rosetta_tests::{DB, Options, Pair, SOON, Table, rosetta::run};
use serde_json::Value;

fn file(pair: &Pair, config: &str) -> String {
    let path = pair.scratch.join("checked.toml");
    std::fs::write(&path, config).expect("write the configuration");
    path.display().to_string()
}

const LEFT_ON_SOURCE: &str =
    "select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots)";

#[tokio::test]
async fn check_passes_what_will_work_and_touches_nothing() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key)").await;
    let file = file(&pair, &pair.config(&["public.*"], ""));
    let answer = run(&["check", &file], &[]).await;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let answer = run(&["check", &file, "--output", "json"], &[]).await;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    serde_json::from_str::<Value>(&answer.stdout).expect("JSON on stdout");
    assert_eq!(pair.source.value(DB, LEFT_ON_SOURCE).await, "0");
    assert_eq!(pair.destination.value(DB, "select to_regnamespace('rosetta')").await, "");
}

#[tokio::test]
async fn check_lists_every_problem_at_once() {
    let pair = Pair::with(Options::default().set("wal_level", "replica"), Options::default()).await;
    pair.source.sql(DB, "create table loose (a int); create table t (id int primary key, v text)").await;
    pair.destination.sql(DB, "create table t (id int primary key, v int)").await;
    let answer = run(&["check", &file(&pair, &pair.config(&["public.*"], ""))], &[]).await;
    assert_ne!(answer.code, Some(0), "{answer:?}");
    let said = format!("{}{}", answer.stdout, answer.stderr);
    for problem in ["wal_level", "loose", "public.t"] {
        assert!(said.contains(problem), "check does not mention {problem}:\n{said}");
    }
    assert!(!said.contains("panicked"));
}

#[tokio::test]
async fn verify_names_the_rows_that_differ() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, v text); create table same (id int primary key)").await;
    pair.source.sql(DB, "insert into t select i, 'v' || i from generate_series(1, 20000) i").await;
    let config = pair.config(&["public.*"], "");
    let file = file(&pair, &config);
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(&["public.t", "public.same"])).await;

    let answer = run(&["verify", "--config", &file, "--output", "json"], &[]).await;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let report: Value = serde_json::from_str(&answer.stdout).expect("JSON on stdout");
    assert_eq!(report["equal"], true, "{report}");
    let rows = |report: &Value, side: &str| {
        let table = report["tables"].as_array().and_then(|t| t.iter().find(|t| t["table"] == "public.t").cloned());
        table.map(|t| t[side].clone()).unwrap_or_default()
    };
    assert_eq!(rows(&report, "rows_source"), 20000, "{report}");

    rosetta.sigterm();
    rosetta.wait_exit(SOON).await;
    let damage = "update t set v = 'wrong' where id = 12345; delete from t where id = 777; insert into t values (99999, 'extra')";
    pair.destination.sql(DB, damage).await;
    let answer = run(&["verify", "--config", &file, "--output", "json"], &[]).await;
    assert_ne!(answer.code, Some(0), "differences, but the exit code is 0");
    let report: Value = serde_json::from_str(&answer.stdout).expect("JSON on stdout");
    assert_eq!(report["equal"], false, "{report}");
    let differences = rows(&report, "differences").to_string();
    for key in ["12345", "777", "99999"] {
        assert!(differences.contains(key), "row {key} is not named: {report}");
    }
}

#[tokio::test]
async fn verify_says_at_once_that_changes_wait_for_a_stopped_pipeline() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key); create table other (id int)").await;
    let config = pair.config(&["public.t"], "");
    let file = file(&pair, &config);
    let mut rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(&["public.t"])).await;
    rosetta.sigterm();
    rosetta.wait_exit(SOON).await;
    pair.source.sql(DB, "insert into other select generate_series(1, 5000)").await;
    let answer = run(&["verify", "--config", &file], &[]).await;
    assert_eq!(answer.code, Some(0), "what is not replicated does not matter: {answer:?}");
    pair.source.sql(DB, "insert into t values (1)").await;
    let begun = std::time::Instant::now();
    let answer = run(&["verify", "--config", &file], &[]).await;
    assert_ne!(answer.code, Some(0), "{answer:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it waited");
    assert!(answer.stderr.contains("not running") && answer.stderr.contains("--timeout 0"), "{answer:?}");
    let answer = run(&["verify", "--config", &file, "--timeout", "0"], &[]).await;
    assert_ne!(answer.code, Some(0), "{answer:?}");
    assert!(answer.stdout.contains("missing"), "{answer:?}");
}

#[tokio::test]
async fn verify_compares_both_sides_at_one_position_under_load() {
    use rosetta_tests::workload::{self, Workload};
    let pair = Pair::start().await;
    workload::create_tables(&pair.source, DB).await;
    let config = pair.config(&["public.*"], "");
    let file = file(&pair, &config);
    let _rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&workload::tables()).await;
    let load = Workload::start(&pair.source, DB, 9, 2, std::time::Duration::from_millis(20));
    let answer = run(&["verify", "--config", &file, "--output", "json"], &[]).await;
    load.stop().await;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    pair.settle(&workload::tables()).await;
}
