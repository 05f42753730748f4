//! The harness tested on itself: PostgreSQL's own subscription stands in for Rosetta.

use std::time::Duration;

use rosetta_tests::{
    DB, Direction, Fault, Pair, Postgres, Proxy, Stop,
    oracle::{caught_up, wait_equal},
    pair::SOON,
    postgres::Options,
    wait::eventually,
    workload::{self, Workload},
};
use tokio_postgres::NoTls;

const SUBSCRIPTION_SLOT: &str = "harness";

async fn subscribe(pair: &Pair, port: u16) {
    workload::create_tables(&pair.source, DB).await;
    pair.source.sql(DB, "create publication p for all tables").await;
    workload::create_tables(&pair.destination, DB).await;
    pair.destination.sql(DB, "truncate audit, keyed, bank_a, bank_b").await;
    let subscription = format!(
        "create subscription {SUBSCRIPTION_SLOT} connection 'host=127.0.0.1 port={port} user=postgres dbname={DB}' \
         publication p"
    );
    pair.destination.sql(DB, &subscription).await;
}

#[tokio::test]
async fn the_oracle_follows_a_native_subscription() {
    let pair = Pair::start().await;
    subscribe(&pair, pair.source.port()).await;
    let load = Workload::start(&pair.source, DB, 1, 2, Duration::from_millis(5));
    let enough = async || if load.committed() > 100 { Ok(()) } else { Err(load.committed().to_string()) };
    eventually(SOON, "100 transactions", enough).await;
    load.stop().await;
    wait_equal(pair.source_side(), pair.destination_side(), &workload::tables(), SOON).await;
    caught_up(pair.source_side(), SUBSCRIPTION_SLOT, SOON).await;
    let total = pair.destination.value(DB, workload::BANK_TOTAL).await;
    assert_eq!(total, workload::expected_total().to_string());
}

#[tokio::test]
#[should_panic(expected = "missing at the destination x1: (1)")]
async fn the_oracle_names_a_missing_row() {
    let pair = Pair::start().await;
    for side in [&pair.source, &pair.destination] {
        side.sql(DB, "create table t (a int); insert into t values (1), (2)").await;
    }
    pair.source.sql(DB, "insert into t values (1)").await;
    rosetta_tests::oracle::assert_equal(
        pair.source_side(),
        pair.destination_side(),
        &[rosetta_tests::Table::same("public.t")],
    )
    .await;
}

#[tokio::test]
async fn a_server_restarts_on_its_port_and_keeps_its_rows() {
    let mut server = Postgres::start(Options::default().set("work_mem", "1234kB")).await;
    server.sql(DB, "create table t (a int); insert into t values (1)").await;
    for how in [Stop::Fast, Stop::Immediate] {
        server.restart(how).await;
        assert_eq!(server.value(DB, "select count(*) from t").await, "1");
    }
    assert_eq!(server.value(DB, "show work_mem").await, "1234kB");
}

#[tokio::test]
async fn the_proxy_delivers_every_fault() {
    let server = Postgres::start(Options::default()).await;
    server.sql(DB, "create table t (a int)").await;
    let proxy = Proxy::start(server.port()).await;
    let faults = [
        Fault::CutAfter(Direction::ToServer, 10),
        Fault::CutAfter(Direction::ToClient, 3),
        Fault::HalfClose(Direction::ToServer),
        Fault::HalfClose(Direction::ToClient),
        Fault::LoseCommitAnswer,
        Fault::CutAll,
    ];
    for (before, fault) in (0u64..).zip(faults) {
        let (client, connection) = tokio_postgres::connect(&proxy.url(DB), NoTls).await.expect("connect by the proxy");
        let connection = tokio::spawn(connection);
        client.batch_execute("select 1").await.expect("the proxy forwards");
        assert_eq!(proxy.delivered(), before, "{fault:?} was delivered too early");
        proxy.arm(fault);
        let _ = tokio::time::timeout(SOON, client.batch_execute("begin; insert into t values (1); commit")).await;
        let _ = tokio::time::timeout(SOON, connection).await.expect("the connection ends");
        assert_eq!(proxy.delivered(), before + 1, "{fault:?} was not delivered");
    }
    let committed = server.value(DB, "select count(*) from t").await.parse::<u32>().expect("a number");
    assert!(committed >= 1, "the commit whose answer was lost is not there");
}

#[tokio::test]
async fn a_stalled_proxy_holds_bytes_until_it_is_released() {
    let server = Postgres::start(Options::default()).await;
    let proxy = Proxy::start(server.port()).await;
    let (client, connection) = tokio_postgres::connect(&proxy.url(DB), NoTls).await.expect("connect by the proxy");
    tokio::spawn(connection);
    proxy.stall();
    let mut query = std::pin::pin!(client.batch_execute("select 1"));
    let held = tokio::time::timeout(Duration::from_millis(300), query.as_mut()).await;
    assert!(held.is_err(), "bytes passed a stalled proxy");
    proxy.unstall();
    tokio::time::timeout(SOON, query).await.expect("released").expect("the query succeeds");
    assert_eq!(proxy.delivered(), 1);
}

#[tokio::test]
async fn a_frozen_connection_stays_open_and_new_ones_pass() {
    let server = Postgres::start(Options::default()).await;
    let proxy = Proxy::start(server.port()).await;
    let connect = async || {
        let (client, connection) = tokio_postgres::connect(&proxy.url(DB), NoTls).await.expect("connect by the proxy");
        tokio::spawn(connection);
        client
    };
    let old = connect().await;
    proxy.freeze();
    let held = tokio::time::timeout(Duration::from_millis(300), old.batch_execute("select 1")).await;
    assert!(held.is_err(), "bytes passed a frozen connection, or it was closed");
    connect().await.batch_execute("select 1").await.expect("a new connection passes");
}
