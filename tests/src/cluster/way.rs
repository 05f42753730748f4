//! How a node reaches everything else: directly, or each server through a proxy of the node's own that can be cut.
//!
//! A definition holds one URL for all nodes. So that a node's connections nevertheless go through its own proxies, these
//! listen on Unix sockets in the node's folder, and the URL names the folder as `/proc/self/cwd`.

use std::path::Path;

use super::world::{PASSWORD, World};
use crate::proxy::Proxy;

const SOURCE_PORT: u16 = 1;
const DESTINATION_PORT: u16 = 2;

/// What a node is cut off from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Etcd,
    Catalog,
    Source,
    Destination,
    /// Others do not reach the node; it reaches them.
    Peers,
}

pub enum Way {
    Direct { etcd: Vec<String>, catalog: u16, source: u16, destination: u16 },
    Proxied(Box<Proxies>),
}

/// A proxy in front of each server, and in front of the node itself.
pub struct Proxies {
    etcd: Vec<Proxy>,
    catalog: Proxy,
    source: Proxy,
    destination: Proxy,
    peers: Option<Proxy>,
}

impl Way {
    pub(super) fn direct(world: &World) -> Way {
        Way::Direct {
            etcd: world.etcd.endpoints(),
            catalog: world.catalog.port(),
            source: world.source.port(),
            destination: world.destination.port(),
        }
    }

    pub(super) async fn through_proxies(world: &World, folder: &Path) -> Way {
        std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("create {}: {e}", folder.display()));
        let mut etcd = Vec::new();
        for member in 0..world.etcd.endpoints().len() {
            etcd.push(Proxy::start(world.etcd.port(member)).await);
        }
        let socket = |port: u16| folder.join(format!(".s.PGSQL.{port}"));
        Way::Proxied(Box::new(Proxies {
            etcd,
            catalog: Proxy::start(world.catalog.port()).await,
            source: Proxy::start_unix(&socket(SOURCE_PORT), world.source.port()),
            destination: Proxy::start_unix(&socket(DESTINATION_PORT), world.destination.port()),
            peers: None,
        }))
    }

    /// Puts a proxy in front of the node's gRPC `port`, when the node is to have one. Answers where peers reach the node.
    pub(super) async fn front(&mut self, port: u16) -> String {
        match self {
            Way::Direct { .. } => format!("127.0.0.1:{port}"),
            Way::Proxied(proxies) => proxies.peers.insert(Proxy::start(port).await).address(),
        }
    }

    pub(super) fn etcd_endpoints(&self) -> String {
        match self {
            Way::Direct { etcd, .. } => etcd.join(","),
            Way::Proxied(proxies) => {
                let endpoints: Vec<String> =
                    proxies.etcd.iter().map(|proxy| format!("http://{}", proxy.address())).collect();
                endpoints.join(",")
            }
        }
    }

    pub(super) fn catalog_port(&self) -> String {
        match self {
            Way::Direct { catalog, .. } => catalog.to_string(),
            Way::Proxied(proxies) => {
                proxies.catalog.address().rsplit(':').next().map(str::to_owned).expect("an address of host and port")
            }
        }
    }

    #[must_use]
    pub fn source_url(&self, db: &str) -> String {
        match self {
            Way::Direct { source, .. } => tcp_url(*source, db),
            Way::Proxied(_) => own_url(SOURCE_PORT, db),
        }
    }

    #[must_use]
    pub fn destination_url(&self, db: &str) -> String {
        match self {
            Way::Direct { destination, .. } => tcp_url(*destination, db),
            Way::Proxied(_) => own_url(DESTINATION_PORT, db),
        }
    }

    /// Nothing passes any more; connections stay open, as in a network that has lost a cable.
    pub fn cut(&self, from: Cut) {
        self.proxies(from).into_iter().for_each(Proxy::stall);
    }

    /// What was held back by `cut` arrives.
    pub fn mend(&self, from: Cut) {
        self.proxies(from).into_iter().for_each(Proxy::unstall);
    }

    /// Connections are closed and refused, as by a firewall that says so.
    pub async fn refuse(&self, from: Cut) {
        for proxy in self.proxies(from) {
            proxy.refuse().await;
        }
    }

    pub async fn accept(&self, from: Cut) {
        for proxy in self.proxies(from) {
            proxy.accept().await;
        }
    }

    fn proxies(&self, cut: Cut) -> Vec<&Proxy> {
        let Way::Proxied(proxies) = self else {
            panic!("cannot cut a node from {cut:?}: its connections go through no proxy")
        };
        let Proxies { etcd, catalog, source, destination, peers } = &**proxies;
        match cut {
            Cut::Etcd => etcd.iter().collect(),
            Cut::Catalog => vec![catalog],
            Cut::Source => vec![source],
            Cut::Destination => vec![destination],
            Cut::Peers => peers.iter().collect(),
        }
    }

    /// The process behind `front` is gone: what connects is refused, as if there were no proxy.
    pub(super) async fn process_gone(&self) {
        if let Way::Proxied(proxies) = self
            && let Some(peers) = &proxies.peers
        {
            peers.refuse().await;
        }
    }

    pub(super) async fn process_there(&self) {
        if let Way::Proxied(proxies) = self
            && let Some(peers) = &proxies.peers
        {
            peers.accept().await;
        }
    }
}

fn tcp_url(port: u16, db: &str) -> String {
    format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/{db}")
}

fn own_url(port: u16, db: &str) -> String {
    format!("postgres://postgres:{PASSWORD}@/{db}?host=/proc/self/cwd&port={port}")
}
