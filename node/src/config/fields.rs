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

/// Units, and what they are worth; the first is the example.
type Units = [(&'static str, u64); 4];
/// In milliseconds.
pub(super) const TIMES: Units = [("s", 1000), ("ms", 1), ("m", 60_000), ("h", 3_600_000)];
/// In bytes; powers of 1024, as PostgreSQL counts.
pub(super) const SIZES: Units = [("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("TB", 1 << 40)];

/// A positive whole number with its unit, such as `30s` or `5GB`.
pub(super) fn quantity(
    document: &Document<'_>,
    written: Option<&Text>,
    subject: &str,
    key: &str,
    units: &Units,
) -> Result<Option<u64>, ConfigError> {
    let Some(written) = written else { return Ok(None) };
    let value = document.string(written)?;
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let worth = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, worth)| *worth);
    let parsed = number.parse::<u64>().ok().filter(|number| *number > 0);
    match (parsed, worth) {
        (Some(number), Some(worth)) if number <= u64::MAX >> 20 => Ok(Some(number.saturating_mul(worth))),
        _ => {
            let names = units.map(|(name, _)| name).join(", ");
            let message = format!(
                "{subject}: {key} {} is not a number with a unit; use one of {names}, as in 30{}",
                quoted(&value),
                units[0].0
            );
            Err(document.invalid(written, message))
        }
    }
}

pub(super) fn known<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { format!("add a [[{kind}]]") } else { format!("known {kind}s: {}", names.join(", ")) }
}

/// A name as a message shows it. A URL in the place of a name may hold a password, and is not shown.
pub(super) fn quoted(name: &str) -> String {
    if name.contains("://") { "\"***\"".to_owned() } else { format!("\"{name}\"") }
}
