//! A node that starts while something it needs is away: it says what, keeps trying, and is not ready until it is there.

use rosetta_tests::{
    Cluster, SOON, Stop,
    cluster::{Node, Shape, WITHIN},
    eventually, http,
};

const ONE: Shape = Shape { nodes: 1, pipelines: 2, etcd_members: 1, with_ways: false };

async fn readiness(node: &Node) -> Option<u16> {
    http::status(&node.http_address(), "/health/ready").await
}

/// Waits until the node says what is missing and answers that it is not ready.
async fn waits_for(node: &Node, words: &[&str]) {
    for word in words {
        node.process().wait_log(SOON, word).await;
    }
    eventually(SOON, "the probe says that it is not ready", async || match readiness(node).await {
        Some(503) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(http::status(&node.http_address(), "/health/live").await, Some(200), "it lives");
}

async fn becomes_ready(node: &Node) {
    eventually(WITHIN, "the probe says that it is ready", async || match readiness(node).await {
        Some(200) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_etcd() {
    let mut cluster = Cluster::without_nodes(ONE).await;
    cluster.world.etcd.stop(0);
    cluster.add_node().await;
    waits_for(&cluster["n1"], &["etcd"]).await;
    cluster.world.etcd.start_again(0).await;
    becomes_ready(&cluster["n1"]).await;
    cluster.joined().await;
    cluster.apply().await;
    cluster.flows().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_the_config_database() {
    let mut cluster = Cluster::without_nodes(ONE).await;
    cluster.world.catalog.stop(Stop::Fast);
    cluster.add_node().await;
    waits_for(&cluster["n1"], &["config database"]).await;
    cluster.world.catalog.start_again().await;
    becomes_ready(&cluster["n1"]).await;
    cluster.apply().await;
    cluster.flows().await;
}
