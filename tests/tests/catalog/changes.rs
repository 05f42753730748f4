use std::time::Duration;

use rosetta_coordinator::records::Desired;
use rosetta_node::catalog::{
    Caller, CatalogError, ChangeKind, Command, DefinitionSet, EventFilter, Kind, RouteDefinition, record,
};
use rosetta_node::secret::Keyring;
use rosetta_tests::SOON;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn eight_connections_migrate_at_once() {
    let server = server().await;
    let url = server.url(NAME);
    let migrations = (0..8).map(|_| {
        let catalog = catalog(&url, OLD_KEY);
        tokio::spawn(async move { catalog.migrate().await })
    });
    for migration in migrations.collect::<Vec<_>>() {
        migration.await.expect("no panic").expect("each one migrates or waits");
    }
    assert_eq!(
        server.value(NAME, "select string_agg(version::text, ' ' order by version) from migrations").await,
        "1 2 3 4"
    );
}

#[tokio::test]
async fn a_destinations_schema_is_shared() {
    let server = server().await;
    server.sql(NAME, "create schema rosetta; create table rosetta.checkpoint (a int)").await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    catalog.migrate().await.expect("the schema is used as it is");
    assert_eq!(catalog.load().await.expect("load").pipelines.len(), 0);
}

#[tokio::test]
async fn what_was_created_opens_where_it_runs() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    let created = created(&catalog, "orders").await;
    assert_eq!((created.desired, created.restarts, created.pin), (Desired::Start, 0, None));
    let snapshot = catalog.load().await.expect("load");
    let record = snapshot.record("orders").expect("a record");
    assert_eq!(record.revision, created.revision);
    let shown = serde_json::to_string(&record).expect("json");
    assert!(!shown.contains(PASSWORD) && shown.contains("postgres://reader:enc:v1:old:"), "{shown}");
    assert!(!format!("{snapshot:?}").contains("enc:v1:"), "Debug shows what is encrypted");
    let keys = Keyring::from_env(|name| (name == "ROSETTA_SECRET_KEY").then(|| OLD_KEY.to_owned())).expect("keys");
    let opened = record::open(&record, &keys).expect("the record opens");
    assert_eq!(opened.sources[0].url.expose(), source(PASSWORD).url);
    assert_eq!((opened.pipelines.len(), opened.pipelines[0].slot.as_str()), (1, "rosetta_orders"));
}

#[tokio::test]
async fn a_name_that_is_taken_and_a_source_that_differs_are_refused() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    created(&catalog, "orders").await;
    let again = catalog.change(&Caller::default(), &create("orders")).await;
    assert!(matches!(again, Err(CatalogError::AlreadyExists { kind: Kind::Pipeline, .. })), "{again:?}");
    created(&catalog, "bills").await;
    let (source, destinations) = (Some(source("other")), Vec::new());
    let other = Command::Create { pipeline: pipeline("third"), source, destinations, paused: false };
    let differs = catalog.change(&Caller::default(), &other).await;
    assert!(matches!(differs, Err(CatalogError::AlreadyExists { kind: Kind::Source, .. })), "{differs:?}");
    let slot = PipelineDefinition { slot: Some("rosetta_orders".to_owned()), ..pipeline("third") };
    let taken = Command::Create { pipeline: slot, source: None, destinations: Vec::new(), paused: false };
    match catalog.change(&Caller::default(), &taken).await {
        Err(CatalogError::Invalid { field, .. }) => assert_eq!(field, "pipeline.slot"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_two_updates_with_one_revision_one_conflicts() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    let seen = created(&catalog, "orders").await.revision;
    let update = |workers| {
        let pipeline = PipelineDefinition { apply_workers: Some(workers), ..pipeline("orders") };
        Command::Update { pipeline, expected_revision: seen }
    };
    let nobody = Caller::default();
    let (two, three) = (update(2), update(3));
    let (first, second) = tokio::join!(catalog.change(&nobody, &two), catalog.change(&nobody, &three));
    let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
    let won = stored(won.expect("one of both"));
    assert!(won.revision > seen);
    let conflict = CatalogError::Conflict { name: "orders".to_owned(), expected: seen, current: won.revision };
    assert_eq!(lost.expect_err("the other"), conflict);
    let missing = Command::Restart { name: "none".to_owned() };
    assert!(matches!(catalog.change(&nobody, &missing).await, Err(CatalogError::NotFound { .. })));
}

#[tokio::test]
async fn plain_sql_is_heard_within_a_second() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    created(&catalog, "orders").await;
    let mut listener = catalog.listen();
    timeout(SOON, listener.changed()).await.expect("told when it is connected");
    server.sql(NAME, "update pipelines set status = 'PAUSE' where name = 'orders'").await;
    timeout(Duration::from_secs(1), listener.changed()).await.expect("told within a second");
    assert_eq!(catalog.load().await.expect("load").pipelines["orders"].desired, Desired::Pause);
    let silence = timeout(Duration::from_millis(300), listener.changed()).await;
    assert!(silence.is_err(), "told without a change");
}

