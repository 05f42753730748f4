//! A node that answers from a script and notes what it was asked.

mod cluster;
mod dead_letters;
mod pipelines;

use std::sync::{Arc, Mutex, MutexGuard};

use rosetta_proto::v1::{
    Change, ClusterState, cluster_server::ClusterServer, dead_letters_server::DeadLettersServer,
    pipelines_server::PipelinesServer,
};
use tokio::task::JoinHandle;
use tonic::{
    Status,
    transport::{Server, server::TcpIncoming},
};

/// What a node is to answer, and what it was asked.
#[derive(Default)]
pub(super) struct Script {
    /// The answer to every call, if set.
    pub(super) refusal: Option<Status>,
    pub(super) pipelines: Vec<String>,
    pub(super) changes: Vec<Change>,
    pub(super) fingerprint: String,
    /// What each opened Watch sends before it ends; the last one stays open.
    pub(super) watches: Vec<Vec<ClusterState>>,
    /// Each call: its name, and what was asked, in short.
    pub(super) asked: Vec<(&'static str, String)>,
    pub(super) request_ids: Vec<String>,
}

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Script>>);

/// Ends with the test.
pub(super) struct Node {
    pub(super) url: String,
    fake: Fake,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Fake {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn ask(&self, call: &'static str, what: &str, request_id: &str) -> Result<MutexGuard<'_, Script>, Status> {
        let mut script = self.script();
        script.asked.push((call, what.to_owned()));
        script.request_ids.push(request_id.to_owned());
        match &script.refusal {
            Some(status) => Err(status.clone()),
            None => Ok(script),
        }
    }
}

impl Node {
    pub(super) fn start(script: Script) -> Node {
        let fake = Fake(Arc::new(Mutex::new(script)));
        let address = ([127, 0, 0, 1], 0).into();
        let incoming = TcpIncoming::bind(address).unwrap_or_else(|error| panic!("{error}"));
        let url = incoming.local_addr().map_or_else(|error| panic!("{error}"), |address| format!("http://{address}"));
        let server = Server::builder()
            .add_service(PipelinesServer::new(fake.clone()))
            .add_service(ClusterServer::new(fake.clone()))
            .add_service(DeadLettersServer::new(fake.clone()))
            .serve_with_incoming(incoming);
        Node { url, fake, server: tokio::spawn(server) }
    }

    pub(super) fn asked(&self) -> Vec<(&'static str, String)> {
        self.fake.script().asked.clone()
    }

    pub(super) fn request_ids(&self) -> Vec<String> {
        self.fake.script().request_ids.clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}
