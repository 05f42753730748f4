//! Pipelines as they are kept: by the catalog, or, while that is away, by the records that nodes run. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use rosetta_coordinator::{
    records::{Desired, PipelineRecord},
    view::View,
};
use rosetta_proto::{PipelineName, v1};

use super::definitions;
use crate::catalog::{DefinitionSet, Kind, Refused, Snapshot, StoredPipeline};

/// What is known of a pipeline's definition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stored {
    pub(super) stored: v1::StoredPipeline,
    pub(super) source: Option<v1::Source>,
    pub(super) destinations: Vec<v1::Destination>,
    /// Why it cannot be run as it is kept.
    pub(super) refused: Option<String>,
}

/// Everything that the catalog holds, rows that cannot be run included.
pub(super) fn of_catalog(snapshot: &Snapshot) -> BTreeMap<PipelineName, Stored> {
    let refused = snapshot.refused.iter().filter(|row| row.kind == Kind::Pipeline).map(of_refused);
    let kept = snapshot.pipelines.values().filter_map(|kept| {
        let set = DefinitionSet {
            sources: snapshot.sources.get(&kept.definition.source).cloned().into_iter().collect(),
            destinations: {
                let names = kept.definition.destinations.iter();
                names.filter_map(|name| snapshot.destinations.get(name)).cloned().collect()
            },
            pipelines: Vec::new(),
        };
        Some((kept.definition.name.parse().ok()?, with_servers(message(kept), &set)))
    });
    refused.flatten().chain(kept).collect()
}

/// Everything that was published to the nodes. Dates are not.
pub(super) fn of_view(view: &View) -> BTreeMap<PipelineName, Stored> {
    view.pipelines.iter().map(|(name, recorded)| (name.clone(), of_record(&recorded.record))).collect()
}

/// A pipeline as a call that changed it answers.
pub(super) fn message(kept: &StoredPipeline) -> v1::StoredPipeline {
    v1::StoredPipeline {
        pipeline: Some(definitions::pipeline(&kept.definition)),
        revision: kept.revision,
        desired_state: desired(kept.desired).into(),
        pin: kept.pin.as_ref().map(ToString::to_string).unwrap_or_default(),
        created_at: Some(at(kept.created_at_ms).into()),
        updated_at: Some(at(kept.updated_at_ms).into()),
    }
}

/// Milliseconds since the Unix epoch as a time.
pub(super) fn at(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

fn of_refused(row: &Refused) -> Option<(PipelineName, Stored)> {
    let pipeline = v1::Pipeline { name: row.name.clone(), ..v1::Pipeline::default() };
    let stored =
        v1::StoredPipeline { pipeline: Some(pipeline), revision: row.revision, ..v1::StoredPipeline::default() };
    Some((row.name.parse().ok()?, Stored { stored, refused: Some(row.reason.clone()), ..Stored::default() }))
}

fn of_record(record: &PipelineRecord) -> Stored {
    // A later version's definition may not be understood; the rest is still worth showing.
    let set: DefinitionSet = serde_json::from_value(record.definition.clone()).unwrap_or_default();
    let bare = || v1::Pipeline { name: record.name.to_string(), ..v1::Pipeline::default() };
    let stored = v1::StoredPipeline {
        pipeline: Some(set.pipelines.first().map_or_else(bare, definitions::pipeline)),
        revision: record.revision,
        desired_state: desired(record.desired).into(),
        pin: record.pin.as_ref().map(ToString::to_string).unwrap_or_default(),
        created_at: None,
        updated_at: None,
    };
    with_servers(stored, &set)
}

fn with_servers(stored: v1::StoredPipeline, set: &DefinitionSet) -> Stored {
    Stored {
        stored,
        source: set.sources.first().map(definitions::source),
        destinations: set.destinations.iter().map(definitions::destination).collect(),
        refused: None,
    }
}

fn desired(desired: Desired) -> v1::DesiredState {
    match desired {
        Desired::Start => v1::DesiredState::Start,
        Desired::Pause => v1::DesiredState::Pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{DestinationDefinition, PipelineDefinition, SourceDefinition};

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::default();
        let url = "postgres://u:enc:v1:k:x@h/d".to_owned();
        snapshot.sources.insert("shop".to_owned(), SourceDefinition { name: "shop".to_owned(), url: url.clone() });
        let mirror = DestinationDefinition { name: "mirror".to_owned(), kind: "postgres".to_owned(), url: Some(url) };
        snapshot.destinations.insert("mirror".to_owned(), mirror);
        let definition = PipelineDefinition {
            name: "orders".to_owned(),
            source: "shop".to_owned(),
            destinations: vec!["mirror".to_owned()],
            ..PipelineDefinition::default()
        };
        let (desired, pin) = (Desired::Pause, "n1".parse().ok());
        let kept =
            StoredPipeline { definition, revision: 3, desired, pin, restarts: 0, created_at_ms: 1, updated_at_ms: 2 };
        snapshot.pipelines.insert("orders".to_owned(), kept);
        let (kind, name) = (Kind::Pipeline, "bad".to_owned());
        snapshot.refused.push(Refused { kind, name, revision: 4, reason: "it has no tables".to_owned() });
        snapshot
    }

    #[test]
    fn the_record_shows_what_the_catalog_shows_but_for_the_dates() {
        let snapshot = snapshot();
        let of_catalog = of_catalog(&snapshot).remove(&"orders".parse().unwrap()).expect("orders");
        let of_record = of_record(&snapshot.record("orders").expect("a record"));
        let dated = v1::StoredPipeline {
            created_at: of_catalog.stored.created_at,
            updated_at: of_catalog.stored.updated_at,
            ..of_record.stored.clone()
        };
        assert_eq!(Stored { stored: dated, ..of_record }, of_catalog);
        assert_eq!(of_catalog.source.expect("a source").url, "postgres://u:***@h/d");
        assert_eq!(
            (of_catalog.stored.desired_state(), of_catalog.stored.pin.as_str()),
            (v1::DesiredState::Pause, "n1")
        );
    }

    #[test]
    fn a_row_that_cannot_be_run_is_shown_with_its_reason() {
        let bad = of_catalog(&snapshot()).remove(&"bad".parse().unwrap()).expect("bad");
        assert_eq!((bad.stored.revision, bad.refused.as_deref()), (4, Some("it has no tables")));
    }
}
