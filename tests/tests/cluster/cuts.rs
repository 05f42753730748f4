//! A node that is cut off from one thing only.

use rosetta_tests::cluster::{AuditLoad, Before, Cluster, Cut, Effort, Rate, Shape, WITHIN};

const SEED: u64 = 4;

struct Scene {
    cluster: Cluster,
    load: AuditLoad,
}

impl Scene {
    async fn start() -> Scene {
        let cluster = Cluster::running(Shape { with_ways: true, ..Shape::default() }).await;
        let load = AuditLoad::start(&cluster.world, SEED, Rate::default());
        Scene { cluster, load }
    }

    /// A node with pipelines, the leader every other time, and what it wrote last.
    async fn victim(&self, round: usize) -> (String, Before) {
        let Scene { cluster, .. } = self;
        let name = if round.is_multiple_of(2) { cluster.busiest() } else { cluster.leader().await };
        let before = cluster.before_of(&name).await;
        (name, before)
    }

    /// All is as before: everybody is there, everything flows.
    async fn recovers(&self) {
        self.cluster.joined().await;
        self.cluster.at_rest().await;
        self.cluster.flows().await;
    }

    async fn judge(self, what: &str) {
        eprintln!("{what}: {}", self.cluster.judge(self.load).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_etcd_is_succeeded() {
    let (effort, scene) = (Effort::of(2), Scene::start().await);
    for round in 0..effort.rounds {
        let (name, before) = scene.victim(round).await;
        scene.cluster[&name].way().cut(Cut::Etcd);
        scene.cluster.taken_over(&before, WITHIN).await;
        scene.load.goes_on(100).await;
        scene.cluster[&name].way().mend(Cut::Etcd);
        scene.recovers().await;
    }
    scene.judge("cut off from etcd").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_the_source_is_succeeded() {
    let (effort, scene) = (Effort::of(1), Scene::start().await);
    for round in 0..effort.rounds {
        let (name, before) = scene.victim(round).await;
        scene.cluster[&name].way().cut(Cut::Source);
        scene.cluster.taken_over(&before, WITHIN).await;
        scene.cluster[&name].way().mend(Cut::Source);
        scene.recovers().await;
    }
    scene.judge("cut off from the source").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_refused_by_the_destination_is_succeeded() {
    let (effort, scene) = (Effort::of(1), Scene::start().await);
    for round in 0..effort.rounds {
        let (name, before) = scene.victim(round).await;
        scene.cluster[&name].way().refuse(Cut::Destination).await;
        scene.cluster.taken_over(&before, WITHIN).await;
        scene.cluster[&name].way().accept(Cut::Destination).await;
        scene.recovers().await;
    }
    scene.judge("refused by the destination").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_network_holds_back_arrives_late_and_harms_nothing() {
    let (effort, scene) = (Effort::of(2), Scene::start().await);
    for round in 0..effort.rounds {
        // Its transactions hang on their way to the destination while others take over, and arrive afterwards.
        let (name, before) = scene.victim(round).await;
        scene.cluster[&name].way().cut(Cut::Destination);
        scene.load.goes_on(20).await;
        scene.cluster[&name].way().cut(Cut::Etcd);
        scene.cluster.taken_over(&before, WITHIN).await;
        scene.cluster[&name].way().mend(Cut::Destination);
        scene.load.goes_on(50).await;
        scene.cluster[&name].way().mend(Cut::Etcd);
        scene.recovers().await;
    }
    scene.judge("late transactions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_its_peers_do_not_reach_harms_nothing() {
    let (effort, scene) = (Effort::of(2), Scene::start().await);
    for round in 0..effort.rounds {
        let (name, _) = scene.victim(round).await;
        let way = scene.cluster[&name].way();
        way.cut(Cut::Peers);
        scene.load.goes_on(200).await;
        scene.cluster.flows().await;
        way.mend(Cut::Peers);
        // Refused, it looks dead although it lives.
        way.refuse(Cut::Peers).await;
        scene.load.goes_on(200).await;
        scene.cluster.flows().await;
        way.accept(Cut::Peers).await;
        scene.recovers().await;
    }
    scene.judge("cut off from its peers").await;
}
