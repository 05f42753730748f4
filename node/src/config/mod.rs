//! The definitions file: TOML text, raw and then valid. After [`Definitions::parse`] nothing needs to be checked again
//! but what only the servers know.
//!
//! `text -> raw (shape, unknown keys) -> environment (${NAME}) -> validate (rules) -> Definitions`

mod environment;
mod error;
mod fields;
mod message;
mod pattern;
mod raw;
mod routes;
mod settings;
#[cfg(test)]
mod tests;
mod validate;

pub use crate::table_name::{TableName, TableNameError};
pub use environment::Lookup;
pub use error::{ConfigError, Place};
pub use message::load_with_message;
pub use pattern::TablePatterns;
pub use settings::Settings;

use crate::dead_letters::SpillLimits;
use raw::Document;
use std::fmt;
use std::path::Path;

/// Everything that a file defines. Names are unique per kind, and every reference leads to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definitions {
    pub sources: Vec<Source>,
    pub destinations: Vec<Destination>,
    /// At least one.
    pub pipelines: Vec<Pipeline>,
    /// A store of dead letters that may lose them is used all the same.
    pub allow_volatile_dead_letters: bool,
}

impl Definitions {
    /// Reads a file, with the process's environment.
    ///
    /// # Errors
    /// The first problem, with its place in the file; or that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?, &|name| std::env::var(name).ok()).map_err(|error| error.in_file(path))
    }

    /// Reads a text. `environment` gives the values of the variables that it refers to as `${NAME}`.
    ///
    /// Inside the user or the password of a `url` a variable's value is percent-encoded: it is given as it is. A `url`
    /// that is one whole `${NAME}` is taken as it is.
    ///
    /// # Errors
    /// The first problem, with its line and column.
    pub fn parse(text: &str, environment: Lookup<'_>) -> Result<Self, ConfigError> {
        let document = Document { text, environment };
        validate::definitions(&document, &document.parse()?)
    }

    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }

    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.iter().find(|destination| destination.name == name)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), cause: error.to_string() })
}

/// A PostgreSQL database that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Part of the names of the publications that Rosetta makes.
    pub name: String,
    pub url: Secret,
}

/// Where changes are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub name: String,
    pub kind: DestinationKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationKind {
    Postgres {
        url: Secret,
    },
    /// Counts and discards, for measuring.
    Null,
}

/// One source, one replication slot, one or more destinations, and a set of tables with their routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    pub name: String,
    pub source: String,
    /// At least one, each once.
    pub destinations: Vec<String>,
    pub tables: TablePatterns,
    pub snapshot: SnapshotMode,
    /// Connections that write to one destination, 1 to 64.
    pub apply_workers: usize,
    /// Unique among the pipelines of its source.
    pub slot: String,
    /// The user's publication; `None` where Rosetta makes its own.
    pub publication: Option<String>,
    pub entries: Vec<TableEntry>,
    /// What becomes of changes for a destination that is away.
    pub spill: SpillLimits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotMode {
    /// Copies what the tables hold, then follows the changes.
    #[default]
    Initial,
    /// Starts at the slot's position and copies nothing.
    Never,
}

/// A route of one table. A table with several routes has the same filter and the same [`Publish`] in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    pub name: TableName,
    /// `None` where the table keeps its name.
    pub target: Option<TableName>,
    /// `None` for all columns; otherwise at least one, each once.
    pub columns: Option<Vec<String>>,
    /// A condition on the rows, in SQL.
    pub filter: Option<String>,
    /// A subset of the pipeline's; `None` for all of them.
    pub destinations: Option<Vec<String>>,
    pub publish: Publish,
}

/// Which changes of a table are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Publish {
    #[default]
    All,
    /// Inserts only.
    Insert,
}

/// A text that no log and no message may show, such as a URL with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
