use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::{
    Error,
    compare::Side,
    jobs::{Catalog, Wanted, arrivals, job, publications},
    report::{Report, TableReport},
    servers::{Place, Servers},
    table::Job,
};
use crate::{
    config::{Definitions, DestinationKind, Pipeline, Secret},
    postgres::{Connection, PgError, PgUrl},
    schema::{TableName, read_named, read_tables},
};

/// What to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// One pipeline; all of them by default.
    pub pipeline: Option<String>,
    /// How long the destinations may take to reach the position at which the source was read; zero compares them as
    /// they are.
    pub timeout: Duration,
    /// Whether differing rows are shown with their values.
    pub show_values: bool,
}

/// Compares every table of the pipelines with its copies. Reads the servers, and changes nothing; on the source it
/// writes a message into the log, so that the slot of an idle pipeline moves.
///
/// # Errors
/// A server that cannot be reached or read, or a destination that does not reach the source's position in time. A
/// table that cannot be compared is no error: its report says why.
pub async fn run(definitions: &Definitions, options: &Options) -> Result<Report, Error> {
    let (mut tables, mut notes) = (Vec::new(), Vec::new());
    for pipeline in pipelines(definitions, options)? {
        let Some(source) = definitions.source(&pipeline.source) else { continue };
        let from = Endpoint { name: &source.name, url: &source.url };
        for destination in pipeline.destinations.iter().filter_map(|name| definitions.destination(name)) {
            match &destination.kind {
                DestinationKind::Null => {
                    let reason = "keeps nothing, so there is nothing to compare";
                    notes
                        .push(format!("pipeline \"{}\": destination \"{}\" {reason}", pipeline.name, destination.name));
                }
                DestinationKind::Postgres { url } => {
                    let to = Endpoint { name: &destination.name, url };
                    tables.extend(Box::pin(compare_pair(pipeline, from, to, options)).await?);
                }
            }
        }
    }
    Ok(Report::new(tables, notes))
}

/// A named server.
#[derive(Clone, Copy)]
struct Endpoint<'a> {
    name: &'a str,
    url: &'a Secret,
}

fn pipelines<'a>(definitions: &'a Definitions, options: &Options) -> Result<Vec<&'a Pipeline>, Error> {
    let Some(name) = &options.pipeline else { return Ok(definitions.pipelines.iter().collect()) };
    let named = definitions.pipelines.iter().find(|pipeline| pipeline.name == *name);
    let known = || definitions.pipelines.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
    Ok(vec![named.ok_or_else(|| Error::UnknownPipeline { name: name.clone(), known: known() })?])
}

/// Compares the tables of one pipeline with one destination's.
async fn compare_pair(
    pipeline: &Pipeline,
    from: Endpoint<'_>,
    to: Endpoint<'_>,
    options: &Options,
) -> Result<Vec<TableReport>, Error> {
    let mut place = Place::new(pipeline, to.name, options.timeout);
    let parse = |side, url: &Secret| PgUrl::parse(url.expose()).map_err(|cause| place.error(side, cause));
    let (source_url, destination_url) = (parse(Side::Source, from.url)?, parse(Side::Destination, to.url)?);
    let wanted = Wanted { pipeline, destination: to.name, show_values: options.show_values };

    let (source, destination) = read_catalogs(wanted, &place, &source_url, &destination_url).await?;
    place.publications = publications(pipeline, &source);
    let (mut jobs, mut reports) = (Vec::new(), Vec::new());
    for arrival in arrivals(wanted, &source) {
        match job(wanted, &arrival, &source, &destination) {
            Ok(job) => jobs.push(job),
            Err(report) => reports.push(*report),
        }
    }
    let next = AtomicUsize::new(0);
    let connect = || Servers::connect(place.clone(), &source_url, &destination_url);
    // Two, so that the servers work while we decide, and no more, because both have other work.
    let work = || async {
        if next.load(Ordering::Relaxed) >= jobs.len() {
            return Ok(Vec::new());
        }
        Box::pin(work(connect().await?, &jobs, &next)).await
    };
    let (first, second) = tokio::try_join!(work(), work())?;
    reports.extend(first.into_iter().chain(second));
    reports.sort_by(|a, b| (&a.table, &a.target).cmp(&(&b.table, &b.target)));
    Ok(reports)
}

async fn read_catalogs(
    wanted: Wanted<'_>,
    place: &Place,
    source_url: &PgUrl,
    destination_url: &PgUrl,
) -> Result<(Catalog, Catalog), Error> {
    let mut source = place.connect(Side::Source, source_url).await?;
    let source_catalog = read_source(&mut source).await.map_err(|cause| place.error(Side::Source, cause))?;
    source.close().await;
    let targets: Vec<TableName> =
        arrivals(wanted, &source_catalog).into_iter().map(|(_, route)| route.target).collect();
    let mut destination = place.connect(Side::Destination, destination_url).await?;
    let destination_catalog = read_destination(&mut destination, &targets).await;
    destination.close().await;
    Ok((source_catalog, destination_catalog.map_err(|cause| place.error(Side::Destination, cause))?))
}

/// Compares tables until none is left.
async fn work(mut servers: Servers, jobs: &[Job], next: &AtomicUsize) -> Result<Vec<TableReport>, Error> {
    let mut reports = Vec::new();
    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
        reports.push(job.compare(&mut servers).await?);
    }
    servers.close_snapshots().await?;
    Ok(reports)
}

async fn read_source(connection: &mut Connection) -> Result<Catalog, PgError> {
    let sizes = "SELECT c.oid, coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(c.oid)), \
                                        pg_relation_size(c.oid), 0) \
                   FROM pg_class c WHERE c.relkind IN ('r', 'p')";
    Ok(Catalog {
        encoding: encoding(connection).await?,
        tables: read_tables(connection).await?,
        sizes: connection
            .simple(sizes)
            .await?
            .iter()
            .map(|row| Ok((row.parse(0)?, row.parse(1)?)))
            .collect::<Result<_, PgError>>()?,
    })
}

async fn read_destination(connection: &mut Connection, targets: &[TableName]) -> Result<Catalog, PgError> {
    Ok(Catalog {
        encoding: encoding(connection).await?,
        tables: read_named(connection, targets).await?,
        ..Catalog::default()
    })
}

async fn encoding(connection: &mut Connection) -> Result<String, PgError> {
    let rows = connection.simple("SHOW server_encoding").await?;
    Ok(rows.first().and_then(|row| row.get(0)).unwrap_or_default().to_owned())
}
