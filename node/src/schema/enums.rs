use std::collections::HashMap;

use super::{
    SchemaError, TableName, Wanted,
    definition::{Definition, TypeDefinition, read_definitions},
    read::{array_literal, json},
};
use crate::postgres::{Connection, PgError, literal};

/// Where a new label goes among those that are there.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Anywhere,
    Before(&'a str),
    After(&'a str),
}

/// Adds to the destination's enums the labels that the source's have, in the source's order; the number added.
/// Only types of the same schema and name count. To be called outside a transaction, as a label that is added
/// inside one cannot be used before its end (PostgreSQL docs, ALTER TYPE).
///
/// A label that was renamed at the source is added, too, and the old one stays, because rows on their way may hold it;
/// a warning tells of it.
///
/// # Errors
/// What the servers say; to add labels, the user must own the type.
pub async fn sync_enums(
    source: &mut Connection,
    destination: &mut Connection,
    wanted: &[Wanted],
) -> Result<usize, SchemaError> {
    let oids = wanted.iter().flat_map(Wanted::created_columns).map(|column| column.type_oid);
    let types = read_definitions(source, oids).await.map_err(SchemaError::Source)?;
    let enums: Vec<_> = types.iter().filter_map(|found| Some((&found.name, labels(found)?))).collect();
    let present = read_labels(destination, &enums).await.map_err(SchemaError::Destination)?;
    let mut added = 0;
    for (name, labels) in enums {
        let Some(present) = present.get(name) else { continue };
        warn_of_surplus(name, labels, present);
        for (label, place) in missing_labels(labels, present) {
            let sql = add_label(name, label, &place);
            destination.simple(&sql).await.map_err(SchemaError::Destination)?;
            added += 1;
        }
    }
    Ok(added)
}

/// What was renamed cannot be told from what is the destination's own.
fn warn_of_surplus(name: &TableName, source: &[String], present: &[String]) {
    for label in present.iter().filter(|label| !source.contains(label)) {
        tracing::warn!(
            "enum {name} has label {} at the destination and not at the source: if it was renamed there, update the rows \
             that hold it",
            literal(label)
        );
    }
}

fn labels(found: &TypeDefinition) -> Option<&[String]> {
    match &found.definition {
        Definition::Enum { labels } => Some(labels),
        Definition::Extension { .. }
        | Definition::Domain(_)
        | Definition::Composite { .. }
        | Definition::Range(_)
        | Definition::Derived
        | Definition::Other { .. } => None,
    }
}

async fn read_labels(
    destination: &mut Connection,
    enums: &[(&TableName, &[String])],
) -> Result<HashMap<TableName, Vec<String>>, PgError> {
    if enums.is_empty() {
        return Ok(HashMap::new());
    }
    let schemas = array_literal(enums.iter().map(|(name, _)| name.schema.as_str()));
    let names = array_literal(enums.iter().map(|(name, _)| name.name.as_str()));
    let sql = "SELECT n.nspname, t.typname, (SELECT coalesce(json_agg(l.enumlabel ORDER BY l.enumsortorder), '[]') \
            FROM pg_enum l WHERE l.enumtypid = t.oid) \
         FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
        WHERE t.typtype = 'e' AND (n.nspname, t.typname) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
    let rows = destination.query(sql, &[Some(&schemas), Some(&names)]).await?;
    rows.iter().map(|row| Ok((TableName::new(row.text(0)?, row.text(1)?), json(row, 2)?))).collect()
}

/// The labels to add, in order: each after its predecessor, which is there by then.
fn missing_labels<'a>(source: &'a [String], present: &'a [String]) -> Vec<(&'a str, Place<'a>)> {
    let before = std::iter::once(None).chain(source.iter().map(Some));
    let missing = source.iter().zip(before).filter(|(label, _)| !present.contains(label));
    let place = |before: Option<&'a String>| match (before, present.first()) {
        (Some(before), _) => Place::After(before),
        (None, Some(first)) => Place::Before(first),
        (None, None) => Place::Anywhere,
    };
    missing.map(|(label, before)| (label.as_str(), place(before))).collect()
}

/// IF NOT EXISTS: another pipeline may add it at the same time.
fn add_label(name: &TableName, label: &str, place: &Place<'_>) -> String {
    let place = match place {
        Place::Anywhere => String::new(),
        Place::Before(other) => format!(" BEFORE {}", literal(other)),
        Place::After(other) => format!(" AFTER {}", literal(other)),
    };
    format!("ALTER TYPE {} ADD VALUE IF NOT EXISTS {}{place}", name.sql(), literal(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn labels_keep_their_order() {
        let (source, present) = (texts(&["a", "b", "c", "d"]), texts(&["b", "x"]));
        let expected = [("a", Place::Before("b")), ("c", Place::After("b")), ("d", Place::After("c"))];
        assert_eq!(missing_labels(&source, &present), expected);
        assert_eq!(missing_labels(&source, &source), []);
        assert_eq!(missing_labels(&texts(&["a"]), &[]), [("a", Place::Anywhere)]);
    }

    #[test]
    fn labels_are_quoted() {
        let sql = add_label(&TableName::new("s", "Color"), "o'k", &Place::After("a"));
        assert_eq!(sql, "ALTER TYPE \"s\".\"Color\" ADD VALUE IF NOT EXISTS 'o''k' AFTER 'a'");
    }
}