#[tokio::test]
async fn a_source_that_changes_gives_its_pipelines_new_revisions() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    let (orders, bills) = (created(&catalog, "orders").await, created(&catalog, "bills").await);
    let set = DefinitionSet { sources: vec![source("other")], ..DefinitionSet::default() };
    let dry = catalog.apply(&Caller::default(), set.clone(), false, true).await.expect("a dry run");
    assert_eq!(catalog.load().await.expect("load").fingerprint, dry.fingerprint, "a dry run changed something");
    let done = catalog.apply(&Caller::default(), set.clone(), false, false).await.expect("apply");
    assert_eq!(done, dry);
    assert_eq!((done.changes.len(), done.changes[0].fields.join(" ").as_str()), (1, "url"));
    let after = catalog.load().await.expect("load");
    assert!(after.pipelines["orders"].revision > orders.revision && after.pipelines["bills"].revision > bills.revision);
    let again = catalog.apply(&Caller::default(), set.clone(), false, false).await.expect("apply");
    assert_eq!(again.changes, [], "the same set twice");
    let expected_fingerprint = Some(dry.fingerprint);
    let stale = Command::Apply { set, prune: false, dry_run: false, expected_fingerprint };
    assert_eq!(catalog.change(&Caller::default(), &stale).await, Err(CatalogError::StaleFingerprint));
}

#[tokio::test]
async fn pruning_deletes_what_is_not_in_the_set() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    created(&catalog, "orders").await;
    created(&catalog, "bills").await;
    let mut kept = pipeline("orders");
    kept.routes = vec![RouteDefinition { name: "public.orders".to_owned(), ..RouteDefinition::default() }];
    let set = DefinitionSet { pipelines: vec![kept], ..DefinitionSet::default() };
    let done = catalog.apply(&Caller::default(), set, true, false).await.expect("apply");
    let shown: Vec<_> = done.changes.iter().map(|c| (c.change, c.name.as_str(), c.fields.join(" "))).collect();
    let expected = [
        (ChangeKind::Changed, "orders", "routes[public.orders]".to_owned()),
        (ChangeKind::Deleted, "bills", String::new()),
    ];
    assert_eq!(shown, expected);
    let after = catalog.load().await.expect("load");
    assert_eq!(after.pipelines.keys().collect::<Vec<_>>(), ["orders"]);
    assert_eq!(after.sources.len(), 1, "a source that is needed was deleted");
}

