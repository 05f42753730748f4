//! What Prometheus is told is so, and moves.

use std::time::Duration;

use rosetta_tests::{DB, Pair, Rosetta, SOON, Table, eventually, http, rosetta::run};

/// Longer than between two heartbeats, with which the slot is looked at.
const SLOT_SEEN_WITHIN: Duration = Duration::from_secs(60);

async fn scrape(rosetta: &Rosetta) -> String {
    http::get(&rosetta.address("HTTP").await, "/metrics").await.expect("metrics")
}

fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Waits until the series is as wanted.
async fn told(rosetta: &Rosetta, series: &str, within: Duration, is_wanted: impl Fn(f64) -> bool) {
    eventually(within, series, async || {
        let metrics = scrape(rosetta).await;
        let found = value(&metrics, series).ok_or("not told")?;
        if is_wanted(found) { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_pipelines_figures_move_with_it() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key); insert into t select generate_series(1, 50)").await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.t"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
    let of = |name: &str| format!("{name}{{pipeline=\"main\"}}");
    told(&rosetta, &of("rosetta_pipeline_up"), SOON, |up| up == 1.0).await;
    told(&rosetta, &of("rosetta_pipeline_rows_copied_total"), SOON, |rows| rows == 50.0).await;
    let before = value(&scrape(&rosetta).await, &of("rosetta_pipeline_changes_total")).expect("changes");
    pair.source.sql(DB, "insert into t select generate_series(51, 60)").await;
    pair.settle(&Table::all(&["public.t"])).await;
    told(&rosetta, &of("rosetta_pipeline_changes_total"), SOON, |changes| changes == before + 10.0).await;
    told(&rosetta, &of("rosetta_pipeline_commit_latency_seconds_count"), SOON, |count| count >= 10.0).await;
    told(&rosetta, "rosetta_pipelines_expected", SOON, |expected| expected == 1.0).await;
    told(&rosetta, "process_resident_memory_bytes", SOON, |bytes| bytes > 1e6).await;
    told(&rosetta, &of("rosetta_slot_retained_wal_bytes"), SLOT_SEEN_WITHIN, |bytes| bytes > 0.0).await;

    // A slot is also known while its pipeline stands still: it is then that it grows.
    let endpoint = format!("http://{}", rosetta.address("gRPC").await);
    let paused = run(&["pause", "main", "--endpoint", &endpoint], &[]).await;
    assert_eq!(paused.code, Some(0), "{paused:?}");
    told(&rosetta, "rosetta_pipeline_state{pipeline=\"main\",state=\"paused\"}", SOON, |is| is == 1.0).await;
    told(&rosetta, &of("rosetta_pipeline_up"), SOON, |up| up == 0.0).await;
    told(&rosetta, "rosetta_pipelines_expected", SOON, |expected| expected == 0.0).await;
    pair.source.sql(DB, "insert into t select generate_series(1001, 20000)").await;
    told(&rosetta, &of("rosetta_slot_retained_wal_bytes"), SLOT_SEEN_WITHIN, |bytes| bytes > 1e6).await;
}
