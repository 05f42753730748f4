use std::{sync::Arc, time::Duration};

use rosetta_coordinator::{
    handover::{LocalStep, advance, node_step},
    records::{Assignment, Desired, EpochBlock, PipelineRecord},
    store::{Condition, Put, Revision, StoreError, Txn},
    view::{Contact, View},
};
use rosetta_proto::{Epoch, PipelineName};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::{
    Basis, Workshop,
    activity::{Activity, Ended, Version, job},
    registration,
};
use crate::{
    cluster::{LocalPipeline, Node, epochs::BlockEpochs},
    pipeline::{
        PipelineError, Severity,
        job::Job,
        start::{Ready, prepare},
        status::{State, Status},
    },
    supervisor::{Running, watch_slot},
};

/// For the end of a transaction. Shorter than the leader waits for a release, and than a process may take to stop.
const STOPPED_WITHIN: Duration = Duration::from_millis(1800);
/// After a failure of the store, or of getting ready.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Between two times of taking a pipeline back.
const TAKEN_BACK_EVERY: Duration = Duration::from_secs(2);
/// A write was refused, and what was written instead was not seen yet: the records come by themselves before that.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Does with one pipeline what its records say, one step after the other.
pub(super) struct Keeper {
    name: PipelineName,
    node: Arc<Node>,
    workshop: Arc<Workshop>,
    activity: Activity,
    status: Arc<Status>,
    epochs: Option<Arc<BlockEpochs>>,
    /// Our last write, until the picture has it.
    written: Option<Current>,
    /// When it was last taken back from a process that had fenced it.
    taken_back: Option<Instant>,
    /// Watches the slot, whatever the pipeline does.
    slot_watch: JoinSet<()>,
}

/// An assignment, and the write that made it.
#[derive(Clone)]
struct Current {
    assignment: Assignment,
    modified: Revision,
}

/// When to decide again, if the records stay as they are.
type Again = Option<Instant>;

impl Keeper {
    pub(super) fn new(name: PipelineName, node: Arc<Node>, workshop: Arc<Workshop>) -> Keeper {
        let status = Arc::new(Status::new(name.as_str()));
        Keeper {
            name,
            node,
            workshop,
            activity: Activity::Idle,
            status,
            epochs: None,
            written: None,
            taken_back: None,
            slot_watch: JoinSet::new(),
        }
    }

