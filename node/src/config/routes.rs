//! `[[pipeline.table]]`: the routes of single tables, and what they may not do to each other.

use super::error::ConfigError;
use super::fields::{choice, distinct, known, quoted, required};
use super::raw::{Document, RawEntry, RawPipeline, Text};
use super::{Publish, TableEntry, TableName, TablePatterns};
use std::collections::HashMap;
use toml::Spanned;

/// The entries of a pipeline, each of which also selects its table.
pub(super) fn entries(
    document: &Document<'_>,
    raw: &RawPipeline,
    pipeline: &str,
    destinations: &[String],
    tables: &mut TablePatterns,
) -> Result<Vec<TableEntry>, ConfigError> {
    let mut entries = Vec::with_capacity(raw.entries.len());
    let mut writers = HashMap::new();
    for written in &raw.entries {
        let entry = entry(document, written, pipeline, destinations)?;
        let subject = format!("{pipeline}, table {}", entry.name);
        if tables.excludes(&entry.name) {
            let message = format!("{subject}: tables excludes it; remove the exclusion or this entry");
            return Err(document.invalid(written, message));
        }
        check_same_publication(document, written, &subject, &entry, &entries)?;
        claim_target(document, written, &subject, (&entry, destinations), &mut writers)?;
        tables.include(entry.name.clone());
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(
    document: &Document<'_>,
    table: &Spanned<RawEntry>,
    pipeline: &str,
    pipeline_destinations: &[String],
) -> Result<TableEntry, ConfigError> {
    let raw = table.get_ref();
    let written =
        required(document, table, raw.name.as_ref(), &format!("{pipeline}, table"), "name = \"schema.table\"")?;
    let name = table_name(document, written, &format!("{pipeline}, table"))?;
    let subject = format!("{pipeline}, table {name}");
    let target = match &raw.target {
        Some(written) => Some(table_name(document, written, &format!("{subject}: target"))?),
        None => None,
    };
    let columns = match &raw.columns {
        Some(written) => Some(distinct(document, written, &subject, "columns")?),
        None => None,
    };
    let destinations = match &raw.destinations {
        Some(written) => Some(subset(document, written, &subject, pipeline_destinations)?),
        None => None,
    };
    let filter = filter(document, raw, &subject)?;
    let publish_words = [("all", Publish::All), ("insert", Publish::Insert)];
    let publish = choice(document, raw.publish.as_ref(), &subject, "publish", publish_words)?;
    Ok(TableEntry { name, target, columns, filter, destinations, publish })
}

fn table_name(document: &Document<'_>, written: &Text, subject: &str) -> Result<TableName, ConfigError> {
    let text = document.string(written)?;
    text.parse().map_err(|error| document.invalid(written, format!("{subject} '{text}' is not a table name: {error}")))
}

fn filter(document: &Document<'_>, raw: &RawEntry, subject: &str) -> Result<Option<String>, ConfigError> {
    let Some(written) = &raw.filter else { return Ok(None) };
    let filter = document.string(written)?;
    if filter.trim().is_empty() {
        let message = format!("{subject}: filter is empty; write a condition, or remove the key");
        return Err(document.invalid(written, message));
    }
    Ok(Some(filter))
}

fn subset(
    document: &Document<'_>,
    written: &Spanned<Vec<Text>>,
    subject: &str,
    pipeline_destinations: &[String],
) -> Result<Vec<String>, ConfigError> {
    let destinations = distinct(document, written, subject, "destinations")?;
    for (destination, place) in destinations.iter().zip(written.get_ref()) {
        if !pipeline_destinations.contains(destination) {
            let known = known("destination", pipeline_destinations.iter().map(String::as_str));
            let cause = format!("destination {} is not one of the pipeline's", quoted(destination));
            return Err(document.invalid(place, format!("{subject}: {cause}; {known}")));
        }
    }
    Ok(destinations)
}

/// A publication holds a table once, with one row filter and one set of operations, whatever routes it then takes.
fn check_same_publication(
    document: &Document<'_>,
    written: &Spanned<RawEntry>,
    subject: &str,
    entry: &TableEntry,
    earlier: &[TableEntry],
) -> Result<(), ConfigError> {
    let Some(first) = earlier.iter().find(|other| other.name == entry.name) else { return Ok(()) };
    let key = if first.filter != entry.filter {
        "filter"
    } else if first.publish != entry.publish {
        "publish"
    } else {
        return Ok(());
    };
    let cause = "but a pipeline reads a table in one way only";
    let remedy = "put this entry in a pipeline of its own";
    Err(document
        .invalid(written, format!("{subject}: {key} differs from the table's earlier entry, {cause}; {remedy}")))
}

/// Two routes into one table would overwrite each other's rows.
fn claim_target(
    document: &Document<'_>,
    written: &Spanned<RawEntry>,
    subject: &str,
    (entry, pipeline_destinations): (&TableEntry, &[String]),
    writers: &mut HashMap<(String, TableName), TableName>,
) -> Result<(), ConfigError> {
    let target = entry.target.as_ref().unwrap_or(&entry.name);
    for destination in entry.destinations.as_deref().unwrap_or(pipeline_destinations) {
        if let Some(first) = writers.insert((destination.clone(), target.clone()), entry.name.clone()) {
            let cause = format!("destination \"{destination}\" already gets {first} into {target}");
            let message = format!("{subject}: {cause}; give this entry another target or other destinations");
            return Err(document.invalid(written, message));
        }
    }
    Ok(())
}
