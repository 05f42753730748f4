//! What is answered while etcd or the config database is away.

use rosetta_proto::v1::PipelineState;
use rosetta_tests::Stop;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::*;

/// The answer, and that it came in time.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let asked = Instant::now();
    let answer = call.await;
    let took = asked.elapsed();
    assert!(took < ANSWERED_WITHIN, "it took {took:?}");
    answer
}

fn pause() -> v1::PausePipelineRequest {
    v1::PausePipelineRequest { name: "orders".to_owned(), ..v1::PausePipelineRequest::default() }
}

/// The code and the body of a page.
async fn page(peer: &Peer, path: &str) -> (String, serde_json::Value) {
    let mut stream = TcpStream::connect(peer.http).await.expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nhost: rosetta\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("receive");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).expect("a code").to_owned();
    (code, serde_json::from_str(body).expect("JSON"))
}

async fn is_serving(peer: &Peer) -> bool {
    let mut client = HealthClient::new(peer.channel());
    let answer = client.check(HealthCheckRequest::default()).await.expect("health").into_inner();
    answer.status() == ServingStatus::Serving
}

async fn served(peer: &Peer) {
    eventually(SOON, "it serves", async || {
        if is_serving(peer).await { Ok(()) } else { Err(format!("{:?}", peer.node.lacks())) }
    })
    .await;
}

#[tokio::test]
async fn without_the_config_database_pipelines_are_shown_and_not_changed() {
    let mut world = World::with_nodes(1).await;
    // The source must stay.
    let config = Postgres::start(Options::default()).await;
    config.create_database(CONFIG).await;
    let source = std::mem::replace(&mut world.server, config);
    world.nodes.clear();
    let peer = world.start("n2").await;
    let config = std::mem::replace(&mut world.server, source);
    world.nodes.push(peer);
    let n2 = &world.nodes[0];
    eventually(SOON, "it is ready", async || {
        let lacks = n2.node.lacks();
        if lacks.is_empty() { Ok(()) } else { Err(format!("{lacks:?}")) }
    })
    .await;
    world.create("orders").await;
    world.reaches(0, "orders", PipelineState::Running).await;
    served(n2).await;
    let mut config = config;
    config.stop(Stop::Immediate);
    let (message, reason, _) = refused(in_time(n2.pipelines().pause(pause())).await, Code::Unavailable);
    assert!(message.contains("config database") && reason == "CATALOG_UNAVAILABLE", "{message}");
    let mut cluster = n2.cluster();
    refused(in_time(cluster.list_events(v1::ListEventsRequest::default())).await, Code::Unavailable);
    let listed = in_time(n2.list()).await.remove(0);
    assert_eq!(listed.status.map(|status| status.state()), Some(PipelineState::Running));
    let stored = listed.stored.expect("what is kept");
    assert_eq!((stored.desired_state(), stored.created_at), (v1::DesiredState::Start, None));
    let get = v1::GetPipelineRequest { name: "orders".to_owned() };
    let shown = in_time(n2.pipelines().get(get)).await.expect("get").into_inner();
    assert!(shown.source.expect("a source").url.contains(":***@"));
    let mut pipelines = n2.pipelines();
    let first = in_time(pipelines.watch(v1::WatchPipelinesRequest::default()))
        .await
        .expect("watch")
        .into_inner()
        .message()
        .await
        .expect("no end");
    assert_eq!(first.expect("an update").statuses.len(), 1);
    assert!(is_serving(n2).await, "pipelines run on");
}

#[tokio::test]
async fn without_etcd_nothing_is_changed_and_statuses_are_told() {
    let world = World::with_nodes(1).await;
    world.create("orders").await;
    world.reaches(0, "orders", PipelineState::Running).await;
    served(&world.nodes[0]).await;
    assert_eq!(page(&world.nodes[0], "/health/ready").await.0, "200");
    let (code, health) = page(&world.nodes[0], "/health").await;
    assert_eq!((code.as_str(), &health["pipelines"][0]["state"]), ("200", &"running".into()), "{health}");
    let mut states = world.nodes[0].cluster().watch(v1::WatchClusterRequest {}).await.expect("watch").into_inner();
    // Frozen, it breaks no connection: a call that needs it must find out by itself.
    world.etcd.pause(0);
    let n1 = &world.nodes[0];
    let (message, reason, _) = refused(in_time(n1.cluster().get(v1::GetClusterRequest {})).await, Code::Unavailable);
    assert!(message.contains("etcd") && reason == "ETCD_UNAVAILABLE", "{message}");
    let drain = v1::DrainNodeRequest { node: "n1".to_owned(), ..Default::default() };
    refused(in_time(n1.cluster().drain(drain)).await, Code::Unavailable);
    let end = async {
        while states.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    let ended = tokio::time::timeout(SOON, end).await.expect("the watch ends");
    assert_eq!(ended.expect_err("an end with a reason").code(), Code::Unavailable);
    refused(in_time(n1.pipelines().pause(pause())).await, Code::Unavailable);
    let listed = in_time(n1.list()).await.remove(0);
    assert_eq!(listed.status.map(|status| status.state()), Some(PipelineState::Running));
    eventually(SOON, "it says that it is not ready", async || {
        let (code, ready) = page(n1, "/health/ready").await;
        if code == "503" && !is_serving(n1).await { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
    let (code, health) = page(n1, "/health").await;
    assert_eq!(code, "503");
    assert!(health["problems"][0].as_str().is_some_and(|problem| problem.contains("etcd")), "{health}");
    assert_eq!(page(n1, "/health/live").await.0, "200");
    world.etcd.resume(0);
    let n1 = &world.nodes[0];
    eventually(SOON, "it is ready again", async || {
        if is_serving(n1).await { Ok(()) } else { Err(format!("{:?}", n1.node.lacks())) }
    })
    .await;
    eventually(SOON, "changes are taken again", async || {
        n1.pipelines().pause(pause()).await.map(drop).map_err(|status| status.to_string())
    })
    .await;
    world.reaches(0, "orders", PipelineState::Paused).await;
}
