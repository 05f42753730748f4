//! A definition is valid here if and only if it is valid in a file: it is checked as the file that it would be.

use super::CatalogError;
use super::definition::{DefinitionSet, DestinationDefinition, PipelineDefinition, RouteDefinition, SourceDefinition};
use crate::config::{ConfigError, Definitions, DestinationKind};
use crate::postgres::PgUrl;

/// Checks a whole set; URLs may have encrypted passwords.
///
/// # Errors
/// [`CatalogError::Invalid`] with the first problem and its field.
pub fn validate(set: &DefinitionSet) -> Result<Definitions, CatalogError> {
    let text = toml::to_string(&escaped(set)).map_err(|error| CatalogError::invalid("", error.to_string()))?;
    let definitions = Definitions::parse(&text, &|_| None).map_err(|error| problem(&text, &error))?;
    for source in &definitions.sources {
        check_url("source.url", &format!("source \"{}\"", source.name), source.url.expose())?;
    }
    for destination in &definitions.destinations {
        match &destination.kind {
            DestinationKind::Postgres { url } => {
                let subject = format!("destination \"{}\"", destination.name);
                check_url("destination.url", &subject, url.expose())?;
            }
            DestinationKind::Null => {}
        }
    }
    Ok(definitions)
}

/// A file's URLs are read when its pipelines start; here nobody waits for that.
fn check_url(field: &str, subject: &str, url: &str) -> Result<(), CatalogError> {
    PgUrl::parse(url).map(drop).map_err(|error| CatalogError::invalid(field, format!("{subject}: {error}")))
}

/// `$` stands for itself: clients have filled the environment in.
fn escaped(set: &DefinitionSet) -> DefinitionSet {
    let text = |text: &String| text.replace('$', "$$");
    let optional = |value: &Option<String>| value.as_ref().map(text);
    let list = |values: &Vec<String>| values.iter().map(text).collect::<Vec<_>>();
    let route = |route: &RouteDefinition| RouteDefinition {
        name: text(&route.name),
        target: optional(&route.target),
        columns: route.columns.as_ref().map(list),
        filter: optional(&route.filter),
        destinations: route.destinations.as_ref().map(list),
        publish: optional(&route.publish),
    };
    let pipeline = |pipeline: &PipelineDefinition| PipelineDefinition {
        name: text(&pipeline.name),
        source: text(&pipeline.source),
        destinations: list(&pipeline.destinations),
        tables: list(&pipeline.tables),
        snapshot: optional(&pipeline.snapshot),
        apply_workers: pipeline.apply_workers,
        slot: optional(&pipeline.slot),
        publication: optional(&pipeline.publication),
        spill_after: optional(&pipeline.spill_after),
        max_slot_wal: optional(&pipeline.max_slot_wal),
        max_dead_letters: optional(&pipeline.max_dead_letters),
        routes: pipeline.routes.iter().map(route).collect(),
    };
    let source = |source: &SourceDefinition| SourceDefinition { name: text(&source.name), url: text(&source.url) };
    let destination = |destination: &DestinationDefinition| DestinationDefinition {
        name: text(&destination.name),
        kind: text(&destination.kind),
        url: optional(&destination.url),
    };
    DefinitionSet {
        sources: set.sources.iter().map(source).collect(),
        destinations: set.destinations.iter().map(destination).collect(),
        pipelines: set.pipelines.iter().map(pipeline).collect(),
    }
}

/// The file's problem without its line, which no caller has seen; the line gives the field instead.
fn problem(text: &str, error: &ConfigError) -> CatalogError {
    match error {
        ConfigError::Invalid { place, message } | ConfigError::Malformed { place, message } => {
            CatalogError::invalid(field_at(text, place.line), message.as_str())
        }
        ConfigError::MissingVariable { place, .. } => {
            CatalogError::invalid(field_at(text, place.line), error.to_string())
        }
        ConfigError::Unreadable { .. } | ConfigError::Setting { .. } => CatalogError::invalid("", error.to_string()),
    }
}

/// The key that stands in a line, within its table: `pipeline.table.filter`.
fn field_at(text: &str, line: usize) -> String {
    let mut table = "";
    let mut key = "";
    for written in text.lines().take(line) {
        if let Some(header) = written.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            (table, key) = (header, "");
        } else if let Some((name, _)) = written.split_once(" = ") {
            key = name;
        }
    }
    [table, key].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::catalog) fn set() -> DefinitionSet {
        let destination = |name: &str, kind: &str, url: Option<&str>| DestinationDefinition {
            name: name.to_owned(),
            kind: kind.to_owned(),
            url: url.map(str::to_owned),
        };
        DefinitionSet {
            sources: vec![SourceDefinition { name: "shop".to_owned(), url: "postgres://u:p$${x}@h/d".to_owned() }],
            destinations: vec![
                destination("mirror", "postgres", Some("postgres://u@h/m")),
                destination("count", "null", None),
            ],
            pipelines: vec![PipelineDefinition {
                name: "orders".to_owned(),
                source: "shop".to_owned(),
                destinations: vec!["mirror".to_owned()],
                tables: vec!["public.*".to_owned()],
                routes: vec![RouteDefinition {
                    name: "public.orders".to_owned(),
                    filter: Some("name ~ '^a$'\n\"x\"".to_owned()),
                    ..RouteDefinition::default()
                }],
                ..PipelineDefinition::default()
            }],
        }
    }

    fn refused(change: impl FnOnce(&mut DefinitionSet)) -> (String, String) {
        let mut set = set();
        change(&mut set);
        match validate(&set) {
            Err(CatalogError::Invalid { field, reason }) => (field, reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_arrives_as_it_is() {
        let definitions = validate(&set()).unwrap();
        assert_eq!(definitions.sources[0].url.expose(), "postgres://u:p$${x}@h/d");
        assert_eq!(definitions.pipelines[0].entries[0].filter.as_deref(), Some("name ~ '^a$'\n\"x\""));
        assert_eq!(definitions.pipelines[0].slot, "rosetta_orders");
    }

    #[test]
    fn problems_name_their_field_and_no_line() {
        let (field, reason) = refused(|set| set.pipelines[0].destinations = vec!["x".to_owned()]);
        assert_eq!(field, "pipeline.destinations");
        assert_eq!(reason, "pipeline \"orders\": destination \"x\" is not defined; known destinations: mirror, count");
        assert_eq!(refused(|set| set.pipelines[0].apply_workers = Some(65)).0, "pipeline.apply_workers");
        assert_eq!(refused(|set| set.pipelines[0].name.clear()).0, "pipeline.name");
        assert_eq!(refused(|set| set.pipelines[0].routes[0].filter = Some(" ".to_owned())).0, "pipeline.table.filter");
        assert_eq!(refused(|set| set.pipelines[0].routes[0].name = "orders.".to_owned()).0, "pipeline.table.name");
        assert_eq!(refused(|set| set.destinations[1].url = Some("postgres://u@h".to_owned())).0, "destination.url");
        let second = |set: &mut DefinitionSet| set.sources.push(set.sources[0].clone());
        assert_eq!(refused(second).0, "source");
    }

    #[test]
    fn unusable_urls_are_refused_without_their_password() {
        for url in ["mysql://u:secret@h/d", "postgres://u:sec/ret@h/d", "postgres://u:secret@h:x/d"] {
            let (field, reason) = refused(|set| set.sources[0].url = url.to_owned());
            assert_eq!(field, "source.url");
            assert!(!reason.contains("sec"), "{reason}");
        }
    }
}
