use std::collections::{HashMap, HashSet};

use super::{
    destination, destination_facts,
    report::{Finding, Report, Subject},
    source,
    source_facts::{self, SourceFacts},
    tables,
};
use crate::{
    config::{Definitions, DestinationKind, Pipeline, Secret},
    pipeline::selection::{Route, Selected, Selection, select},
    postgres::{Connection, PgError, PgUrl, Session},
    schema::TableName,
};

/// Connects to every server and lists what it finds. Creates and changes nothing. A server that cannot be reached is
/// one problem; the others are looked at all the same.
pub async fn run(definitions: &Definitions) -> Report {
    let mut findings = Vec::new();
    let mut sources = HashMap::new();
    for source in &definitions.sources {
        let pipelines: Vec<&Pipeline> = definitions.pipelines.iter().filter(|p| p.source == source.name).collect();
        match Box::pin(read_source(&source.url, &pipelines)).await {
            Ok(facts) => {
                findings.extend(source::server_findings(&source.name, &pipelines, &facts));
                sources.insert(source.name.as_str(), facts);
            }
            Err(error) => {
                let subject = Subject { source: Some(&source.name), ..Subject::default() };
                findings.push(unusable(subject, &error));
            }
        }
    }
    let mut selections = Vec::new();
    for pipeline in &definitions.pipelines {
        if let Some(facts) = sources.get(pipeline.source.as_str()) {
            let selection = select(pipeline, &facts.tables, tables::published(pipeline, facts));
            findings.extend(source::pipeline_findings(pipeline, &selection, facts));
            findings.extend(tables::findings(pipeline, &selection, facts));
            selections.push((pipeline.name.as_str(), selection));
        }
    }
    for wanted in &definitions.destinations {
        let subject = Subject { destination: Some(&wanted.name), ..Subject::default() };
        match &wanted.kind {
            DestinationKind::Null => findings.push(subject.ok("counts and discards")),
            DestinationKind::Postgres { url } => {
                let arrivals = arrivals(&selections, &wanted.name);
                findings.extend(Box::pin(destination_findings(subject, url, &arrivals)).await);
            }
        }
    }
    let mut seen = HashSet::new();
    findings.retain(|finding: &Finding| seen.insert(format!("{finding:?}")));
    Report { findings }
}

/// A table that comes to a destination.
struct Arrival<'a> {
    pipeline: &'a str,
    selected: &'a Selected,
    route: &'a Route,
}

fn arrivals<'a>(selections: &'a [(&str, Selection)], destination: &str) -> Vec<Arrival<'a>> {
    let mut arrivals = Vec::new();
    for (pipeline, selection) in selections {
        for selected in &selection.tables {
            let coming = selected.routes.iter().filter(|route| route.destination == destination);
            arrivals.extend(coming.map(|route| Arrival { pipeline, selected, route }));
        }
    }
    arrivals
}

async fn destination_findings(subject: Subject<'_>, url: &Secret, arrivals: &[Arrival<'_>]) -> Vec<Finding> {
    let targets: HashSet<TableName> = arrivals.iter().map(|arrival| arrival.route.target.clone()).collect();
    let facts = async {
        let mut connection = connect(url).await?;
        let facts = destination_facts::read(&mut connection, &targets).await?;
        connection.close().await;
        Ok::<_, PgError>(facts)
    };
    let facts = match facts.await {
        Ok(facts) => facts,
        Err(error) => return vec![unusable(subject, &error)],
    };
    let mut findings = destination::server_findings(subject.destination.unwrap_or_default(), &facts);
    let about =
        |arrival: &Arrival<'_>| destination::route_findings(arrival.pipeline, arrival.route, arrival.selected, &facts);
    findings.extend(arrivals.iter().flat_map(about));
    findings.extend(shared_targets(subject, arrivals));
    findings
}

/// Two routes into one table would overwrite each other's rows. The file alone shows only those it spells out.
fn shared_targets(subject: Subject<'_>, arrivals: &[Arrival<'_>]) -> Vec<Finding> {
    let mut writers: HashMap<&TableName, &Arrival<'_>> = HashMap::new();
    let mut findings = Vec::new();
    for arrival in arrivals {
        let target = &arrival.route.target;
        if let Some(first) = writers.insert(target, arrival) {
            let writer = |arrival: &Arrival<'_>| {
                format!("{} of pipeline {}", arrival.selected.table.table_name(), arrival.pipeline)
            };
            let what = format!("table {target} is written from {} and from {}", writer(first), writer(arrival));
            findings.push(subject.problem(what, "give one of them another target in its [[pipeline.table]]"));
        }
    }
    findings
}

async fn read_source(url: &Secret, pipelines: &[&Pipeline]) -> Result<SourceFacts, PgError> {
    let entries = pipelines.iter().flat_map(|pipeline| &pipeline.entries);
    let filters = entries.filter_map(|entry| Some((entry.name.clone(), entry.filter.clone()?)));
    let filters: HashSet<(TableName, String)> = filters.collect();
    let filters: Vec<(TableName, String)> = filters.into_iter().collect();
    let mut connection = connect(url).await?;
    let facts = source_facts::read(&mut connection, &filters).await?;
    connection.close().await;
    Ok(facts)
}

async fn connect(url: &Secret) -> Result<Connection, PgError> {
    Connection::connect(&PgUrl::parse(url.expose())?, &Session::sql("rosetta:check")).await
}

fn unusable(subject: Subject<'_>, error: &PgError) -> Finding {
    let remedy = match error {
        PgError::Url { .. } => "correct the url",
        PgError::Connect { .. } | PgError::Timeout { .. } | PgError::Lost(_) => {
            "check host and port in the url, and that the server runs and can be reached from here"
        }
        PgError::Tls { .. } => "check sslmode and sslrootcert in the url",
        PgError::Login { .. } => "check user and password in the url",
        PgError::Server(_) => "check user, password and database in the url, and pg_hba.conf on the server",
        PgError::Protocol(_) | PgError::Drift(_) => "check that a PostgreSQL server answers there",
    };
    subject.problem(error.to_string(), remedy)
}
