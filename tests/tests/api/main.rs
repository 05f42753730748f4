//! The API of a cluster's nodes, on a real etcd and a real config database. The nodes live in this process, each on a
//! runtime of its own, so that one can be taken away.

mod changes;
mod nodes;
mod outages;
mod peers;
mod statuses;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rosetta_coordinator::store::EtcdOptions;
use rosetta_node::{
    api::{Listeners, serve_cluster},
    catalog::{Catalog, CatalogSettings},
    cluster::{self, Node, NodeOptions, Running},
    config::Settings,
    postgres::PgUrl,
    secret::Keyring,
};
use rosetta_proto::v1::{
    self, cluster_client::ClusterClient, peers_client::PeersClient, pipelines_client::PipelinesClient,
};
use rosetta_tests::{Etcd, Options, Postgres, SOON, eventually};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};

const CONFIG: &str = "rosetta";
const SOURCE: &str = "postgres";
const PASSWORD: &str = "s3cret";
const KEY: &str = "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// What docs/CLUSTER.md promises of calls while something is away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// The servers, and the nodes that were started.
struct World {
    nodes: Vec<Peer>,
    etcd: Etcd,
    server: Postgres,
}

/// A node of this process.
struct Peer {
    node: Arc<Node>,
    grpc: SocketAddr,
    http: SocketAddr,
    running: Option<Running>,
    runtime: Option<Runtime>,
    _answering: JoinHandle<()>,
}

impl World {
    /// Nodes n1, n2, ... that all see each other; one leads.
    async fn with_nodes(count: usize) -> World {
        let (etcd, server) = tokio::join!(Etcd::start(), Postgres::start(Options::default()));
        server.create_database(CONFIG).await;
        server.sql(SOURCE, "create table orders (id int primary key); create table bills (id int primary key)").await;
        let mut world = World { nodes: Vec::new(), etcd, server };
        for number in 1..=count {
            let peer = world.start(&format!("n{number}")).await;
            world.nodes.push(peer);
        }
        for peer in &world.nodes {
            eventually(SOON, "the nodes see each other and are ready", async || {
                let view = peer.node.views.now();
                let lacks = peer.node.lacks();
                let is_whole = view.nodes.len() == count && view.leader().is_some() && lacks.is_empty();
                if is_whole { Ok(()) } else { Err(format!("{lacks:?}, {} nodes", view.nodes.len())) }
            })
            .await;
        }
        world
    }

    async fn start(&self, id: &str) -> Peer {
        let url = PgUrl::parse(&self.server.url(CONFIG)).expect("a URL");
        let settings = Settings::default();
        let (main_pool_max, pipeline_pool_max) = (settings.main_pool_max, settings.pipeline_pool_max);
        let keys = Keyring::from_env(|name| (name == "ROSETTA_SECRET_KEY").then(|| KEY.to_owned())).expect("a key");
        let keys = Arc::new(keys);
        let catalog = CatalogSettings { url, main_pool_max, pipeline_pool_max };
        let catalog = Catalog::new(catalog, Arc::clone(&keys)).expect("a catalog");
        let (id, etcd) = (id.parse().expect("a name"), EtcdOptions::new(self.etcd.endpoints()));
        let runtime = Runtime::new().expect("a runtime");
        let started = runtime.spawn(async move {
            let listener = async || TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let listeners = Listeners::new(listener().await, listener().await);
            let (grpc, http) = (listeners.grpc_address().expect("gRPC"), listeners.http_address().expect("HTTP"));
            let (cluster, address) = ("test".to_owned(), grpc.to_string());
            let options = NodeOptions { cluster, id, address, etcd, catalog, settings, keys, dead_letters: None };
            let running = cluster::start(options).expect("a node");
            let node = Arc::clone(&running.node);
            let answering = tokio::spawn(async move {
                serve_cluster(node, listeners, CancellationToken::new()).await.expect("it answers");
            });
            (running, grpc, http, answering)
        });
        let (running, grpc, http, answering) = started.await.expect("a started node");
        let node = Arc::clone(&running.node);
        Peer { node, grpc, http, running: Some(running), runtime: Some(runtime), _answering: answering }
    }

