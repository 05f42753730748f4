//! START and PAUSE, by plain SQL in the config database.

use std::time::Instant;

use rosetta_tests::{
    cluster::{AuditLoad, CATALOG, Cluster, Rate, Shape, WITHIN},
    eventually,
};

const SEED: u64 = 8;

async fn set(cluster: &Cluster, name: &str, status: &str) {
    let update = format!("update rosetta.pipelines set status = '{status}' where name = '{name}'");
    cluster.world.catalog.sql(CATALOG, &update).await;
}

async fn reader_is(cluster: &Cluster, slot: &str, wanted: bool) {
    let query = format!("select active from pg_replication_slots where slot_name = '{slot}'");
    eventually(WITHIN, &format!("slot {slot} is read: {wanted}"), async || {
        let active = cluster.world.source.value("postgres", &query).await;
        if (active == "t") == wanted { Ok(()) } else { Err(active) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_is_written_by_sql_takes_effect_at_once() {
    let cluster = Cluster::running(Shape { pipelines: 6, ..Shape::default() }).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let (paused, others) = cluster.world.pipelines.split_first().expect("pipelines");
    for _ in 0..3 {
        let begin = Instant::now();
        set(&cluster, &paused.name, "PAUSE").await;
        reader_is(&cluster, &paused.slot(), false).await;
        eprintln!("PAUSE took effect after {:?}", begin.elapsed());
        let others: Vec<&str> = others.iter().map(|pipeline| pipeline.name.as_str()).collect();
        cluster.these_flow(&others, WITHIN).await;
        let begin = Instant::now();
        set(&cluster, &paused.name, "START").await;
        reader_is(&cluster, &paused.slot(), true).await;
        eprintln!("START took effect after {:?}", begin.elapsed());
        cluster.flows().await;
    }
    eprintln!("{}", cluster.judge(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_pipeline_stays_paused_when_its_node_dies() {
    let mut cluster = Cluster::running(Shape { pipelines: 6, ..Shape::default() }).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let paused = cluster.world.pipelines[0].clone();
    set(&cluster, &paused.name, "PAUSE").await;
    reader_is(&cluster, &paused.slot(), false).await;
    let owner = cluster.records.owners().remove(&paused.name).expect("an owner");
    cluster[&owner].kill9().await;
    cluster.at_rest().await;
    let others: Vec<String> = cluster.world.pipelines[1..].iter().map(|pipeline| pipeline.name.clone()).collect();
    cluster.these_flow(&others.iter().map(String::as_str).collect::<Vec<_>>(), WITHIN).await;
    reader_is(&cluster, &paused.slot(), false).await;
    set(&cluster, &paused.name, "START").await;
    cluster.flows().await;
    eprintln!("{}", cluster.judge(load).await);
}
