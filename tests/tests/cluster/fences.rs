//! Each fence by itself, with the others out of the way.
//!
//! - The destination's epoch: a newer epoch is written into the checkpoint by hand. No session is ended, the slot is the
//!   old owner's, its lease is valid.
//! - The slot's single reader: destinations that count and discard have no fence.
//! - The node's clock: such a destination again, on a pin that nobody may take over.

use rosetta_tests::{
    cluster::{AuditLoad, Cluster, Cut, MIRROR, Rate, Shape, WITHIN, now_us},
    eventually,
};

const SEED: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_epoch_at_the_destination_alone_keeps_an_old_owner_out() {
    let cluster = Cluster::running(Shape { nodes: 1, pipelines: 4, ..Shape::default() }).await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let destination = &cluster.world.destination;
    for _ in 0..10 {
        load.goes_on(20).await;
        let name = cluster.world.pipelines[0].name.clone();
        let table = &cluster.world.pipelines[0].table;
        let before = cluster.before(&[&name]).await;
        let newer = format!("update rosetta.checkpoint set epoch = epoch + 5000 where pipeline = '{name}'");
        destination.sql(MIRROR, &newer).await;
        let since = now_us();
        // It finds out, and goes on under an epoch that is newer still: it is the owner.
        cluster.taken_over(&before, WITHIN).await;
        let old = before.epoch_of(&name);
        let late = format!(
            "select count(*) from {table} where epoch <= {old} and arrived > to_timestamp({since} / 1000000.0)"
        );
        assert_eq!(destination.value(MIRROR, &late).await, "0", "epoch {old} wrote after a newer one was recorded");
    }
    eprintln!("{}", cluster.judge(load).await);
}

/// A pipeline that counts and discards, beside the others.
fn discarding(cluster: &Cluster) -> String {
    let shop = &cluster.world.pipelines[0].shop;
    let table = &cluster.world.pipelines[0].table;
    format!(
        "[[destination]]\nname = \"nowhere\"\nkind = \"null\"\n\n\
         [[pipeline]]\nname = \"discards\"\nsource = \"{shop}\"\ndestinations = [\"nowhere\"]\n\
         tables = [\"public.{table}\"]\nsnapshot = \"never\"\n"
    )
}

/// The epoch of who reads the slot; `None` for nobody.
async fn reader(cluster: &Cluster) -> Option<u64> {
    let query = "select split_part(a.application_name, ':', 2) from pg_replication_slots s \
                 join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = 'rosetta_discards'";
    let rows = cluster.world.source.rows("postgres", query).await;
    rows.into_iter().next()?.into_iter().next()??.parse().ok()
}

async fn is_read_beyond(cluster: &Cluster, old: u64) -> u64 {
    eventually(WITHIN, &format!("the slot is read under a newer epoch than {old}"), async || {
        let now = reader(cluster).await;
        now.filter(|epoch| *epoch > old).ok_or_else(|| format!("it is read under {now:?}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_has_one_reader_and_an_old_owner_does_not_get_it_back() {
    let cluster = Cluster::start(Shape { pipelines: 1, ..Shape::default() }).await;
    cluster.apply_with(&discarding(&cluster)).await;
    cluster.flows().await;
    let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
    let mut epoch = is_read_beyond(&cluster, 0).await;
    for _ in 0..2 {
        let owner = cluster.records.owners().remove("discards").expect("an owner");
        cluster[&owner].sleep();
        let newer = is_read_beyond(&cluster, epoch).await;
        cluster[&owner].wake();
        let target = load.committed() + 200;
        eventually(WITHIN, "the load goes on while the old owner is awake", async || {
            let now = reader(&cluster).await;
            assert!(now.is_none_or(|now| now >= newer), "an older owner reads: {now:?} after {newer}");
            if load.committed() >= target { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        cluster.joined().await;
        epoch = is_read_beyond(&cluster, newer - 1).await;
    }
    eprintln!("{}", cluster.judge(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_without_a_fence_stops_by_its_own_clock_before_its_lease_ends() {
    let shape = Shape { pipelines: 1, with_ways: true, ..Shape::default() };
    let cluster = Cluster::start(shape).await;
    cluster.apply_with(&discarding(&cluster)).await;
    cluster.flows().await;
    let epoch = is_read_beyond(&cluster, 0).await;
    let owner = cluster.records.owners().remove("discards").expect("an owner");
    // Nobody else may have it: only the clock stops the owner.
    cluster.tell(&["move", "discards", "--to", &owner, "--pin"]).await;
    cluster[&owner].way().cut(Cut::Etcd);
    eventually(WITHIN, "its lease ends", async || {
        if cluster.records.live().contains_key(&owner) { Err("it is registered".to_owned()) } else { Ok(()) }
    })
    .await;
    assert_eq!(reader(&cluster).await, None, "its lease has ended, and it still reads");
    cluster[&owner].way().mend(Cut::Etcd);
    cluster.joined().await;
    is_read_beyond(&cluster, epoch).await;
}
