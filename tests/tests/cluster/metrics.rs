//! The metrics of all nodes together say what the cluster does, also after a node has died.

use rosetta_tests::{
    cluster::{Cluster, Shape, WITHIN},
    eventually, http,
};

/// What every node that runs answers.
async fn scrape(cluster: &Cluster) -> Result<Vec<String>, String> {
    let mut answers = Vec::new();
    for node in cluster.nodes().iter().filter(|node| node.runs()) {
        answers.push(http::get(&node.http_address(), "/metrics").await.map_err(|error| error.to_string())?);
    }
    Ok(answers)
}

/// The sum over all nodes and labels; `None` when no node tells of it.
fn sum(answers: &[String], metric: &str) -> Option<f64> {
    let of_line = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(metric)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        rest.rsplit_once(' ')?.1.parse().ok()
    };
    answers.iter().flat_map(|answer| answer.lines()).filter_map(of_line).reduce(|sum, value| sum + value)
}

/// Waits until each sum is as given.
async fn told(cluster: &Cluster, wanted: &[(&str, f64)]) {
    eventually(WITHIN, "the metrics say so", async || {
        let answers = scrape(cluster).await?;
        let wrong = wanted.iter().find(|(metric, value)| sum(&answers, metric) != Some(*value));
        wrong.map_or(Ok(()), |(metric, value)| Err(format!("{metric}: {:?}, not {value}", sum(&answers, metric))))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_over_all_nodes_are_right_before_and_after_a_death() {
    let shape = Shape::default();
    let mut cluster = Cluster::running(shape).await;
    cluster.at_rest().await;
    let all = shape.pipelines as f64;
    let whole = [
        ("rosetta_pipelines_expected", all),
        ("rosetta_pipeline_up", all),
        ("rosetta_pipelines_unowned", 0.0),
        ("rosetta_node_leader", 1.0),
        ("rosetta_node_ready", shape.nodes as f64),
        ("rosetta_cluster_nodes", shape.nodes as f64),
        ("rosetta_catalog_pool_waiters", 0.0),
    ];
    told(&cluster, &whole).await;
    let answers = scrape(&cluster).await.expect("metrics");
    let margins = sum(&answers, "rosetta_node_lease_margin_ratio").expect("margins");
    assert!(margins > 0.0 && margins <= shape.nodes as f64, "{margins}");
    assert!(sum(&answers, "rosetta_catalog_pool_connections").is_some_and(|open| open >= 1.0));

    let victim = cluster.busiest();
    let had = cluster.records.owned_by(&victim).len() as f64;
    cluster[&victim].kill9().await;
    let after = [
        ("rosetta_pipeline_up", all),
        ("rosetta_pipelines_expected", all),
        ("rosetta_node_leader", 1.0),
        ("rosetta_node_pipelines_taken_total{reason=\"failover\"}", had),
    ];
    told(&cluster, &after).await;
}
