//! The pipelines that this node is to run, by the records: one [`Keeper`] each, woken when its records have changed.

mod activity;
mod keeper;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rosetta_coordinator::{
    records::{Assignment, Owner},
    store::Revision,
    view::View,
};
use rosetta_proto::PipelineName;
use tokio::{
    sync::watch,
    task::{self, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::keeper::Keeper;
use super::Node;
use crate::{config::Settings, secret::Keyring};

/// What it takes to make a job of a record.
pub struct Workshop {
    pub settings: Settings,
    pub keys: Arc<Keyring>,
}

/// What a keeper decides from, apart from its own state: it is woken when this has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Basis {
    assignment: Option<Revision>,
    pipeline: Option<Revision>,
    registration: Option<Revision>,
}

struct Kept {
    basis: watch::Sender<Basis>,
    task: task::Id,
}

/// Keeps this node's pipelines as the records say until `stop`; then ends them gently, all at once.
pub(super) async fn run(node: Arc<Node>, workshop: Arc<Workshop>, stop: CancellationToken) {
    let mut views = node.views.subscribe();
    let mut runner = Runner { node, workshop, stop: stop.clone(), kept: BTreeMap::new(), tasks: JoinSet::new() };
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        runner.wake(&view);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = views.changed() => if changed.is_err() { break },
            Some(ended) = runner.tasks.join_next() => if let Err(panic) = ended { runner.lost(&panic) },
        }
    }
    while runner.tasks.join_next().await.is_some() {}
}

struct Runner {
    node: Arc<Node>,
    workshop: Arc<Workshop>,
    stop: CancellationToken,
    kept: BTreeMap<PipelineName, Kept>,
    tasks: JoinSet<()>,
}

impl Runner {
    /// Wakes the keepers whose records have changed; makes those that are lacking, lets go those whose pipelines are gone.
    fn wake(&mut self, view: &View) {
        let me = self.node.owner();
        let registration = registration(view, &me);
        let concerned = view.assignments.values().filter(|current| concerns(&current.record, &me));
        let mut names: BTreeSet<PipelineName> = concerned.map(|current| current.record.pipeline.clone()).collect();
        names.extend(self.kept.keys().cloned());
        for name in names {
            let assignment = view.assignments.get(&name).map(|record| record.modified);
            let pipeline = view.pipelines.get(&name).map(|record| record.modified);
            if assignment.is_none() && pipeline.is_none() {
                self.kept.remove(&name);
                continue;
            }
            let basis = Basis { assignment, pipeline, registration };
            match self.kept.get(&name) {
                Some(kept) => drop(kept.basis.send_if_modified(|last| std::mem::replace(last, basis) != basis)),
                None => self.keep(name, basis),
            }
        }
    }

    fn keep(&mut self, name: PipelineName, basis: Basis) {
        let (sender, receiver) = watch::channel(basis);
        let keeper = Keeper::new(name.clone(), Arc::clone(&self.node), Arc::clone(&self.workshop));
        let task = self.tasks.spawn(keeper.keep(receiver, self.stop.clone())).id();
        self.kept.insert(name, Kept { basis: sender, task });
    }

    /// A keeper panicked: another one begins with the next picture, at the latest when the records are listed anew.
    fn lost(&mut self, panic: &task::JoinError) {
        error!("a pipeline's keeper ended abnormally and is replaced: {panic}");
        self.kept.retain(|_, kept| kept.task != panic.id());
    }
}

fn concerns(assignment: &Assignment, me: &Owner) -> bool {
    let is_next = assignment.handover.as_ref().is_some_and(|handover| handover.next.node == me.node);
    is_next || assignment.owner.node == me.node
}

/// When the record of this start of the node was written, if it is there: the condition of all that the node writes.
fn registration(view: &View, me: &Owner) -> Option<Revision> {
    let node = view.nodes.get(&me.node)?;
    (node.record.incarnation == me.incarnation).then_some(node.modified)
}
