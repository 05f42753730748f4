//! What differs between two sets of definitions. Pure; names of fields, never their values.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;
use super::definition::DefinitionSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Created,
    Changed,
    Deleted,
}

/// One definition that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub change: ChangeKind,
    pub kind: Kind,
    pub name: String,
    /// For `Changed`: such as `tables` or `routes[public.orders].filter`.
    pub fields: Vec<String>,
}

/// What `apply` changes, or would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub changes: Vec<Change>,
    /// Of all definitions before.
    pub fingerprint: String,
}

impl Difference {
    pub(super) fn finds(&self, kind: Kind, name: &str, change: ChangeKind) -> bool {
        self.changes.iter().any(|found| found.kind == kind && found.name == name && found.change == change)
    }
}

/// The changes that lead from `before` to `after`; both with their passwords open.
pub(super) fn between(before: &DefinitionSet, after: &DefinitionSet) -> Vec<Change> {
    let mut changes = Vec::new();
    let sources = (named(&before.sources, |s| &s.name), named(&after.sources, |s| &s.name));
    compare(Kind::Source, &sources.0, &sources.1, &mut changes);
    let destinations = (named(&before.destinations, |d| &d.name), named(&after.destinations, |d| &d.name));
    compare(Kind::Destination, &destinations.0, &destinations.1, &mut changes);
    let pipelines = (named(&before.pipelines, |p| &p.name), named(&after.pipelines, |p| &p.name));
    compare(Kind::Pipeline, &pipelines.0, &pipelines.1, &mut changes);
    changes
}

fn named<T: Serialize>(items: &[T], name: impl Fn(&T) -> &String) -> Vec<(&str, Value)> {
    items.iter().map(|item| (name(item).as_str(), serde_json::to_value(item).unwrap_or_default())).collect()
}

fn compare(kind: Kind, before: &[(&str, Value)], after: &[(&str, Value)], changes: &mut Vec<Change>) {
    let mut add = |change, name: &str, fields| changes.push(Change { change, kind, name: name.to_owned(), fields });
    for (name, value) in after {
        match before.iter().find(|(other, _)| other == name) {
            None => add(ChangeKind::Created, name, Vec::new()),
            Some((_, old)) if old != value => add(ChangeKind::Changed, name, fields(old, value)),
            Some(_) => {}
        }
    }
    for (name, _) in before.iter().filter(|(name, _)| !after.iter().any(|(other, _)| other == name)) {
        add(ChangeKind::Deleted, name, Vec::new());
    }
}

/// The keys whose values differ; in `table`, which messages call routes, those of each table.
fn fields(before: &Value, after: &Value) -> Vec<String> {
    let mut differing = Vec::new();
    for key in keys(before, after) {
        let (old, new) = (&before[&key], &after[&key]);
        match (key.as_str(), old == new) {
            (_, true) => {}
            ("table", false) => differing.extend(routes(old, new)),
            (_, false) => differing.push(key),
        }
    }
    differing
}

fn routes(before: &Value, after: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (before, after) = (list(before), list(after));
    let name = |route: &Value| route["name"].as_str().unwrap_or_default().to_owned();
    let mut differing = Vec::new();
    for index in 0..before.len().max(after.len()) {
        match (before.get(index), after.get(index)) {
            (Some(old), Some(new)) if name(old) == name(new) => {
                differing.extend(fields(old, new).into_iter().map(|field| format!("routes[{}].{field}", name(new))));
            }
            (old, new) => differing.extend(old.into_iter().chain(new).map(|route| format!("routes[{}]", name(route)))),
        }
    }
    differing.dedup();
    differing
}

fn keys(before: &Value, after: &Value) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for key in [before, after].into_iter().filter_map(Value::as_object).flat_map(|object| object.keys()) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::set;
    use super::*;

    #[test]
    fn equal_sets_do_not_differ() {
        assert_eq!(between(&set(), &set()), []);
    }

    #[test]
    fn fields_are_named_and_values_are_not() {
        let (before, mut after) = (set(), set());
        after.sources[0].url = "postgres://u:other@h/d".to_owned();
        after.destinations.remove(1);
        after.pipelines[0].snapshot = Some("never".to_owned());
        after.pipelines[0].routes[0].filter = None;
        after.pipelines.push(super::super::PipelineDefinition { name: "b".to_owned(), ..after.pipelines[0].clone() });
        let shown: Vec<_> = between(&before, &after)
            .into_iter()
            .map(|c| format!("{:?} {} {} {}", c.change, c.kind, c.name, c.fields.join(" ")))
            .collect();
        let expected = [
            "Changed source shop url",
            "Deleted destination count ",
            "Changed pipeline orders routes[public.orders].filter snapshot",
            "Created pipeline b ",
        ];
        let sorted = |line: &str| {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            words.sort();
            words
        };
        let sorted_all = |lines: &[String]| lines.iter().map(|line| sorted(line)).collect::<Vec<_>>();
        assert_eq!(sorted_all(&shown), sorted_all(&expected.map(str::to_owned)));
    }
}
