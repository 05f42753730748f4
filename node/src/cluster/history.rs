//! What becomes of this node's pipelines, for the history in the config database.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rosetta_proto::{Epoch, PipelineName};
use tokio::time::{MissedTickBehavior, interval};

use super::Node;
use crate::{
    catalog::Event,
    pipeline::status::{Figures, State},
};

/// A state that lasts for less than this may be missing in the history.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What was recorded last of a pipeline.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Noted {
    state: State,
    epoch: Epoch,
}

/// Records each change of a pipeline's state or owner. Never ends.
pub(super) async fn keep(node: Arc<Node>) {
    let mut noted = BTreeMap::new();
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        look(&node, &mut noted);
    }
}

fn look(node: &Node, noted: &mut BTreeMap<PipelineName, Noted>) {
    let local = node.local.all();
    let id = node.record.id.as_str();
    noted.retain(|name, last| {
        let stays = local.contains_key(name);
        if !stays {
            let event = Event::now("pipeline_released").of_pipeline(name.as_str()).of_node(id);
            node.recorder.record(event.with("epoch", last.epoch));
        }
        stays
    });
    for (name, pipeline) in local {
        let figures = pipeline.status.figures();
        let now = Noted { state: figures.state, epoch: figures.epoch };
        let last = noted.insert(name.clone(), now);
        // What it does while it gets its epoch is told by what follows.
        if last != Some(now) && figures.state != State::Starting {
            node.recorder.record(changed(name.as_str(), id, last, &figures));
        }
    }
}

fn changed(pipeline: &str, node: &str, last: Option<Noted>, figures: &Figures) -> Event {
    let mut event = Event::now("pipeline_state").of_pipeline(pipeline).of_node(node);
    event = event.with("state", figures.state.name()).with("epoch", figures.epoch);
    if let Some(last) = last {
        event = event.with("from", last.state.name());
    }
    match &figures.error {
        Some(error) => event.with("error", error),
        None => event,
    }
}
