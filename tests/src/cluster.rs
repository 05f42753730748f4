//! A cluster of real processes: etcd, a config database, a source and a destination server, and nodes, each with its own
//! folder, ports and log. Every pipeline carries one *audit table*: rows are only added, there is no key, and the
//! destination writes down when and under which epoch each row came; so nothing that is lost, doubled or late can hide.
//!
//!     World (servers) <- Way (a node's connections, each of which can be cut) <- Node (a process) <- Cluster
//!     AuditLoad -> source;   destination -> Arrivals (who wrote what when) -> Verdict;   etcd -> Records (who owns what)

mod arrivals;
pub mod chaos;
mod effort;
mod figures;
mod load;
mod machine;
mod node;
mod records;
mod takeover;
mod verdict;
mod way;
mod world;

use std::{
    collections::BTreeSet,
    ops::{Index, IndexMut},
    time::Duration,
};

pub use self::{
    arrivals::{Arrivals, Spell, now_us},
    effort::Effort,
    figures::Figures,
    load::{AuditLoad, Rate},
    node::Node,
    records::{Move, Moves, Records, Start},
    takeover::Before,
    verdict::Verdict,
    way::{Cut, Way},
    world::{CATALOG, MIRROR, Pipeline, World},
};
use crate::{
    rosetta::{Answer, run},
    scratch::Scratch,
    wait::eventually,
};

/// For what a cluster does by itself, such as taking a pipeline over after the longest lease, on a machine that builds
/// and tests other things beside.
pub const WITHIN: Duration = Duration::from_secs(120);

/// What to start.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub nodes: usize,
    pub pipelines: usize,
    pub etcd_members: usize,
    /// Every connection of a node goes through a proxy of its own, so that it can be cut.
    pub with_ways: bool,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { nodes: 3, pipelines: 20, etcd_members: 1, with_ways: false }
    }
}

pub struct Cluster {
    // First, so that nodes end before the servers do.
    nodes: Vec<Node>,
    pub world: World,
    pub records: Records,
    shape: Shape,
    scratch: Scratch,
    // Last, so that it is given up when all the rest is gone.
    _machine: machine::Turn,
}

impl Cluster {
    /// Servers and nodes, all of whom have joined; no pipelines yet.
    pub async fn start(shape: Shape) -> Cluster {
        let mut cluster = Box::pin(Cluster::without_nodes(shape)).await;
        for _ in 0..shape.nodes {
            cluster.add_node().await;
        }
        cluster.joined().await;
        cluster
    }

    /// All of that, and every pipeline copies what its table held and follows.
    pub async fn running(shape: Shape) -> Cluster {
        let cluster = Box::pin(Cluster::start(shape)).await;
        cluster.apply().await;
        cluster.flows().await;
        cluster
    }

    /// The servers only.
    pub async fn without_nodes(shape: Shape) -> Cluster {
        let machine = machine::Turn::take();
        let world = Box::pin(World::start(shape.pipelines, shape.etcd_members)).await;
        let records = Records::of(&world.etcd.endpoints());
        Cluster { nodes: Vec::new(), world, records, shape, scratch: Scratch::new(), _machine: machine }
    }

    /// A second process with the id of a node, with its own folder and ports; it is the caller's to start.
    #[must_use]
    pub fn twin_of(&self, name: &str) -> Node {
        Node::new(name, self.scratch.join(&format!("twin-of-{name}")), Way::direct(&self.world))
    }

    /// Starts one more node; does not wait for it.
    pub async fn add_node(&mut self) -> &mut Node {
        self.add_node_with(&[]).await
    }

