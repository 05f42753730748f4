//! Definitions, from the config database to etcd.

use std::collections::BTreeSet;

use rosetta_coordinator::{
    election::Leadership,
    records::{Keys, PipelineRecord},
    store::{Condition, Put, Revision, StoreError, Txn},
    view::View,
};
use rosetta_proto::PipelineName;
use tokio::time::{Duration, timeout};
use tracing::{info, warn};

use super::Node;
use crate::catalog::{CatalogError, Kind, Snapshot};

/// For the picture to hold what the leader before has written.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Why definitions were not carried over.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("etcd: {0}")]
    Store(#[from] StoreError),
}

/// A record to be written or taken away, on condition that it was last written at `expected`.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    pipeline: PipelineName,
    record: Option<PipelineRecord>,
    expected: Option<Revision>,
}

/// Makes etcd's records those of the config database.
/// `held_back` are not published now.
pub(super) async fn publish(
    node: &Node,
    leadership: &Leadership,
    held_back: &BTreeSet<PipelineName>,
) -> Result<(), PublishError> {
    let snapshot = node.catalog.load().await?;
    for refused in &snapshot.refused {
        warn!("{} {} is left as it was published last: {}", refused.kind, refused.name, refused.reason);
    }
    let seen = timeout(SEEN_WITHIN, node.views.reached(leadership.created())).await;
    let view = seen.unwrap_or_else(|_| node.views.now());
    for change in changes(&snapshot, &view).into_iter().filter(|change| !held_back.contains(&change.pipeline)) {
        match node.store.txn(transaction(&node.keys, leadership, &change)).await {
            Ok(_) => info!("pipeline {} is published: {}", change.pipeline, describe(&change)),
            // Our picture was late, or this leadership is over: the next round knows.
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What differs. A definition that was refused stays as it was: it is not gone.
fn changes(snapshot: &Snapshot, view: &View) -> Vec<Change> {
    let mut changes = Vec::new();
    for record in snapshot.pipelines.keys().filter_map(|name| snapshot.record(name)) {
        let known = view.pipelines.get(&record.name);
        if known.is_none_or(|known| known.record != record) {
            let expected = known.map(|known| known.modified);
            changes.push(Change { pipeline: record.name.clone(), record: Some(record), expected });
        }
    }
    let refused = |name: &PipelineName| {
        snapshot.refused.iter().any(|refused| refused.kind == Kind::Pipeline && refused.name == name.as_str())
    };
    for (name, known) in &view.pipelines {
        if !snapshot.pipelines.contains_key(name.as_str()) && !refused(name) {
            changes.push(Change { pipeline: name.clone(), record: None, expected: Some(known.modified) });
        }
    }
    changes
}

fn transaction(keys: &Keys, leadership: &Leadership, change: &Change) -> Txn {
    let key = keys.pipeline(&change.pipeline);
    let guarded = Txn::when(leadership.guard()).and(Condition::last_write(&key, change.expected));
    match &change.record {
        // A record of ours always is JSON.
        Some(record) => guarded.put(Put::new(&key, serde_json::to_vec(record).unwrap_or_default())),
        None => guarded.delete(&key),
    }
}

fn describe(change: &Change) -> String {
    match &change.record {
        Some(record) => format!("revision {}, {:?}", record.revision, record.desired),
        None => "it is no longer defined".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rosetta_coordinator::{records::Desired, view::Recorded};

    use super::*;
    use crate::catalog::{PipelineDefinition, Refused, StoredPipeline};

    fn stored(revision: u64, desired: Desired) -> StoredPipeline {
        StoredPipeline {
            definition: PipelineDefinition::default(),
            revision,
            desired,
            pin: None,
            restarts: 0,
            created_at_ms: 0,
            updated_at_ms: 0,
        }
    }

    fn published(view: &mut View, snapshot: &Snapshot, name: &str, modified: i64) {
        let record = snapshot.record(name).expect("a record");
        let revision = Revision(modified);
        let recorded = Recorded { record, created: revision, modified: revision, lease: None };
        view.pipelines.insert(name.parse().expect("a name"), Arc::new(recorded));
    }

    #[test]
    fn what_is_new_changed_or_gone_is_written_and_nothing_else() {
        let mut before = Snapshot::default();
        for name in ["same", "changed", "gone", "refused"] {
            before.pipelines.insert(name.to_owned(), stored(1, Desired::Start));
        }
        let mut view = View::default();
        for (name, modified) in [("same", 1), ("changed", 2), ("gone", 3), ("refused", 4)] {
            published(&mut view, &before, name, modified);
        }
        let mut now = Snapshot::default();
        now.pipelines.insert("same".to_owned(), stored(1, Desired::Start));
        now.pipelines.insert("changed".to_owned(), stored(1, Desired::Pause));
        now.pipelines.insert("new".to_owned(), stored(1, Desired::Start));
        let (kind, name, reason) = (Kind::Pipeline, "refused".to_owned(), "not understood".to_owned());
        now.refused.push(Refused { kind, name, revision: 2, reason });
        let found = changes(&now, &view);
        let summary: Vec<_> = found
            .iter()
            .map(|change| (change.pipeline.as_str(), change.record.is_some(), change.expected.map(|at| at.0)))
            .collect();
        assert_eq!(summary, [("changed", true, Some(2)), ("new", true, None), ("gone", false, Some(3))]);
    }
}
