//! The file as it is written: every key that exists, and where its value stands. Nothing is checked here but the shape.

use super::environment::{self, Fault, Lookup};
use super::error::{ConfigError, Place};
use serde::Deserialize;
use toml::Spanned;

pub(super) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) allow_volatile_dead_letters: Option<bool>,
    #[serde(default, rename = "source")]
    pub(super) sources: Vec<Spanned<RawSource>>,
    #[serde(default, rename = "destination")]
    pub(super) destinations: Vec<Spanned<RawDestination>>,
    #[serde(default, rename = "pipeline")]
    pub(super) pipelines: Vec<Spanned<RawPipeline>>,
}

// Keys that must be there are optional too: the validator names the table that lacks one, which serde cannot.

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub(super) name: Option<Text>,
    pub(super) url: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDestination {
    pub(super) name: Option<Text>,
    pub(super) kind: Option<Text>,
    pub(super) url: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPipeline {
    pub(super) name: Option<Text>,
    pub(super) source: Option<Text>,
    pub(super) destinations: Option<Spanned<Vec<Text>>>,
    pub(super) tables: Option<Spanned<Vec<Text>>>,
    pub(super) snapshot: Option<Text>,
    pub(super) apply_workers: Option<Spanned<i64>>,
    pub(super) slot: Option<Text>,
    pub(super) publication: Option<Text>,
    pub(super) spill_after: Option<Text>,
    pub(super) max_slot_wal: Option<Text>,
    pub(super) max_dead_letters: Option<Text>,
    #[serde(default, rename = "table")]
    pub(super) entries: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEntry {
    pub(super) name: Option<Text>,
    pub(super) target: Option<Text>,
    pub(super) columns: Option<Spanned<Vec<Text>>>,
    pub(super) filter: Option<Text>,
    pub(super) destinations: Option<Spanned<Vec<Text>>>,
    pub(super) publish: Option<Text>,
}

/// The text that is being read, with what its `${NAME}` stand for.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    pub(super) environment: Lookup<'a>,
}

impl Document<'_> {
    pub(super) fn parse(&self) -> Result<RawFile, ConfigError> {
        toml::from_str(self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            // Only the message: the error's own display quotes the source line, and with it passwords.
            ConfigError::malformed(Place::at_offset(self.text, offset), plain_message(error.message()))
        })
    }

    /// A problem with `value`, at its place.
    pub(super) fn invalid<T>(&self, value: &Spanned<T>, message: impl AsRef<str>) -> ConfigError {
        ConfigError::invalid(self.place(value), message)
    }

    pub(super) fn string(&self, value: &Text) -> Result<String, ConfigError> {
        environment::expand(value.get_ref(), self.environment).map_err(|fault| self.fault(value, fault))
    }

    pub(super) fn url(&self, value: &Text) -> Result<String, ConfigError> {
        environment::expand_url(value.get_ref(), self.environment).map_err(|fault| self.fault(value, fault))
    }

    fn place<T>(&self, value: &Spanned<T>) -> Place {
        Place::at_offset(self.text, value.span().start)
    }

    fn fault(&self, value: &Text, fault: Fault) -> ConfigError {
        match fault {
            Fault::NotSet(variable) => ConfigError::MissingVariable { place: self.place(value), variable },
            Fault::NotAName(name) => self.invalid(
                value,
                format!("\"${{{name}}}\" is not the name of a variable; use letters, digits and _, or write $${{ for a literal ${{"),
            ),
            Fault::Unclosed => {
                self.invalid(value, "\"${\" is not closed; write ${NAME}, or $${ for a literal ${")
            }
        }
    }
}

/// The parser's message as one line in this file's words.
fn plain_message(message: &str) -> String {
    let told = unknown_key(message).or_else(|| misplaced_string(message));
    told.unwrap_or_else(|| message.trim().replace('\n', ", "))
}

/// serde quotes a string of the wrong type, which may be a URL with a password.
fn misplaced_string(message: &str) -> Option<String> {
    let (_, expected) = message.strip_prefix("invalid type: string ")?.rsplit_once(", expected ")?;
    Some(format!("invalid type: a string, expected {expected}"))
}

/// serde tells an unknown key from other faults only in its text: "unknown field `x`, expected one of `a`, `b`".
fn unknown_key(message: &str) -> Option<String> {
    let (key, expected) = message.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    Some(format!("unknown key '{key}'; known keys here: {}", known.join(", ")))
}
