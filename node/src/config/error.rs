//! What can be wrong with a configuration, said in one line.

use std::fmt;
use std::path::{Path, PathBuf};

/// The first problem found in a configuration. Its text is one line: place, subject, cause and remedy.
/// It never holds a URL or the value of an environment variable used in one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing, or cannot be read as text.
    #[error("cannot read the configuration {}: {cause}; check the path and its permissions", path.display())]
    Unreadable { path: PathBuf, cause: String },
    /// The text is not TOML, has a value of the wrong type, or a key that does not exist.
    #[error("{place}: {message}")]
    Malformed { place: Place, message: String },
    /// A `${NAME}` whose variable is not set.
    #[error("{place}: environment variable {variable} is not set; set it, or write $${{ for a literal ${{")]
    MissingVariable { place: Place, variable: String },
    /// Well-formed, but against a rule.
    #[error("{place}: {message}")]
    Invalid { place: Place, message: String },
    /// A tuning variable in the environment has an unusable value.
    #[error("{variable}={value:?} is not usable: expected a whole number of {unit} from 1 to {limit}")]
    Setting { variable: &'static str, value: String, unit: &'static str, limit: u64 },
}

impl ConfigError {
    pub(super) fn malformed(place: Place, message: impl AsRef<str>) -> Self {
        Self::Malformed { place, message: one_line(message.as_ref()) }
    }

    pub(super) fn invalid(place: Place, message: impl AsRef<str>) -> Self {
        Self::Invalid { place, message: one_line(message.as_ref()) }
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        match &mut self {
            Self::Malformed { place, .. } | Self::MissingVariable { place, .. } | Self::Invalid { place, .. } => {
                place.file = Some(path.to_owned());
            }
            Self::Unreadable { .. } | Self::Setting { .. } => {}
        }
        self
    }
}

/// Where in the configuration something stands. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Option<PathBuf>,
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// The place of a byte offset; an offset outside of the text counts as its end.
    pub(super) fn at_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.chars().count() - before.get(..line_start).map_or(0, |lines| lines.chars().count()) + 1;
        Self { file: None, line: before.matches('\n').count() + 1, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column } = self;
        match file {
            Some(file) => write!(f, "{}, line {line}, column {column}", file.display()),
            None => write!(f, "line {line}, column {column}"),
        }
    }
}

/// Names and parser messages may contain line breaks, and a log line or a terminal must not be torn by them.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for character in message.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
