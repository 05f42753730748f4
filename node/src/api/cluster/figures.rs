//! The figures of the pipelines that run here.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rosetta_proto::{PipelineName, v1};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    api::{convert, rate::Rate},
    cluster::{Local, Node},
};

/// So often rates are taken, whether somebody asks or not: one who asks gets that of the last second.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// How fast each pipeline's counts grow.
#[derive(Default)]
pub(super) struct Figures(Mutex<BTreeMap<PipelineName, Rate>>);

impl Figures {
    /// Takes the rates, for ever.
    pub(super) async fn sample(&self, local: &Local) -> Infallible {
        let mut ticks = interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let running = local.all();
            self.locked().retain(|name, _| running.contains_key(name));
            for (name, pipeline) in running {
                let figures = pipeline.status.figures();
                self.rate(&name, figures.rows_copied + figures.changes);
            }
        }
    }

    /// The status of one pipeline, if it is here.
    pub(super) fn status(&self, node: &Node, name: &PipelineName) -> Option<v1::PipelineStatus> {
        let figures = node.local.find(name)?.status.figures();
        let per_second = self.rate(name, figures.rows_copied + figures.changes);
        Some(convert::status(name.as_str(), node.record.id.as_str(), &figures, per_second))
    }

    /// The statuses of all that are here, by name.
    pub(super) fn all(&self, node: &Node) -> Vec<v1::PipelineStatus> {
        node.local.all().keys().filter_map(|name| self.status(node, name)).collect()
    }

    fn rate(&self, name: &PipelineName, count: u64) -> f64 {
        self.locked().entry(name.clone()).or_default().observe(count, Instant::now())
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<PipelineName, Rate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
