//! From what is written to what is valid. The first problem ends it.

use super::error::{ConfigError, Place};
use super::fields::{SIZES, TIMES, choice, distinct, known, quantity, quoted, required};
use super::raw::{Document, RawDestination, RawFile, RawPipeline, RawSource, Text};
use super::routes;
use super::{Definitions, Destination, DestinationKind, Pipeline, Secret, SnapshotMode, Source, TablePatterns};
use crate::dead_letters::SpillLimits;
use std::time::Duration;
use toml::Spanned;

/// More connections than this help no destination.
const MAX_APPLY_WORKERS: usize = 64;
const DEFAULT_APPLY_WORKERS: usize = 1;
/// PostgreSQL's NAMEDATALEN, less the byte that ends a name.
const MAX_IDENTIFIER_BYTES: usize = 63;

struct NameRule {
    kind: &'static str,
    max_length: usize,
    has_capitals_and_dashes: bool,
    remedy: &'static str,
}

const SOURCE_NAME: NameRule = NameRule {
    kind: "source",
    max_length: MAX_IDENTIFIER_BYTES,
    has_capitals_and_dashes: true,
    remedy: "use 1 to 63 of A-Z, a-z, 0-9, _ and -",
};
const DESTINATION_NAME: NameRule = NameRule { kind: "destination", ..SOURCE_NAME };
/// Shorter than an identifier: Rosetta puts a prefix in front.
const PIPELINE_NAME: NameRule = NameRule {
    kind: "pipeline",
    max_length: 40,
    has_capitals_and_dashes: false,
    remedy: "it becomes part of a slot's name, so use 1 to 40 of a-z, 0-9 and _",
};
const SLOT_NAME: NameRule = NameRule {
    kind: "slot",
    max_length: MAX_IDENTIFIER_BYTES,
    has_capitals_and_dashes: false,
    remedy: "PostgreSQL allows 1 to 63 of a-z, 0-9 and _",
};

impl NameRule {
    fn allows(&self, name: &str) -> bool {
        let is_allowed = |byte: u8| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => true,
            b'A'..=b'Z' | b'-' => self.has_capitals_and_dashes,
            _ => false,
        };
        (1..=self.max_length).contains(&name.len()) && name.bytes().all(is_allowed)
    }
}

pub(super) fn definitions(document: &Document<'_>, raw: &RawFile) -> Result<Definitions, ConfigError> {
    let mut defined = Definitions {
        sources: Vec::new(),
        destinations: Vec::new(),
        pipelines: Vec::new(),
        allow_volatile_dead_letters: raw.allow_volatile_dead_letters.unwrap_or_default(),
    };
    for table in &raw.sources {
        let source = source(document, table)?;
        refuse_second(document, table, "source", &source.name, defined.source(&source.name).is_some())?;
        defined.sources.push(source);
    }
    for table in &raw.destinations {
        let destination = destination(document, table)?;
        let is_second = defined.destination(&destination.name).is_some();
        refuse_second(document, table, "destination", &destination.name, is_second)?;
        defined.destinations.push(destination);
    }
    for table in &raw.pipelines {
        let pipeline = pipeline(document, table, &defined)?;
        defined.pipelines.push(pipeline);
    }
    if defined.pipelines.is_empty() {
        let start = Place::at_offset(document.text, 0);
        return Err(ConfigError::invalid(start, "no pipeline is defined; add a [[pipeline]]"));
    }
    Ok(defined)
}

fn source(document: &Document<'_>, table: &Spanned<RawSource>) -> Result<Source, ConfigError> {
    let raw = table.get_ref();
    let name = name(document, table, raw.name.as_ref(), &SOURCE_NAME)?;
    let url = url(document, table, raw.url.as_ref(), &format!("source \"{name}\""))?;
    Ok(Source { name, url })
}

fn destination(document: &Document<'_>, table: &Spanned<RawDestination>) -> Result<Destination, ConfigError> {
    let raw = table.get_ref();
    let name = name(document, table, raw.name.as_ref(), &DESTINATION_NAME)?;
    let subject = format!("destination \"{name}\"");
    let written = required(document, table, raw.kind.as_ref(), &subject, "kind = \"postgres\"")?;
    let kind = match (document.string(written)?.as_str(), &raw.url) {
        ("postgres", address) => DestinationKind::Postgres { url: url(document, table, address.as_ref(), &subject)? },
        ("null", None) => DestinationKind::Null,
        ("null", Some(address)) => {
            let message = format!("{subject}: kind \"null\" connects to nothing; remove url");
            return Err(document.invalid(address, message));
        }
        ("snowflake", _) => {
            let cause = "kind \"snowflake\" is not available in this version";
            return Err(document.invalid(written, format!("{subject}: {cause}; use \"postgres\" or \"null\"")));
        }
        (other, _) => {
            let message = format!("{subject}: kind {} does not exist; use \"postgres\" or \"null\"", quoted(other));
            return Err(document.invalid(written, message));
        }
    };
    Ok(Destination { name, kind })
}