    /// Runs until `stop`, or until nobody is left to wake it.
    pub(super) async fn keep(mut self, mut basis: watch::Receiver<Basis>, stop: CancellationToken) {
        let span = info_span!("pipeline", pipeline = self.name.as_str());
        async {
            loop {
                basis.mark_unchanged();
                let again = tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    again = self.step(basis.clone()) => again,
                };
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    changed = basis.changed() => if changed.is_err() { break },
                    ended = self.activity.ended(self.node.session.authority()) => self.ended(ended).await,
                    () = until(again) => {}
                }
            }
            self.leave().await;
        }
        .instrument(span)
        .await;
    }

    async fn step(&mut self, basis: watch::Receiver<Basis>) -> Again {
        let view = self.node.views.now();
        let (me, current) = (self.node.owner(), self.current(&view));
        let record = view.pipelines.get(&self.name).map(|recorded| recorded.record.clone());
        let assignment = current.as_ref().map(|current| &current.assignment);
        let step = node_step(assignment, record.as_ref().map(|record| record.desired), &me);
        let (Some(current), Some(record)) = (current, record) else {
            self.leave().await;
            return None;
        };
        let Some(registration) = registration(&view, &me) else {
            // Without its record a node goes on with what it has, and begins and writes nothing.
            if step == LocalStep::Stop {
                self.leave().await;
            }
            return None;
        };
        match step {
            LocalStep::Stop => self.leave().await,
            LocalStep::Rest { block } => self.rest(block, &record).await,
            LocalStep::Run { block } => return self.run(block, &record, &current, registration).await,
            LocalStep::Advance { write } => {
                info!("an earlier start of this node had it; going on");
                return self.write(write, &current, registration).await;
            }
            LocalStep::TakeOver { write } => return self.write(write, &current, registration).await,
            LocalStep::Release { write } => return self.release(write, &record, &current, registration).await,
            LocalStep::Prepare { write } => match self.get_ready(&record, &current, basis).await {
                Some(true) => return self.write(write, &current, registration).await,
                Some(false) => return Some(Instant::now() + RETRY_AFTER),
                None => {}
            },
            LocalStep::StandBy => {}
        }
        None
    }

    /// The assignment, of the picture or as we have written it since.
    fn current(&mut self, view: &View) -> Option<Current> {
        if self.written.as_ref().is_some_and(|written| written.modified <= view.revision) {
            self.written = None;
        }
        self.written.clone().or_else(|| {
            let recorded = view.assignments.get(&self.name)?;
            Some(Current { assignment: recorded.record.clone(), modified: recorded.modified })
        })
    }

    /// Not ours: nothing of it runs here.
    async fn leave(&mut self) {
        self.activity.halt(STOPPED_WITHIN).await;
        self.slot_watch = JoinSet::new();
        self.node.local.remove(&self.name);
    }

    async fn rest(&mut self, block: EpochBlock, record: &PipelineRecord) {
        self.activity.halt(STOPPED_WITHIN).await;
        self.status.update(|figures| {
            figures.state = State::Paused;
            figures.error = None;
        });
        self.show(Version::new(block, record));
        let epochs = self.epochs(block);
        if self.slot_watch.is_empty()
            && let Ok(job) = job(&self.workshop, record, epochs)
        {
            self.watch_slot(job);
        }
    }

    fn watch_slot(&mut self, mut job: Job) {
        job.status = Arc::clone(&self.status);
        self.slot_watch = JoinSet::new();
        self.slot_watch.spawn(async move {
            watch_slot(&job).await;
        });
    }

    async fn run(
        &mut self,
        block: EpochBlock,
        record: &PipelineRecord,
        current: &Current,
        registration: Revision,
    ) -> Again {
        let version = Version::new(block, record);
        if let Activity::GaveUp { version: of, fenced_by: Some(newest) } = self.activity
            && of == version
        {
            return self.take_back(newest, current, registration).await;
        }
        if self.activity.is(version) {
            return None;
        }
        let ready = match std::mem::replace(&mut self.activity, Activity::Idle) {
            Activity::Ready { ready, version: of } if of.revision == version.revision => Some(*ready),
            mut other => {
                other.halt(STOPPED_WITHIN).await;
                None
            }
        };
        self.start(version, record, ready)
    }

    /// Another process took it over, but the records say that it is ours: a start of ours from before, or a process that
    /// the cluster does not know. With that one there is no end of taking back, so it goes slowly.
    async fn take_back(&mut self, newest: Epoch, current: &Current, registration: Revision) -> Again {
        if let Some(last) = self.taken_back.filter(|last| last.elapsed() < TAKEN_BACK_EVERY) {
            return Some(last + TAKEN_BACK_EVERY);
        }
        self.taken_back = Some(Instant::now());
        let write = advance(&current.assignment, &self.node.owner(), newest)?;
        self.write(write, current, registration).await
    }

    fn start(&mut self, version: Version, record: &PipelineRecord, ready: Option<Ready>) -> Again {
        self.show(version);
        let epochs = self.epochs(version.block);
        match job(&self.workshop, record, epochs) {
            Ok(mut job) => {
                job.status = Arc::clone(&self.status);
                job.desk.clone_from(&self.node.desk);
                let is_fenced = job.destinations.iter().all(|destination| destination.url.is_some());
                if !is_fenced && !self.node.session.authority().is_valid() {
                    self.wait_for_lease();
                    return Some(Instant::now() + RETRY_AFTER);
                }
                self.watch_slot(job.clone());
                self.activity = Activity::Running { running: Running::start(job, ready), version, is_fenced };
            }
            Err(error) => {
                error!("{error}");
                self.refuse(&error);
                self.activity = Activity::GaveUp { version, fenced_by: None };
            }
        }
        None
    }

    /// Of one block, whatever is started with it.
    fn epochs(&mut self, block: EpochBlock) -> Arc<BlockEpochs> {
        let known = self.epochs.take().filter(|epochs| epochs.block() == block);
        Arc::clone(self.epochs.insert(known.unwrap_or_else(|| Arc::new(BlockEpochs::new(block)))))
    }

    fn show(&self, version: Version) {
        let Version { block, revision, .. } = version;
        self.node.local.put(self.name.clone(), LocalPipeline { status: Arc::clone(&self.status), block, revision });
    }

    fn refuse(&self, error: &PipelineError) {
        self.status.update(|figures| {
            figures.state = State::Failed;
            figures.error = Some(error.to_string());
        });
    }

    async fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::GaveUp(error) => self.gave_up(&error),
            Ended::LeaseMayEnd => {
                self.activity.halt(STOPPED_WITHIN).await;
                self.wait_for_lease();
                warn!("stopped: this node's lease may end, and a destination has no fence");
            }
        }
    }

    fn wait_for_lease(&self) {
        self.status.update(|figures| {
            figures.state = State::Retrying;
            figures.error =
                Some("this node's lease may have ended, and a destination has no fence: waiting for etcd".to_owned());
        });
    }

    fn gave_up(&mut self, error: &PipelineError) {
        let Activity::Running { version, .. } = &self.activity else { return };
        let version = *version;
        if error.severity() == Severity::Fenced {
            self.node.tally.fenced();
        }
        let fenced_by = (error.severity() == Severity::Fenced).then(|| error.newest_epoch());
        if let PipelineError::Internal(_) = error {
            self.refuse(error);
        }
        self.activity = Activity::GaveUp { version, fenced_by };
    }

    /// Stops, then says so. While the store is away nobody could go on, so it runs on.
    async fn release(
        &mut self,
        write: Assignment,
        record: &PipelineRecord,
        current: &Current,
        registration: Revision,
    ) -> Again {
        if matches!(*self.node.views.contact().borrow(), Contact::Away { .. }) {
            let block = current.assignment.block;
            return self.run(block, record, current, registration).await;
        }
        self.activity.halt(STOPPED_WITHIN).await;
        self.write(write, current, registration).await
    }

    /// Whether it is ready; `None` when its records have changed meanwhile.
    async fn get_ready(
        &mut self,
        record: &PipelineRecord,
        current: &Current,
        mut basis: watch::Receiver<Basis>,
    ) -> Option<bool> {
        let version = Version::new(current.assignment.block, record);
        let is_ready = matches!(&self.activity, Activity::Ready { version: of, .. } if *of == version);
        if is_ready || record.desired == Desired::Pause {
            return Some(true);
        }
        let epochs = Arc::new(BlockEpochs::new(version.block));
        let prepared = async { prepare(&job(&self.workshop, record, epochs)?).await };
        let prepared = tokio::select! {
            biased;
            _ = basis.changed() => return None,
            prepared = Box::pin(prepared) => prepared,
        };
        match prepared {
            Ok(ready) => {
                self.activity = Activity::Ready { ready: Box::new(ready), version };
                Some(true)
            }
            Err(error) => {
                warn!("cannot get ready to take it over: {error}");
                Some(false)
            }
        }
    }

    /// Writes on condition that the record is the one it was decided from, and that this start of the node is still the
    /// registered one.
    async fn write(&mut self, assignment: Assignment, current: &Current, registration: Revision) -> Again {
        let (key, own_key) = (self.node.keys.assignment(&self.name), self.node.keys.node(&self.node.record.id));
        // A record of ours always is JSON.
        let value = serde_json::to_vec(&assignment).unwrap_or_default();
        let txn = Txn::when(Condition::Modified(key.clone(), current.modified))
            .and(Condition::Modified(own_key, registration))
            .put(Put::new(&key, value));
        match self.node.store.txn(txn).await {
            Ok(modified) => {
                self.written = Some(Current { assignment, modified });
                Some(Instant::now())
            }
            Err(StoreError::Conflict) => Some(Instant::now() + LOOK_AGAIN_AFTER),
            Err(error) => {
                debug!("cannot write the assignment; trying again: {error}");
                Some(Instant::now() + RETRY_AFTER)
            }
        }
    }
}

async fn until(again: Again) {
    match again {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