#[tokio::test]
async fn a_repeated_request_does_nothing_and_another_with_its_id_is_refused() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    created(&catalog, "orders").await;
    let restart = Command::Restart { name: "orders".to_owned() };
    let first = catalog.change(&caller("a"), &restart).await.expect("restart");
    assert_eq!(catalog.change(&caller("a"), &restart).await.expect("repeated"), first);
    assert_eq!(stored(catalog.change(&caller("b"), &restart).await.expect("another")).restarts, 2);
    let delete = Command::Delete { name: "orders".to_owned(), keep_slot: false };
    match catalog.change(&caller("a"), &delete).await {
        Err(CatalogError::Invalid { field, .. }) => assert_eq!(field, "request_id"),
        other => panic!("{other:?}"),
    }
    let kept = server.value(NAME, "select string_agg(fingerprint || answer::text, '') from requests").await;
    assert!(!kept.is_empty() && !kept.contains("restart\""), "a request is readable: {kept}");
    let filter = EventFilter { kind: Some("restart_requested".to_owned()), limit: 10, ..EventFilter::default() };
    let events = catalog.events(&filter).await.expect("events");
    assert_eq!(events.len(), 2, "one event for each restart that was done");
    assert_eq!(events[0].event.requested_by.as_deref(), Some("tester"));
}

#[tokio::test]
async fn a_row_that_is_not_understood_stops_no_other() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    created(&catalog, "orders").await;
    server
        .sql(NAME, r#"insert into pipelines (name, definition) values ('new', '{"source": "shop", "later": 1}')"#)
        .await;
    server.sql(NAME, "insert into sources (name, url) values ('plain', 'postgres://a:secret@h/d')").await;
    let plain = r#"{"source": "plain", "destinations": ["mirror"], "tables": ["public.*"]}"#;
    server.sql(NAME, &format!("insert into pipelines (name, definition) values ('plain', '{plain}')")).await;
    let snapshot = catalog.load().await.expect("load");
    assert_eq!(snapshot.pipelines.keys().collect::<Vec<_>>(), ["orders"]);
    let reasons: Vec<_> = snapshot.refused.iter().map(|row| (row.name.as_str(), row.reason.as_str())).collect();
    assert!(reasons[0].0 == "new" && reasons[0].1.contains("unknown field `later`"), "{reasons:?}");
    assert!(reasons[1].0 == "plain" && reasons[1].1.contains("rosetta secrets rotate"), "{reasons:?}");
    assert!(!format!("{snapshot:?}").contains("secret@"));
    let delete = Command::Delete { name: "new".to_owned(), keep_slot: false };
    catalog.change(&Caller::default(), &delete).await.expect("what is refused can be deleted");
    created(&catalog, "bills").await;
}

#[tokio::test]
async fn what_a_deleted_pipeline_leaves_is_remembered_until_it_is_taken_away_or_wanted_again() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    let delete = async |name: &str, keep_slot| {
        let command = Command::Delete { name: name.to_owned(), keep_slot };
        catalog.change(&Caller::default(), &command).await.expect("delete");
    };
    let left = async || -> Vec<String> {
        catalog.deletions().await.expect("deletions").into_iter().map(|deletion| deletion.pipeline).collect()
    };
    created(&catalog, "kept").await;
    delete("kept", true).await;
    assert_eq!(left().await, [""; 0], "its slot is left on purpose");
    created(&catalog, "orders").await;
    delete("orders", false).await;
    assert_eq!(left().await, ["orders"]);
    let keys = Keyring::from_env(|name| (name == "ROSETTA_SECRET_KEY").then(|| OLD_KEY.to_owned())).expect("keys");
    let definitions = catalog.deletions().await.expect("deletions")[0].open(&keys).expect("it opens");
    assert_eq!(definitions.sources[0].url.expose(), source(PASSWORD).url);
    created(&catalog, "orders").await;
    assert_eq!(left().await, [""; 0], "what is wanted again is not taken away");
    let pruned = DefinitionSet { sources: vec![source(PASSWORD)], ..DefinitionSet::default() };
    catalog.apply(&Caller::default(), pruned, true, false).await.expect("prune");
    assert_eq!(left().await, ["orders"]);
    let deletion = catalog.deletions().await.expect("deletions").remove(0);
    catalog.deleted(&deletion).await.expect("done");
    assert_eq!(left().await, [""; 0]);
}
