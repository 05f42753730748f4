use rosetta_coordinator::records::Desired;

use super::plan::{Outcome, Plan, Write, plan};
use super::validate::tests::set;
use super::{
    CatalogError, Command, DefinitionSet, DestinationDefinition, Kind, PipelineDefinition, Refused, Snapshot,
    SourceDefinition, StoredPipeline,
};
use crate::secret::{Keyring, seal_url};

fn keys() -> Keyring {
    let key = "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    Keyring::from_env(|name| (name == "ROSETTA_SECRET_KEY").then(|| key.to_owned())).unwrap()
}

/// The catalog that holds `set()`.
fn before() -> Snapshot {
    let mut snapshot = Snapshot { fingerprint: "7-4".to_owned(), ..Snapshot::default() };
    for source in set().sources {
        let url = seal_url(&source.url, source.place(), &keys()).unwrap();
        snapshot.sources.insert(source.name.clone(), SourceDefinition { url, ..source });
    }
    for destination in set().destinations {
        snapshot.destinations.insert(destination.name.clone(), destination);
    }
    for definition in set().pipelines {
        let stored = StoredPipeline {
            definition,
            revision: 7,
            desired: Desired::Start,
            pin: None,
            restarts: 0,
            created_at_ms: 0,
            updated_at_ms: 0,
        };
        snapshot.pipelines.insert(stored.definition.name.clone(), stored);
    }
    snapshot
}

fn apply(before: &Snapshot, set: DefinitionSet, prune: bool) -> Result<Plan, CatalogError> {
    plan(before, &Command::Apply { set, prune, dry_run: false, expected_fingerprint: None }, &keys())
}

#[test]
fn what_is_there_already_is_not_written() {
    for prune in [false, true] {
        assert_eq!(apply(&before(), set(), prune).unwrap().writes, []);
    }
}

#[test]
fn pipelines_are_written_before_what_changes_their_revision() {
    let mut wanted = set();
    wanted.sources[0].url = "postgres://u:new@h/d".to_owned();
    wanted.pipelines[0].apply_workers = Some(2);
    let writes = apply(&before(), wanted.clone(), false).unwrap().writes;
    assert_eq!(writes[0], Write::Update { pipeline: wanted.pipelines[0].clone(), seen: 7 });
    match &writes[1..] {
        [Write::Source(source)] => assert!(source.url.starts_with("postgres://u:enc:v1:k:"), "{source:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_that_nobody_understands_can_be_replaced_and_pruned_and_stand_in_nobodys_way() {
    let mut before = before();
    let broken = DestinationDefinition { name: "broken".to_owned(), kind: "later".to_owned(), url: None };
    before.destinations.insert("broken".to_owned(), broken);
    for name in ["bills", "old"] {
        let (kind, reason) = (Kind::Pipeline, "not understood".to_owned());
        before.refused.push(Refused { kind, name: name.to_owned(), revision: 9, reason });
    }
    let mut wanted = set();
    let bills = PipelineDefinition { name: "bills".to_owned(), ..wanted.pipelines[0].clone() };
    wanted.pipelines.push(bills.clone());
    let replaced = Write::Update { pipeline: bills, seen: 9 };
    assert_eq!(apply(&before, wanted.clone(), false).unwrap().writes, std::slice::from_ref(&replaced));
    let delete = |kind, name: &str| Write::Delete { kind, name: name.to_owned() };
    let pruned = apply(&before, wanted, true).unwrap().writes;
    assert_eq!(pruned[0], replaced);
    assert!(pruned.contains(&delete(Kind::Pipeline, "old")), "{pruned:?}");
    assert!(pruned.contains(&delete(Kind::Destination, "broken")), "{pruned:?}");
}

#[test]
fn a_set_without_pipelines_is_checked_too() {
    let mut wanted = DefinitionSet { sources: set().sources, ..DefinitionSet::default() };
    assert_eq!(apply(&Snapshot::default(), wanted.clone(), false).unwrap().writes.len(), 1);
    wanted.sources[0].name = "no name".to_owned();
    match apply(&Snapshot::default(), wanted, false) {
        Err(CatalogError::Invalid { field, .. }) => assert_eq!(field, "source.name"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hidden_password_never_replaces_a_real_one() {
    let mut wanted = set();
    wanted.sources[0] = wanted.sources[0].redacted();
    match apply(&before(), wanted, false) {
        Err(CatalogError::Invalid { field, reason }) => assert!(field == "source.url" && reason.contains("***")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_update_needs_the_revision_that_is_current() {
    let update = |expected_revision| {
        let pipeline = set().pipelines.remove(0);
        plan(&before(), &Command::Update { pipeline, expected_revision }, &keys()).map(|plan| plan.outcome)
    };
    assert_eq!(update(7), Ok(Outcome::Pipeline("orders".to_owned())));
    assert_eq!(update(6), Err(CatalogError::Conflict { name: "orders".to_owned(), expected: 6, current: 7 }));
    assert!(matches!(update(0), Err(CatalogError::Invalid { field, .. }) if field == "expected_revision"));
}

#[test]
fn a_paused_pipeline_is_not_restarted() {
    let mut before = before();
    let restart = Command::Restart { name: "orders".to_owned() };
    assert_eq!(plan(&before, &restart, &keys()).unwrap().writes.len(), 1);
    before.pipelines.get_mut("orders").unwrap().desired = Desired::Pause;
    assert_eq!(plan(&before, &restart, &keys()).unwrap_err(), CatalogError::Paused { name: "orders".to_owned() });
}
