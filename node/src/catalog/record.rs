//! A pipeline's record in etcd, opened where it is run.

use rosetta_coordinator::records::PipelineRecord;

use super::definition::DefinitionSet;
use super::{CatalogError, validate};
use crate::config::Definitions;
use crate::secret::{Keyring, open_url};

/// The definitions of a record: one pipeline, its source and its destinations, with their passwords. A `Job` is made of
/// `definitions` and `definitions.pipelines[0]`.
///
/// # Errors
/// A secret does not open with the keys of this process, or the definition is of a form that this version does not know.
pub fn open(record: &PipelineRecord, keys: &Keyring) -> Result<Definitions, CatalogError> {
    let set = serde_json::from_value(record.definition.clone());
    let unknown =
        |error| CatalogError::invalid("", format!("pipeline {}: the record is not understood: {error}", record.name));
    validate(&open_set(&set.map_err(unknown)?, keys)?)
}

/// A set with its passwords decrypted.
pub(super) fn open_set(set: &DefinitionSet, keys: &Keyring) -> Result<DefinitionSet, CatalogError> {
    let mut opened = set.clone();
    for (source, sealed) in opened.sources.iter_mut().zip(&set.sources) {
        source.url = open_url(&sealed.url, sealed.place(), keys)?;
    }
    for (destination, sealed) in opened.destinations.iter_mut().zip(&set.destinations) {
        if let Some(url) = &sealed.url {
            destination.url = Some(open_url(url, sealed.place(), keys)?);
        }
    }
    Ok(opened)
}