fn pipeline(
    document: &Document<'_>,
    table: &Spanned<RawPipeline>,
    defined: &Definitions,
) -> Result<Pipeline, ConfigError> {
    let raw = table.get_ref();
    let name = name(document, table, raw.name.as_ref(), &PIPELINE_NAME)?;
    let is_second = defined.pipelines.iter().any(|other| other.name == name);
    refuse_second(document, table, "pipeline", &name, is_second)?;
    let subject = format!("pipeline \"{name}\"");
    let source = source_of(document, table, defined, &subject)?;
    let destinations = destinations_of(document, table, defined, &subject)?;
    let snapshot_modes = [("initial", SnapshotMode::Initial), ("never", SnapshotMode::Never)];
    let snapshot = choice(document, raw.snapshot.as_ref(), &subject, "snapshot", snapshot_modes)?;
    let apply_workers = apply_workers(document, raw, &subject)?;
    let slot = slot(document, table, &name, &source, defined)?;
    let publication = publication(document, raw, &subject)?;
    let mut tables = table_patterns(document, table, &subject)?;
    let entries = routes::entries(document, raw, &subject, &destinations, &mut tables)?;
    let spill = spill_limits(document, raw, &subject)?;
    Ok(Pipeline { name, source, destinations, tables, snapshot, apply_workers, slot, publication, entries, spill })
}

fn spill_limits(document: &Document<'_>, raw: &RawPipeline, subject: &str) -> Result<SpillLimits, ConfigError> {
    let defaults = SpillLimits::default();
    let after = quantity(document, raw.spill_after.as_ref(), subject, "spill_after", &TIMES)?;
    let max_slot_wal = quantity(document, raw.max_slot_wal.as_ref(), subject, "max_slot_wal", &SIZES)?;
    let max_bytes = quantity(document, raw.max_dead_letters.as_ref(), subject, "max_dead_letters", &SIZES)?;
    Ok(SpillLimits {
        after: after.map_or(defaults.after, Duration::from_millis),
        max_slot_wal: max_slot_wal.unwrap_or(defaults.max_slot_wal),
        max_bytes: max_bytes.unwrap_or(defaults.max_bytes),
    })
}

fn source_of(
    document: &Document<'_>,
    table: &Spanned<RawPipeline>,
    defined: &Definitions,
    subject: &str,
) -> Result<String, ConfigError> {
    let written = required(document, table, table.get_ref().source.as_ref(), subject, "source = \"NAME\"")?;
    let source = document.string(written)?;
    if defined.source(&source).is_none() {
        let known = known("source", defined.sources.iter().map(|source| source.name.as_str()));
        return Err(document.invalid(written, format!("{subject}: source {} is not defined; {known}", quoted(&source))));
    }
    Ok(source)
}

fn destinations_of(
    document: &Document<'_>,
    table: &Spanned<RawPipeline>,
    defined: &Definitions,
    subject: &str,
) -> Result<Vec<String>, ConfigError> {
    let raw = table.get_ref().destinations.as_ref();
    let written = required(document, table, raw, subject, "destinations = [\"NAME\"]")?;
    let destinations = distinct(document, written, subject, "destinations")?;
    for (destination, place) in destinations.iter().zip(written.get_ref()) {
        if defined.destination(destination).is_none() {
            let known = known("destination", defined.destinations.iter().map(|known| known.name.as_str()));
            let message = format!("{subject}: destination {} is not defined; {known}", quoted(destination));
            return Err(document.invalid(place, message));
        }
    }
    Ok(destinations)
}

fn apply_workers(document: &Document<'_>, raw: &RawPipeline, subject: &str) -> Result<usize, ConfigError> {
    let Some(written) = &raw.apply_workers else { return Ok(DEFAULT_APPLY_WORKERS) };
    match usize::try_from(*written.get_ref()) {
        Ok(workers) if (1..=MAX_APPLY_WORKERS).contains(&workers) => Ok(workers),
        Ok(_) | Err(_) => {
            let workers = written.get_ref();
            let message = format!("{subject}: apply_workers = {workers} is out of range; use 1 to {MAX_APPLY_WORKERS}");
            Err(document.invalid(written, message))
        }
    }
}

