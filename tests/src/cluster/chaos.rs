//! Faults at random, by seed, one or two at a time, on a cluster under load; then the oracle.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{AuditLoad, Cluster, Cut, Figures, Rate, Shape, Verdict, WITHIN, now_us};
use crate::postgres::Stop;

/// Every connection can be cut, and etcd can lose a member.
const SHAPE: Shape = Shape { nodes: 3, pipelines: 20, etcd_members: 3, with_ways: true };
/// How long a fault lasts, in transactions of the load; about 80 are made in a second, and a lease lasts 6.
const LASTS: std::ops::Range<u64> = 20..1200;

/// Something that goes wrong, or that an operator does meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Kill(String),
    /// Killed and started again at once.
    Restart(String),
    Terminate(String),
    Sleep(String),
    Cut(String, Cut),
    Refuse(String, Cut),
    FreezeEtcd(usize),
    KillEtcd(usize),
    LoseCatalog,
    Drain(String),
    Move {
        pipeline: String,
        to: String,
    },
}

impl Fault {
    fn any(rng: &mut StdRng, nodes: &[String], pipelines: &[String]) -> Fault {
        let node = nodes.choose(rng).cloned().unwrap_or_default();
        let from = *Cut::ALL.choose(rng).unwrap_or(&Cut::Etcd);
        let member = rng.random_range(0..SHAPE.etcd_members);
        match rng.random_range(0..20) {
            0..4 => Fault::Kill(node),
            4..6 => Fault::Restart(node),
            6 => Fault::Terminate(node),
            7..10 => Fault::Sleep(node),
            10..13 => Fault::Cut(node, from),
            13..15 => Fault::Refuse(node, from),
            15 => Fault::FreezeEtcd(member),
            16 => Fault::KillEtcd(member),
            17 => Fault::LoseCatalog,
            18 => Fault::Drain(node),
            _ => Fault::Move { pipeline: pipelines.choose(rng).cloned().unwrap_or_default(), to: node },
        }
    }

    /// What it happens to. Two faults at a time happen to different things, so that each can be undone by itself.
    fn victim(&self) -> &str {
        match self {
            Fault::Kill(node) | Fault::Restart(node) | Fault::Terminate(node) | Fault::Sleep(node) => node,
            Fault::Cut(node, _) | Fault::Refuse(node, _) | Fault::Drain(node) => node,
            Fault::FreezeEtcd(_) | Fault::KillEtcd(_) => "etcd",
            Fault::LoseCatalog => "the config database",
            Fault::Move { pipeline, .. } => pipeline,
        }
    }

    fn kind(&self) -> String {
        match self {
            Fault::Kill(_) => "kill -9".to_owned(),
            Fault::Restart(_) => "restart in place".to_owned(),
            Fault::Terminate(_) => "SIGTERM".to_owned(),
            Fault::Sleep(_) => "SIGSTOP".to_owned(),
            Fault::Cut(_, from) => format!("cut from {from:?}"),
            Fault::Refuse(_, from) => format!("refused by {from:?}"),
            Fault::FreezeEtcd(_) => "etcd member frozen".to_owned(),
            Fault::KillEtcd(_) => "etcd member killed".to_owned(),
            Fault::LoseCatalog => "config database lost".to_owned(),
            Fault::Drain(_) => "drain".to_owned(),
            Fault::Move { .. } => "move".to_owned(),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    pub seed: u64,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<String, u64>,
    /// From a `kill -9`, with nothing else going wrong, to the first row by the new owner.
    pub failover: Figures,
    /// From the end of the faults until everything flows.
    pub recovery: Figures,
    pub verdict: Verdict,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} faults", self.seed, self.faults.values().sum::<u64>())?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {count:4} {kind}")?;
        }
        writeln!(f, "kill -9 to the first row by the new owner: {}", self.failover)?;
        writeln!(f, "all flows after the faults: {}", self.recovery)?;
        write!(f, "verdict: {}", self.verdict)
    }
}

/// Runs faults for `length` and judges.
pub async fn run(seed: u64, length: Duration) -> Report {
    let cluster = Cluster::running(SHAPE).await;
    let load = AuditLoad::start(&cluster.world, seed, Rate::default());
    let rng = StdRng::seed_from_u64(seed);
    let mut chaos = Chaos { cluster, load, rng, faults: BTreeMap::new(), failover: Figures::default() };
    let (end, mut recovery) = (Instant::now() + length, Figures::default());
    while Instant::now() < end {
        recovery.add(chaos.round().await);
    }
    let Chaos { cluster, load, faults, failover, .. } = chaos;
    let verdict = cluster.verdict(load).await;
    Report { seed, faults, failover, recovery, verdict }
}

