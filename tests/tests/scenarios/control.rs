//! A standalone process answers: what its pipelines do, and what they are told.

use rosetta_proto::v1::{ListPipelinesRequest, pipelines_client::PipelinesClient};
use rosetta_tests::{
    DB, Pair, Rosetta, SLOT, SOON, Table, eventually, http, oracle,
    rosetta::{Answer, run},
};

struct Console {
    endpoint: String,
}

impl Console {
    async fn of(rosetta: &Rosetta) -> Console {
        Console { endpoint: format!("http://{}", rosetta.address("gRPC").await) }
    }

    async fn ask(&self, arguments: &[&str]) -> Answer {
        run(&[arguments, &["--endpoint", &self.endpoint]].concat(), &[]).await
    }

    async fn tell(&self, arguments: &[&str]) {
        let answer = self.ask(arguments).await;
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:?}");
    }

    /// Waits until `rosetta status` shows the state.
    async fn state(&self, expected: &str) {
        eventually(SOON, &format!("the pipeline is {expected}"), async || {
            let answer = self.ask(&["status", "--output", "json"]).await;
            let lines: serde_json::Value =
                serde_json::from_str(&answer.stdout).map_err(|e| format!("{e}: {answer:?}"))?;
            let state = lines[0]["state"].as_str().unwrap_or_default().to_owned();
            if state == expected { Ok(()) } else { Err(lines.to_string()) }
        })
        .await;
    }
}

async fn get(address: &str, path: &str) -> String {
    http::get(address, path).await.expect("an answer")
}

#[tokio::test]
async fn a_paused_pipeline_stands_still_until_it_is_resumed() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, v text); insert into t values (1, 'before')").await;
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.t"], ""));
    let console = Console::of(&rosetta).await;
    console.state("running").await;
    console.tell(&["pause", "main"]).await;
    console.state("paused").await;
    let readers = format!("select count(*) from pg_replication_slots where slot_name = '{SLOT}' and active");
    eventually(SOON, "a paused pipeline lets go of its slot", async || {
        let readers = pair.source.value(DB, &readers).await;
        if readers == "0" { Ok(()) } else { Err(readers) }
    })
    .await;
    pair.source.sql(DB, "insert into t values (2, 'meanwhile')").await;
    console.tell(&["restart", "main"]).await;
    console.state("paused").await;
    assert_eq!(pair.destination.value(DB, "select count(*) from t").await, "1");
    console.tell(&["resume", "main"]).await;
    pair.settle(&Table::all(&["public.t"])).await;
    console.state("running").await;
}

#[tokio::test]
async fn a_restart_neither_loses_nor_doubles_and_mends_what_had_given_up() {
    let pair = Pair::start().await;
    let schema =
        "create table t (id int primary key, v text); create table log (v text); alter table log replica identity full";
    pair.source.sql(DB, schema).await;
    pair.destination.sql(DB, "create table t (id int primary key, v int)").await;
    // Another pipeline runs, so that the process goes on although this one gives up.
    let other =
        "[[pipeline]]\nname = \"other\"\nsource = \"src\"\ndestinations = [\"dst\"]\ntables = [\"public.log\"]\n";
    let rosetta = pair.rosetta("rosetta", &pair.config(&["public.t"], other));
    let console = Console::of(&rosetta).await;
    console.state("failed").await;
    pair.destination.sql(DB, "drop table t").await;
    console.tell(&["restart", "main"]).await;
    console.state("running").await;
    for round in 0..5 {
        pair.source.sql(DB, &format!("insert into t values ({round}, 'x'); insert into log values ('{round}')")).await;
        console.tell(&["restart", "main", "other"]).await;
    }
    oracle::caught_up(pair.source_side(), "rosetta_other", SOON).await;
    pair.settle(&Table::all(&["public.t", "public.log"])).await;
}

#[tokio::test]
async fn probes_and_calls_tell_the_truth() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key)").await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.t"], ""));
    let console = Console::of(&rosetta).await;
    let http = rosetta.address("HTTP").await;
    console.state("running").await;
    for path in ["/health/live", "/health/ready", "/health"] {
        let answer = get(&http, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"status\":\"ok\""), "{path}: {answer}");
    }
    assert!(get(&http, "/health").await.contains("\"state\":\"running\""));
    assert!(get(&http, "/nowhere").await.starts_with("HTTP/1.1 404 "));
    console.tell(&["health"]).await;

    let mut client = PipelinesClient::connect(console.endpoint.clone()).await.expect("connect");
    let listed = client.list(ListPipelinesRequest::default()).await.expect("list").into_inner();
    let stored = listed.pipelines[0].stored.clone().and_then(|stored| stored.pipeline).expect("a definition");
    assert_eq!((stored.name.as_str(), stored.tables), ("main", vec!["public.t".to_owned()]));
    let unknown = console.ask(&["pause", "nobody"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.stderr.contains("there is no pipeline 'nobody'"), "{unknown:?}");
    let shown = console.ask(&["get", "main"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let drain = console.ask(&["drain", "standalone"]).await;
    assert!(drain.code != Some(0) && drain.stderr.contains("needs a cluster"), "{drain:?}");

    rosetta.sigterm();
    assert!(rosetta.wait_exit(SOON).await.success());
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_at_once() {
    let pair = Pair::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let config = pair.config(&["public.t"], "");
    let variables = [("ROSETTA_GRPC_ADDR", address.as_str())];
    let mut rosetta = Rosetta::start_with(&config, &pair.scratch.join("rosetta"), &variables);
    assert!(!rosetta.wait_exit(SOON).await.success());
    assert!(rosetta.log().contains(&format!("cannot listen on {address}")), "{}", rosetta.log());
}