fn slot(
    document: &Document<'_>,
    table: &Spanned<RawPipeline>,
    pipeline: &str,
    source: &str,
    defined: &Definitions,
) -> Result<String, ConfigError> {
    let slot = match &table.get_ref().slot {
        Some(written) => {
            let slot = document.string(written)?;
            check_name(document, written, &slot, &format!("pipeline \"{pipeline}\": slot"), &SLOT_NAME)?;
            slot
        }
        None => format!("rosetta_{pipeline}"),
    };
    let mut same_source = defined.pipelines.iter().filter(|other| other.source == source);
    if let Some(other) = same_source.find(|other| other.slot == slot) {
        let cause = format!("slot \"{slot}\" belongs to pipeline \"{}\" of the same source", other.name);
        let message = format!("pipeline \"{pipeline}\": {cause}; give each a slot of its own");
        return Err(match &table.get_ref().slot {
            Some(written) => document.invalid(written, message),
            None => document.invalid(table, message),
        });
    }
    Ok(slot)
}

fn publication(document: &Document<'_>, raw: &RawPipeline, subject: &str) -> Result<Option<String>, ConfigError> {
    let Some(written) = &raw.publication else { return Ok(None) };
    let publication = document.string(written)?;
    if !(1..=MAX_IDENTIFIER_BYTES).contains(&publication.len()) {
        let remedy = "name an existing publication, or remove the key and Rosetta makes its own";
        let message = format!("{subject}: publication \"{publication}\" is not 1 to 63 bytes long; {remedy}");
        return Err(document.invalid(written, message));
    }
    Ok(Some(publication))
}

fn table_patterns(
    document: &Document<'_>,
    table: &Spanned<RawPipeline>,
    subject: &str,
) -> Result<TablePatterns, ConfigError> {
    let raw = table.get_ref();
    let mut patterns = TablePatterns::default();
    for written in raw.tables.iter().flat_map(|tables| tables.get_ref()) {
        let pattern = document.string(written)?;
        patterns.add(&pattern).map_err(|error| {
            document.invalid(written, format!("{subject}: tables: '{pattern}' is not a pattern: {error}"))
        })?;
    }
    if !patterns.is_empty() || !raw.entries.is_empty() {
        return Ok(patterns);
    }
    let remedy = "add a pattern such as \"public.*\", or a [[pipeline.table]]";
    Err(match &raw.tables {
        Some(tables) => document.invalid(tables, format!("{subject}: tables selects nothing; {remedy}")),
        None => document.invalid(table, format!("{subject}: key 'tables' is missing; {remedy}")),
    })
}

fn name<T>(
    document: &Document<'_>,
    table: &Spanned<T>,
    written: Option<&Text>,
    rule: &NameRule,
) -> Result<String, ConfigError> {
    let written = required(document, table, written, rule.kind, "name = \"NAME\"")?;
    let name = document.string(written)?;
    check_name(document, written, &name, &format!("{} name", rule.kind), rule)?;
    Ok(name)
}

fn check_name(
    document: &Document<'_>,
    written: &Text,
    name: &str,
    subject: &str,
    rule: &NameRule,
) -> Result<(), ConfigError> {
    if rule.allows(name) {
        return Ok(());
    }
    Err(document.invalid(written, format!("{subject} {} is not usable; {}", quoted(name), rule.remedy)))
}

fn refuse_second<T>(
    document: &Document<'_>,
    table: &Spanned<T>,
    kind: &str,
    name: &str,
    is_second: bool,
) -> Result<(), ConfigError> {
    if is_second {
        return Err(document.invalid(table, format!("{kind} \"{name}\" is defined twice; rename or remove one")));
    }
    Ok(())
}

fn url<T>(
    document: &Document<'_>,
    table: &Spanned<T>,
    written: Option<&Text>,
    subject: &str,
) -> Result<Secret, ConfigError> {
    let written = required(document, table, written, subject, "url = \"postgres://USER:PASSWORD@HOST/DATABASE\"")?;
    let url = document.url(written)?;
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        // The URL itself stays out of the message: it may hold a password.
        let message = format!("{subject}: url is not a PostgreSQL one; begin it with postgres:// or postgresql://");
        return Err(document.invalid(written, message));
    }
    Ok(Secret::new(url))
}