    /// Defines a pipeline that reads a real table and counts.
    async fn create(&self, name: &str) -> v1::StoredPipeline {
        self.nodes[0].pipelines().create(self.creation(name)).await.expect("create").into_inner()
    }

    fn creation(&self, name: &str) -> v1::CreatePipelineRequest {
        let text = str::to_owned;
        // The server trusts everyone: any password will do, and must not be seen again.
        let url = self.server.url(SOURCE).replacen('@', &format!(":{PASSWORD}@"), 1);
        let count = v1::Destination { name: text("count"), kind: text("null"), url: String::new() };
        v1::CreatePipelineRequest {
            pipeline: Some(v1::Pipeline {
                name: text(name),
                source: text("shop"),
                destinations: vec![text("count")],
                tables: vec![format!("public.{name}")],
                ..v1::Pipeline::default()
            }),
            source: Some(v1::Source { name: text("shop"), url }),
            destinations: vec![count],
            ..v1::CreatePipelineRequest::default()
        }
    }

    /// Waits until node `asked` shows the pipeline in this state; answers its status.
    async fn reaches(&self, asked: usize, name: &str, state: v1::PipelineState) -> v1::PipelineStatus {
        eventually(SOON, &format!("{name} is {state:?}"), async || {
            let status = self.nodes[asked].status(name).await?;
            if status.state() == state { Ok(status) } else { Err(format!("{status:?}")) }
        })
        .await
    }

    /// The nodes' places in `nodes`: the owner's, and another's.
    fn owner_and_other(&self, status: &v1::PipelineStatus) -> (usize, usize) {
        let owner = self.nodes.iter().position(|peer| peer.id() == status.node).expect("a node owns it");
        (owner, usize::from(owner == 0))
    }
}

impl Peer {
    fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).expect("an address").connect_lazy()
    }

    fn pipelines(&self) -> PipelinesClient<Channel> {
        PipelinesClient::new(self.channel())
    }

    fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel())
    }

    fn peers(&self) -> PeersClient<Channel> {
        PeersClient::new(self.channel())
    }

    fn id(&self) -> &str {
        self.node.record.id.as_str()
    }

    async fn status(&self, name: &str) -> Result<v1::PipelineStatus, String> {
        let request = v1::GetPipelineRequest { name: name.to_owned() };
        let answer = self.pipelines().get(request).await.map_err(|status| status.to_string())?;
        answer.into_inner().status.ok_or_else(|| "no status".to_owned())
    }

    async fn list(&self) -> Vec<v1::ListedPipeline> {
        let answer = self.pipelines().list(v1::ListPipelinesRequest::default()).await.expect("list");
        answer.into_inner().pipelines
    }

    async fn state(&self) -> v1::ClusterState {
        self.cluster().get(v1::GetClusterRequest {}).await.expect("the cluster").into_inner()
    }

    async fn node(&self, id: &str) -> v1::Node {
        let found = self.state().await.nodes.into_iter().find(|node| node.id == id);
        found.unwrap_or_else(|| panic!("{id} is not shown"))
    }

    /// The process is gone, as far as its peers can tell: its sockets are closed, and only its session goes on to renew
    /// the lease, so that nothing but a revocation can end it.
    fn vanish(&mut self) {
        std::mem::forget(self.running.take());
        self.runtime.take().expect("it runs").shutdown_background();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Within a test, a runtime cannot be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The reason and the fields of a refusal, and that it is of this code.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code) -> (String, String, Vec<String>) {
    let status = answer.expect_err("a refusal");
    assert_eq!(status.code(), code, "{status}");
    let details = rosetta_proto::error_details(&status);
    let fields = details.fields.into_iter().map(|field| field.field).collect();
    (status.message().to_owned(), details.reason.unwrap_or_default(), fields)
}
