use std::time::Duration;

use rosetta_node::catalog::{Event, EventFilter, Recorder};
use rosetta_tests::{SOON, Stop, eventually};
use tokio::time::{Instant, timeout};

use super::*;

#[tokio::test]
async fn an_outage_is_answered_at_once_and_outlived() {
    let mut server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    created(&catalog, "orders").await;
    let mut listener = catalog.listen();
    timeout(SOON, listener.changed()).await.expect("told when it is connected");
    let recorder = Recorder::start(catalog.clone());
    server.stop(Stop::Immediate);
    let asked = Instant::now();
    let error = catalog.load().await.expect_err("the server is away");
    assert!(error.is_unavailable() && asked.elapsed() < Duration::from_secs(5), "{error} after {:?}", asked.elapsed());
    recorder.record(Event::now("pipeline_state").of_pipeline("orders").with("to", "retrying"));
    assert_eq!((recorder.waiting(), recorder.dropped()), (1, 0));
    server.start_again().await;
    timeout(SOON, listener.changed()).await.expect("told when it is connected again");
    server.sql(NAME, "update pipelines set restarts = restarts + 1").await;
    timeout(SOON, listener.changed()).await.expect("hears again");
    let filter = EventFilter { pipeline: Some("orders".to_owned()), limit: 1, ..EventFilter::default() };
    eventually(SOON, "the event is written", async || {
        let events = catalog.events(&filter).await.map_err(|e| e.to_string())?;
        let event = events.first().map(|recorded| &recorded.event).ok_or("no event")?;
        if event.detail.get("to").is_some_and(|to| to == "retrying") { Ok(()) } else { Err(format!("{event:?}")) }
    })
    .await;
    assert_eq!(catalog.load().await.expect("load").pipelines["orders"].restarts, 1);
}

#[tokio::test]
async fn connections_stay_within_the_budget() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    created(&catalog, "orders").await;
    let count = "select count(*) from pg_stat_activity where application_name = 'rosetta-catalog'";
    let load_at_once = async || {
        let loads: Vec<_> = (0..40)
            .map(|_| {
                let catalog = catalog.clone();
                tokio::spawn(async move { catalog.load().await.map(drop) })
            })
            .collect();
        for load in loads {
            load.await.expect("no panic").expect("load");
        }
    };
    load_at_once().await;
    assert!(server.value(NAME, count).await.parse::<u32>().expect("a number") <= 3);
    let mut listener = catalog.listen();
    timeout(SOON, listener.changed()).await.expect("told when it is connected");
    load_at_once().await;
    assert!(server.value(NAME, count).await.parse::<u32>().expect("a number") <= 8);
    drop(listener);
    eventually(SOON, "the leader's share is given back", async || {
        let held = server.value(NAME, count).await;
        if held.parse::<u32>().is_ok_and(|held| held <= 3) { Ok(()) } else { Err(held) }
    })
    .await;
}
