use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rosetta_coordinator::records::EpochBlock;
use rosetta_proto::PipelineName;
use tokio::sync::watch;

use crate::pipeline::status::Status;

/// The pipelines that run in this process, as its calls and metrics show them; kept by the runner.
#[derive(Default)]
pub struct Local {
    pipelines: Mutex<BTreeMap<PipelineName, LocalPipeline>>,
    changes: watch::Sender<u64>,
}

/// A pipeline that this node answers for.
#[derive(Clone)]
pub struct LocalPipeline {
    pub status: Arc<Status>,
    pub block: EpochBlock,
    /// The catalog's revision of the definition that it runs.
    pub revision: u64,
}

impl Local {
    pub fn all(&self) -> BTreeMap<PipelineName, LocalPipeline> {
        self.locked().clone()
    }

    pub fn find(&self, name: &PipelineName) -> Option<LocalPipeline> {
        self.locked().get(name).cloned()
    }

    /// Changes when a pipeline comes or goes; not with its figures.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn put(&self, name: PipelineName, pipeline: LocalPipeline) {
        self.locked().insert(name, pipeline);
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn remove(&self, name: &PipelineName) {
        if self.locked().remove(name).is_some() {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<PipelineName, LocalPipeline>> {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