    /// The same, with environment variables.
    pub async fn add_node_with(&mut self, variables: &[(&str, &str)]) -> &mut Node {
        let name = format!("n{}", self.nodes.len() + 1);
        let folder = self.scratch.join(&name);
        let way = if self.shape.with_ways {
            Way::through_proxies(&self.world, &folder).await
        } else {
            Way::direct(&self.world)
        };
        let mut node = Node::new(&name, folder, way);
        variables.iter().for_each(|(name, value)| node.set(name, value));
        node.start().await;
        self.nodes.push(node);
        self.nodes.last_mut().expect("it was just added")
    }

    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// Waits until each node whose process runs is registered in this start of it, and no other node is.
    pub async fn joined(&self) {
        let expected: BTreeSet<&str> = self.nodes.iter().filter(|node| node.runs()).map(Node::name).collect();
        eventually(WITHIN, "the nodes join", async || {
            let seen = self.records.live();
            let is_current = |node: &&Node| seen.get(node.name()).is_some_and(|start| node.is_at(start));
            let present: BTreeSet<&str> = self.nodes.iter().filter(is_current).map(Node::name).collect();
            if present == expected && seen.len() == expected.len() { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    /// The node that leads.
    pub async fn leader(&self) -> String {
        eventually(WITHIN, "a node leads", async || self.records.leader().ok_or("none".to_owned())).await
    }

    /// The running node with the most pipelines.
    #[must_use]
    pub fn busiest(&self) -> String {
        let running = self.nodes.iter().filter(|node| node.runs());
        let busiest = running.max_by_key(|node| self.records.owned_by(node.name()).len());
        busiest.map(|node| node.name().to_owned()).expect("a node that runs")
    }

    /// Some running node that is none of `not`.
    #[must_use]
    pub fn other_than(&self, not: &[&str]) -> String {
        let fits = |node: &&Node| node.runs() && !not.contains(&node.name());
        self.nodes.iter().find(fits).map(|node| node.name().to_owned()).expect("a node that runs")
    }

    /// A command of the CLI, asked of the nodes that run.
    pub async fn cli(&self, arguments: &[&str]) -> Answer {
        let endpoints: Vec<String> = self.nodes.iter().filter(|node| node.runs()).map(Node::endpoint).collect();
        run(&[arguments, &["--endpoint", &endpoints.join(",")]].concat(), &[]).await
    }

    /// The same; panics when it fails. Answers what it printed.
    pub async fn tell(&self, arguments: &[&str]) -> String {
        let answer = self.cli(arguments).await;
        assert_eq!(answer.code, Some(0), "rosetta {arguments:?}: {answer:?}");
        answer.stdout
    }

    /// The same, again and again until it succeeds: after an outage, say.
    pub async fn tell_eventually(&self, arguments: &[&str]) {
        eventually(WITHIN, &format!("rosetta {arguments:?} succeeds"), async || {
            let answer = self.cli(arguments).await;
            if answer.code == Some(0) { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }

    /// Defines all pipelines, by one `rosetta apply`.
    pub async fn apply(&self) {
        self.apply_with("").await;
    }

    /// The same, and what `more` of a definitions file says.
    pub async fn apply_with(&self, more: &str) {
        let file = self.scratch.join("pipelines.toml");
        let text = self.world.definitions(self.nodes[0].way()) + more;
        std::fs::write(&file, text).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
        self.tell(&["apply", "-f", &file.display().to_string(), "--yes"]).await;
    }

    /// Waits until every pipeline has brought what is committed at this moment to the destination.
    pub async fn flows(&self) {
        self.flow_within(WITHIN).await;
    }

    pub async fn flow_within(&self, deadline: Duration) {
        let names: Vec<&str> = self.world.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        self.these_flow(&names, deadline).await;
    }

    /// The same for some pipelines.
    pub async fn these_flow(&self, names: &[&str], deadline: Duration) {
        let mark = now_us();
        self.world.mark(mark).await;
        let arrivals = Arrivals::of(&self.world).await;
        eventually(deadline, "every pipeline flows", async || {
            let missing = arrivals.without_mark(mark, names).await?;
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}; owners: {:?}", self.records.owners())) }
        })
        .await;
    }

    /// Waits until the nodes that run own every pipeline, and nothing moves.
    pub async fn at_rest(&self) {
        eventually(WITHIN, "nothing moves", async || {
            let runs: BTreeSet<&str> = self.nodes.iter().filter(|node| node.runs()).map(Node::name).collect();
            let owners = self.records.owners();
            let is_owned = owners.len() >= self.world.pipelines.len() && owners.values().all(|o| runs.contains(&**o));
            if is_owned && self.records.moving() == 0 { Ok(()) } else { Err(format!("{owners:?}")) }
        })
        .await;
    }

    /// Waits until everything has arrived, then counts what was lost, doubled, or written by an older owner after a newer
    /// one. Panics when anything was, or when a node has said what it must not.
    pub async fn judge(&self, load: AuditLoad) -> Verdict {
        let verdict = self.verdict(load).await;
        assert!(verdict.is_clean(), "{verdict}");
        for node in &self.nodes {
            let log = node.log();
            assert!(!log.contains("panicked"), "{} panicked", node.name());
            assert!(!log.contains(world::PASSWORD), "{} logs a password", node.name());
        }
        verdict
    }

    /// The same without a panic.
    pub async fn verdict(&self, load: AuditLoad) -> Verdict {
        let committed = load.stop().await;
        self.flow_within(2 * WITHIN).await;
        Verdict::of(&self.world, committed).await
    }
}

impl Index<&str> for Cluster {
    type Output = Node;

    fn index(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name() == name).unwrap_or_else(|| panic!("no node {name}"))
    }
}

impl IndexMut<&str> for Cluster {
    fn index_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name() == name).unwrap_or_else(|| panic!("no node {name}"))
    }
}
