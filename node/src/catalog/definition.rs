//! Definitions as they are written and kept: the keys and words of the definitions file (docs/CONFIG.md). Nothing is
//! checked here but the shape; see `validate`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secret::{Place, redacted_url};

/// A whole set, as a file holds one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionSet {
    #[serde(default, rename = "source", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceDefinition>,
    #[serde(default, rename = "destination", skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<DestinationDefinition>,
    #[serde(default, rename = "pipeline", skip_serializing_if = "Vec::is_empty")]
    pub pipelines: Vec<PipelineDefinition>,
}

/// `[[source]]`. The URL's password may be encrypted; `Debug` hides it either way.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDefinition {
    pub name: String,
    pub url: String,
}

/// `[[destination]]`. As [`SourceDefinition`]; kind `null` has no URL.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationDefinition {
    pub name: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// `[[pipeline]]`. What is absent has the default that docs/CONFIG.md gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineDefinition {
    #[serde(default)]
    pub name: String,
    pub source: String,
    pub destinations: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply_workers: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spill_after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_slot_wal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_dead_letters: Option<String>,
    #[serde(default, rename = "table", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteDefinition>,
}

/// `[[pipeline.table]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDefinition {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}

impl SourceDefinition {
    /// Where the URL's password stands.
    pub fn place(&self) -> Place<'_> {
        Place { table: "sources", name: &self.name, field: "url" }
    }

    /// As answers show it: the password is `***`.
    #[must_use]
    pub fn redacted(&self) -> SourceDefinition {
        SourceDefinition { name: self.name.clone(), url: redacted_url(&self.url) }
    }
}

impl DestinationDefinition {
    /// Where the URL's password stands.
    pub fn place(&self) -> Place<'_> {
        Place { table: "destinations", name: &self.name, field: "url" }
    }

    /// As answers show it: the password is `***`.
    #[must_use]
    pub fn redacted(&self) -> DestinationDefinition {
        DestinationDefinition { url: self.url.as_deref().map(redacted_url), ..self.clone() }
    }
}

impl fmt::Debug for SourceDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, url } = self;
        f.debug_struct("SourceDefinition").field("name", name).field("url", &redacted_url(url)).finish()
    }
}

impl fmt::Debug for DestinationDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, url } = self;
        let url = url.as_deref().map(redacted_url);
        f.debug_struct("DestinationDefinition").field("name", name).field("kind", kind).field("url", &url).finish()
    }
}
