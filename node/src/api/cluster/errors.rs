//! Errors of the catalog and of the store, as callers get them. Pure.

use rosetta_coordinator::store::StoreError;
use rosetta_proto::error_status;
use tonic::{Code, Status};

use crate::{
    api::refuse,
    catalog::{CatalogError, Kind},
};

/// Where in a request a definition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `pipeline`, `source` and `destinations` are fields of it.
    Single,
    /// It is a whole set, in the field `definitions`.
    Set,
    /// It only names a pipeline, in this field.
    Name(&'static str),
}

/// What a failed call of the catalog is answered with.
pub(super) fn catalog(error: &CatalogError, place: Place) -> Status {
    let message = error.to_string();
    match error {
        CatalogError::Unavailable { .. } => unavailable(message, "CATALOG_UNAVAILABLE"),
        CatalogError::Conflict { .. } => error_status(Code::Aborted, message, "expected_revision", "REVISION_MISMATCH"),
        CatalogError::StaleFingerprint => {
            error_status(Code::Aborted, message, "expected_fingerprint", "FINGERPRINT_MISMATCH")
        }
        CatalogError::AlreadyExists { kind, .. } => {
            let (field, reason) = match kind {
                Kind::Source => ("source", "SOURCE_EXISTS"),
                Kind::Destination => ("destination", "DESTINATION_EXISTS"),
                Kind::Pipeline => ("pipeline.name", "PIPELINE_EXISTS"),
            };
            error_status(Code::AlreadyExists, message, &path(field, place), reason)
        }
        CatalogError::NotFound { kind: Kind::Pipeline, name } => {
            refuse::no_pipeline(name, &path("pipeline.name", place))
        }
        CatalogError::NotFound { .. } => error_status(Code::NotFound, message, "", "NOT_DEFINED"),
        CatalogError::Paused { .. } => error_status(Code::FailedPrecondition, message, "", "PIPELINE_PAUSED"),
        CatalogError::Invalid { field, .. } => refuse::field(&path(field, place), message, reason(field)),
        CatalogError::Refused { .. } => error_status(Code::FailedPrecondition, message, "", "CATALOG_REFUSED"),
    }
}

/// The path of a field in the request; `field` is in the words of the definitions file.
pub(super) fn path(field: &str, place: Place) -> String {
    if matches!(field, "request_id" | "expected_revision" | "expected_fingerprint") {
        return field.to_owned();
    }
    let routes = field.replacen("pipeline.table", "pipeline.routes", 1);
    let (table, rest) = routes.split_at(routes.find('.').unwrap_or(routes.len()));
    match (table, place) {
        (_, Place::Name(name)) => name.to_owned(),
        ("destination", Place::Single) => format!("destinations{rest}"),
        (_, Place::Single) => routes,
        ("source" | "destination" | "pipeline", Place::Set) => format!("definitions.{table}s{rest}"),
        (_, Place::Set) => "definitions".to_owned(),
    }
}

fn reason(field: &str) -> &'static str {
    match field {
        "request_id" => "REQUEST_ID",
        "expected_revision" => "REVISION_MISSING",
        _ => "INVALID_DEFINITION",
    }
}

/// What a failed request to etcd is answered with.
pub(super) fn store(error: &StoreError) -> Status {
    match error {
        StoreError::Unavailable { .. }
        | StoreError::Unknown { .. }
        | StoreError::LeaseGone
        | StoreError::Compacted(_) => unavailable(format!("etcd: {error}"), "ETCD_UNAVAILABLE"),
        StoreError::Conflict => error_status(Code::Aborted, error.to_string(), "", "CHANGED_MEANWHILE"),
        StoreError::Refused { .. } => error_status(Code::FailedPrecondition, error.to_string(), "", "ETCD_REFUSED"),
    }
}

pub(super) fn unavailable(message: impl Into<String>, reason: &str) -> Status {
    error_status(Code::Unavailable, message, "", reason)
}

/// A stream that ends because the node does.
pub(super) fn stopping() -> Status {
    unavailable("this node stops: ask another one", "NODE_STOPS")
}

#[cfg(test)]
mod tests {
    use rosetta_proto::error_details;

    use super::*;

    #[test]
    fn fields_are_those_of_the_request() {
        let cases = [
            ("pipeline.table.filter", Place::Single, "pipeline.routes.filter"),
            ("pipeline.table.filter", Place::Set, "definitions.pipelines.routes.filter"),
            ("destination.url", Place::Single, "destinations.url"),
            ("destination.url", Place::Set, "definitions.destinations.url"),
            ("source", Place::Set, "definitions.sources"),
            ("url", Place::Set, "definitions"),
            ("", Place::Single, ""),
            ("pipeline.name", Place::Name("name"), "name"),
            ("request_id", Place::Set, "request_id"),
        ];
        for (field, place, expected) in cases {
            assert_eq!(path(field, place), expected, "{field} {place:?}");
        }
    }

    #[test]
    fn an_unknown_pipeline_is_named_with_the_way_to_list() {
        let error = CatalogError::NotFound { kind: Kind::Pipeline, name: "orders".to_owned() };
        let status = catalog(&error, Place::Name("name"));
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.message().contains("'orders'") && status.message().contains("rosetta status"));
        let details = error_details(&status);
        assert_eq!((details.reason.as_deref(), details.fields[0].field.as_str()), (Some("PIPELINE_NOT_FOUND"), "name"));
    }

    #[test]
    fn every_wrong_request_has_a_field_and_a_reason() {
        let error = CatalogError::Invalid { field: "pipeline.slot".to_owned(), reason: "slot x is taken".to_owned() };
        let details = error_details(&catalog(&error, Place::Single));
        assert_eq!(details.reason.as_deref(), Some("INVALID_DEFINITION"));
        assert_eq!(
            (details.fields[0].field.as_str(), details.fields[0].description.as_str()),
            ("pipeline.slot", "slot x is taken")
        );
    }
}
