//! Definitions between messages and the catalog. Pure: empty in a message is absent in a definition.

use rosetta_proto::v1;
use tonic::Status;

use crate::{
    api::refuse,
    catalog::{
        Change, ChangeKind, DefinitionSet, DestinationDefinition, Kind, PipelineDefinition, RouteDefinition,
        SourceDefinition,
    },
    secret::is_redacted,
};

/// A definition that a request must have.
///
/// # Errors
/// It is missing.
pub(super) fn required(pipeline: Option<v1::Pipeline>) -> Result<PipelineDefinition, Status> {
    let missing = || refuse::field("pipeline", "pipeline is missing: give the definition", "PIPELINE_MISSING");
    pipeline.map(from_pipeline).ok_or_else(missing)
}

/// # Errors
/// Its password is that of an answer; `field` is where it stands in the request.
pub(super) fn from_source(source: v1::Source, field: &str) -> Result<SourceDefinition, Status> {
    refuse_redacted(&format!("source {}", source.name), &source.url, field)?;
    Ok(SourceDefinition { name: source.name, url: source.url })
}

/// # Errors
/// As [`from_source`].
pub(super) fn from_destination(destination: v1::Destination, field: &str) -> Result<DestinationDefinition, Status> {
    refuse_redacted(&format!("destination {}", destination.name), &destination.url, field)?;
    let v1::Destination { name, kind, url } = destination;
    Ok(DestinationDefinition { name, kind, url: text(url) })
}

/// # Errors
/// As [`from_source`].
pub(super) fn from_destinations(
    destinations: Vec<v1::Destination>,
    field: &str,
) -> Result<Vec<DestinationDefinition>, Status> {
    destinations.into_iter().map(|destination| from_destination(destination, field)).collect()
}

/// # Errors
/// As [`from_source`].
pub(super) fn from_set(set: v1::DefinitionSet) -> Result<DefinitionSet, Status> {
    let source = |source| from_source(source, "definitions.sources.url");
    Ok(DefinitionSet {
        sources: set.sources.into_iter().map(source).collect::<Result<_, _>>()?,
        destinations: from_destinations(set.destinations, "definitions.destinations.url")?,
        pipelines: set.pipelines.into_iter().map(from_pipeline).collect(),
    })
}

pub(super) fn from_pipeline(pipeline: v1::Pipeline) -> PipelineDefinition {
    let v1::Pipeline { name, source, destinations, tables, snapshot, apply_workers, slot, publication, routes, .. } =
        pipeline.clone();
    PipelineDefinition {
        name,
        source,
        destinations,
        tables,
        snapshot: text(snapshot),
        apply_workers: (apply_workers != 0).then_some(i64::from(apply_workers)),
        slot: text(slot),
        publication: text(publication),
        spill_after: text(pipeline.spill_after),
        max_slot_wal: text(pipeline.max_slot_wal),
        max_dead_letters: text(pipeline.max_dead_letters),
        routes: routes.into_iter().map(from_route).collect(),
    }
}

fn from_route(route: v1::TableRoute) -> RouteDefinition {
    let v1::TableRoute { name, target, columns, filter, destinations, publish } = route;
    RouteDefinition {
        name,
        target: text(target),
        columns: list(columns),
        filter: text(filter),
        destinations: list(destinations),
        publish: text(publish),
    }
}

/// As answers show it: the password is `***`.
pub(super) fn source(source: &SourceDefinition) -> v1::Source {
    let SourceDefinition { name, url } = source.redacted();
    v1::Source { name, url }
}

/// As answers show it: the password is `***`.
pub(super) fn destination(destination: &DestinationDefinition) -> v1::Destination {
    let DestinationDefinition { name, kind, url } = destination.redacted();
    v1::Destination { name, kind, url: url.unwrap_or_default() }
}

