//! `Pipelines/Validate`: what stands in a definition's way. Nothing is changed.

use std::time::Duration;

use rosetta_proto::v1;
use tokio::time::timeout;
use tonic::Status;

use super::{
    Api,
    contact::ANSWERED_WITHIN,
    definitions, errors,
    errors::{Place, path},
};
use crate::{
    catalog::{CatalogError, DefinitionSet, Kind},
    check::{self, Finding, Level},
    config::Definitions,
};

/// For all servers together: one that swallows packets is a problem, not a call that hangs.
const CONNECTED_WITHIN: Duration = Duration::from_secs(20);

/// # Errors
/// The config database is away, or the request is none.
pub(super) async fn problems(api: &Api, request: v1::ValidatePipelineRequest) -> Result<Vec<v1::Problem>, Status> {
    let v1::ValidatePipelineRequest { pipeline, source, destinations, connect } = request;
    let source = source.map(|source| definitions::from_source(source, "source.url")).transpose()?;
    let given = DefinitionSet {
        sources: source.into_iter().collect(),
        destinations: definitions::from_destinations(destinations, "destinations.url")?,
        pipelines: vec![definitions::required(pipeline)?],
    };
    let tried = timeout(ANSWERED_WITHIN, Box::pin(api.node.catalog.try_create(&given))).await;
    match tried.unwrap_or_else(|_| Err(api.silent())) {
        Ok(definitions) if connect => Ok(of_servers(&definitions).await),
        Ok(_) => Ok(Vec::new()),
        Err(error) => of_definition(&error).map(|problem| vec![problem]),
    }
}

/// Only an outage is an error.
fn of_definition(error: &CatalogError) -> Result<v1::Problem, Status> {
    let (field, remedy) = match error {
        CatalogError::Unavailable { .. } | CatalogError::Refused { .. } => {
            return Err(errors::catalog(error, Place::Single));
        }
        CatalogError::Invalid { field, .. } => (field.as_str(), "correct the definition"),
        CatalogError::AlreadyExists { kind: Kind::Pipeline, remedy, .. } => ("pipeline.name", *remedy),
        CatalogError::AlreadyExists { kind: Kind::Source, remedy, .. } => ("source", *remedy),
        CatalogError::AlreadyExists { kind: Kind::Destination, remedy, .. } => ("destination", *remedy),
        CatalogError::NotFound { .. } | CatalogError::Paused { .. } => ("", "define what is missing"),
        CatalogError::Conflict { .. } | CatalogError::StaleFingerprint => ("", "try again"),
    };
    Ok(v1::Problem {
        field: path(field, Place::Single),
        message: error.to_string(),
        remedy: remedy.to_owned(),
        is_warning: false,
    })
}

async fn of_servers(definitions: &Definitions) -> Vec<v1::Problem> {
    match timeout(CONNECTED_WITHIN, Box::pin(check::run(definitions))).await {
        Ok(report) => report.findings.into_iter().filter_map(of_finding).collect(),
        Err(_) => vec![v1::Problem {
            message: format!("the servers did not answer within {CONNECTED_WITHIN:?}"),
            remedy: "check hosts and ports in the urls, and that this node reaches them".to_owned(),
            ..v1::Problem::default()
        }],
    }
}

fn of_finding(finding: Finding) -> Option<v1::Problem> {
    let is_warning = match finding.level {
        Level::Ok => return None,
        Level::Warning => true,
        Level::Problem => false,
    };
    let field = match (&finding.source, &finding.destination) {
        (Some(_), _) => "source",
        (None, Some(_)) => "destinations",
        (None, None) => "pipeline",
    };
    let subject = finding.source.map(|name| format!("source {name}: "));
    let subject = subject.or(finding.destination.map(|name| format!("destination {name}: "))).unwrap_or_default();
    let message = format!("{subject}{}", finding.what);
    Some(v1::Problem { field: field.to_owned(), message, remedy: finding.remedy.unwrap_or_default(), is_warning })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(level: Level, destination: Option<&str>) -> Finding {
        let (what, remedy) = ("it is read-only".to_owned(), Some("use another".to_owned()));
        Finding { level, pipeline: None, source: None, destination: destination.map(str::to_owned), what, remedy }
    }

    #[test]
    fn findings_are_problems_unless_all_is_well() {
        assert_eq!(of_finding(finding(Level::Ok, None)), None);
        let warning = of_finding(finding(Level::Warning, Some("mirror"))).expect("a problem");
        assert_eq!((warning.field.as_str(), warning.is_warning), ("destinations", true));
        assert_eq!(warning.message, "destination mirror: it is read-only");
    }

    #[test]
    fn an_outage_is_no_problem_of_the_definition() {
        let away = CatalogError::Unavailable { server: "db:5432".to_owned(), reason: "refused".to_owned() };
        assert_eq!(of_definition(&away).expect_err("an error").code(), tonic::Code::Unavailable);
        let wrong = CatalogError::Invalid { field: "pipeline.table.name".to_owned(), reason: "it is empty".to_owned() };
        assert_eq!(of_definition(&wrong).expect("a problem").field, "pipeline.routes.name");
    }
}
