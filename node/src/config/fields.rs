//! What the checks of single values share.

use super::error::ConfigError;
use super::raw::{Document, Text};
use toml::Spanned;

/// The value of a key that must be there; `example` begins with the key.
pub(super) fn required<'a, T, V>(
    document: &Document<'_>,
    table: &Spanned<T>,
    written: Option<&'a V>,
    subject: &str,
    example: &str,
) -> Result<&'a V, ConfigError> {
    let key = example.split(' ').next().unwrap_or(example);
    written.ok_or_else(|| document.invalid(table, format!("{subject}: key '{key}' is missing; add {example}")))
}

/// The values of a list that must hold something, and nothing twice.
pub(super) fn distinct(
    document: &Document<'_>,
    written: &Spanned<Vec<Text>>,
    subject: &str,
    key: &str,
) -> Result<Vec<String>, ConfigError> {
    let mut values: Vec<String> = Vec::new();
    for place in written.get_ref() {
        let value = document.string(place)?;
        if value.is_empty() {
            return Err(document.invalid(place, format!("{subject}: {key} holds an empty name; remove it")));
        }
        if values.contains(&value) {
            return Err(document.invalid(place, format!("{subject}: {key} names {} twice; remove one", quoted(&value))));
        }
        values.push(value);
    }
    if values.is_empty() {
        return Err(document.invalid(written, format!("{subject}: {key} is empty; name at least one")));
    }
    Ok(values)
}

/// One of a few words; the first is the default.
pub(super) fn choice<V: Default + Copy>(
    document: &Document<'_>,
    written: Option<&Text>,
    subject: &str,
    key: &str,
    words: [(&str, V); 2],
) -> Result<V, ConfigError> {
    let Some(written) = written else { return Ok(V::default()) };
    let value = document.string(written)?;
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == value) {
        return Ok(*meaning);
    }
    let known = words.map(|(word, _)| format!("\"{word}\"")).join(" or ");
    Err(document.invalid(written, format!("{subject}: {key} \"{value}\" does not exist; use {known}")))
}

pub(super) fn known<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { format!("add a [[{kind}]]") } else { format!("known {kind}s: {}", names.join(", ")) }
}

/// A name as a message shows it. A URL in the place of a name may hold a password, and is not shown.
pub(super) fn quoted(name: &str) -> String {
    if name.contains("://") { "\"***\"".to_owned() } else { format!("\"{name}\"") }
}