pub(super) fn pipeline(definition: &PipelineDefinition) -> v1::Pipeline {
    let PipelineDefinition {
        name,
        source,
        destinations,
        tables,
        snapshot,
        apply_workers,
        slot,
        publication,
        routes,
        ..
    } = definition.clone();
    v1::Pipeline {
        name,
        source,
        destinations,
        tables,
        snapshot: snapshot.unwrap_or_default(),
        // Checked to be 1 to 64.
        apply_workers: apply_workers.and_then(|workers| u32::try_from(workers).ok()).unwrap_or_default(),
        slot: slot.unwrap_or_default(),
        publication: publication.unwrap_or_default(),
        spill_after: definition.spill_after.clone().unwrap_or_default(),
        max_slot_wal: definition.max_slot_wal.clone().unwrap_or_default(),
        max_dead_letters: definition.max_dead_letters.clone().unwrap_or_default(),
        routes: routes.into_iter().map(route).collect(),
    }
}

fn route(route: RouteDefinition) -> v1::TableRoute {
    let RouteDefinition { name, target, columns, filter, destinations, publish } = route;
    v1::TableRoute {
        name,
        target: target.unwrap_or_default(),
        columns: columns.unwrap_or_default(),
        filter: filter.unwrap_or_default(),
        destinations: destinations.unwrap_or_default(),
        publish: publish.unwrap_or_default(),
    }
}

pub(super) fn change(change: Change) -> v1::Change {
    let kind = match change.change {
        ChangeKind::Created => v1::ChangeKind::Created,
        ChangeKind::Changed => v1::ChangeKind::Changed,
        ChangeKind::Deleted => v1::ChangeKind::Deleted,
    };
    let object = match change.kind {
        Kind::Source => v1::ObjectKind::Source,
        Kind::Destination => v1::ObjectKind::Destination,
        Kind::Pipeline => v1::ObjectKind::Pipeline,
    };
    v1::Change { kind: kind.into(), object: object.into(), name: change.name, fields: change.fields }
}

fn refuse_redacted(subject: &str, url: &str, field: &str) -> Result<(), Status> {
    if !is_redacted(url) {
        return Ok(());
    }
    let message =
        format!("{subject} has the password ***, which only hides one in an answer; write the password itself");
    Err(refuse::field(field, message, "PASSWORD_REDACTED"))
}

fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn list(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> v1::Pipeline {
        let text = str::to_owned;
        v1::Pipeline {
            name: text("orders"),
            source: text("shop"),
            destinations: vec![text("mirror")],
            tables: vec![text("public.*")],
            snapshot: text("never"),
            apply_workers: 4,
            slot: text("s"),
            publication: text("p"),
            spill_after: text("5s"),
            max_slot_wal: text("1GB"),
            max_dead_letters: text("2GB"),
            routes: vec![v1::TableRoute {
                name: text("public.orders"),
                target: text("sales.orders"),
                columns: vec![text("id")],
                filter: text("id > 0"),
                destinations: vec![text("mirror")],
                publish: text("insert"),
            }],
        }
    }

    #[test]
    fn every_field_goes_there_and_back() {
        assert_eq!(pipeline(&from_pipeline(full())), full());
        let bare = v1::Pipeline { name: "orders".to_owned(), ..v1::Pipeline::default() };
        let definition = from_pipeline(bare.clone());
        assert_eq!((definition.apply_workers, &definition.slot, &definition.snapshot), (None, &None, &None));
        assert_eq!(pipeline(&definition), bare);
    }

    #[test]
    fn passwords_come_out_hidden_and_do_not_go_in_so() {
        let stored = SourceDefinition { name: "shop".to_owned(), url: "postgres://u:enc:v1:k:abc@h/d".to_owned() };
        let shown = source(&stored);
        assert_eq!(shown.url, "postgres://u:***@h/d");
        let refused = from_source(shown, "source.url").expect_err("an answer sent back");
        assert!(refused.message().starts_with("source shop has the password ***"), "{refused}");
        let field = rosetta_proto::error_details(&refused).fields.remove(0).field;
        assert_eq!((refused.code(), field.as_str()), (tonic::Code::InvalidArgument, "source.url"));
    }
}