struct Chaos {
    cluster: Cluster,
    load: AuditLoad,
    rng: StdRng,
    faults: BTreeMap<String, u64>,
    failover: Figures,
}

impl Chaos {
    /// One or two faults, and back. Answers how long the cluster took to recover, in microseconds.
    async fn round(&mut self) -> i64 {
        let faults = self.choose();
        eprintln!("{faults:?}");
        if let [Fault::Kill(node)] = &faults[..] {
            self.measured_kill(&node.clone()).await;
        } else {
            for fault in &faults {
                *self.faults.entry(fault.kind()).or_default() += 1;
                self.inject(fault).await;
            }
            let lasts = self.rng.random_range(LASTS);
            self.load.goes_on(lasts).await;
        }
        for fault in &faults {
            self.heal(fault).await;
        }
        let healed = now_us();
        self.cluster.joined().await;
        self.cluster.at_rest().await;
        self.cluster.flow_within(2 * WITHIN).await;
        now_us() - healed
    }

    fn choose(&mut self) -> Vec<Fault> {
        let nodes: Vec<String> = self.cluster.nodes().iter().map(|node| node.name().to_owned()).collect();
        let pipelines: Vec<String> = self.cluster.world.pipelines.iter().map(|p| p.name.clone()).collect();
        let mut faults = vec![Fault::any(&mut self.rng, &nodes, &pipelines)];
        if self.rng.random_ratio(1, 3) {
            let second = Fault::any(&mut self.rng, &nodes, &pipelines);
            if second.victim() != faults[0].victim() {
                faults.push(second);
            }
        }
        faults
    }

    async fn measured_kill(&mut self, node: &str) {
        *self.faults.entry(Fault::Kill(node.to_owned()).kind()).or_default() += 1;
        let before = self.cluster.before_of(node).await;
        let killed = self.cluster[node].kill9().await;
        self.cluster.taken_over(&before, WITHIN).await;
        let figures = self.cluster.first_rows(&before, killed).await;
        self.failover.add_all(&figures);
    }

    async fn inject(&mut self, fault: &Fault) {
        let cluster = &mut self.cluster;
        match fault {
            Fault::Kill(node) => _ = cluster[node].kill9().await,
            Fault::Restart(node) => {
                cluster[node].kill9().await;
                cluster[node].start().await;
            }
            Fault::Terminate(node) => _ = cluster[node].terminate().await,
            Fault::Sleep(node) => cluster[node].sleep(),
            Fault::Cut(node, from) => cluster[node].way().cut(*from),
            Fault::Refuse(node, from) => cluster[node].way().refuse(*from).await,
            Fault::FreezeEtcd(member) => cluster.world.etcd.pause(*member),
            Fault::KillEtcd(member) => cluster.world.etcd.kill(*member),
            Fault::LoseCatalog => cluster.world.catalog.stop(Stop::Immediate),
            // What an operator asks for while something else is broken may be refused.
            Fault::Drain(node) => _ = cluster.cli(&["drain", node, "--timeout", "0"]).await,
            Fault::Move { pipeline, to } => _ = cluster.cli(&["move", pipeline, "--to", to]).await,
        }
    }

    async fn heal(&mut self, fault: &Fault) {
        let cluster = &mut self.cluster;
        match fault {
            Fault::Kill(node) | Fault::Terminate(node) => cluster[node].start().await,
            Fault::Restart(_) | Fault::Move { .. } => {}
            Fault::Sleep(node) => cluster[node].wake(),
            Fault::Cut(node, from) => cluster[node].way().mend(*from),
            Fault::Refuse(node, from) => cluster[node].way().accept(*from).await,
            Fault::FreezeEtcd(member) => cluster.world.etcd.resume(*member),
            Fault::KillEtcd(member) => cluster.world.etcd.start_again(*member).await,
            Fault::LoseCatalog => cluster.world.catalog.start_again().await,
            Fault::Drain(node) => cluster.tell_eventually(&["undrain", node]).await,
        }
    }
}

impl Cut {
    /// All that a node can be cut off from.
    const ALL: [Cut; 5] = [Cut::Etcd, Cut::Catalog, Cut::Source, Cut::Destination, Cut::Peers];
}
