//! Row-level security must never make a copy smaller in silence.

use rosetta_tests::{DB, Pair, SOON, Table, one_pipeline, rosetta::run};

/// A table of another role, of which the policy shows `app` only its own rows, and a partition with a policy.
const SCHEMA: &str = "
    create role app login replication;
    grant create on database postgres to app;
    create table t (id int primary key, who text); insert into t values (1, 'app'), (2, 'other');
    alter table t enable row level security; create policy own on t using (who = current_user);
    create table parted (id int primary key, who text) partition by range (id);
    create table parted_low partition of parted for values from (0) to (10);
    insert into parted values (1, 'app'), (2, 'other');
    alter table parted_low enable row level security; create policy own on parted_low using (who = current_user);
    grant select on all tables in schema public to app;
    create publication mine for table t, parted with (publish_via_partition_root = true);";

const PUBLICATION: &str = "publication = \"mine\"";

fn said(log: &str, table: &str) -> bool {
    let words = ["row-level security", table, "role app", "ALTER ROLE \"app\" BYPASSRLS"];
    log.lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[tokio::test]
async fn a_limited_role_at_the_source_is_refused_before_anything_is_made() {
    let pair = Pair::start().await;
    pair.source.sql(DB, SCHEMA).await;
    let (source, destination) = (pair.source.url_as("app", DB), pair.destination.url(DB));
    for table in ["t", "parted"] {
        let config = one_pipeline(&source, &destination, &[&format!("public.{table}")], PUBLICATION);
        let mut rosetta = pair.rosetta(&format!("refused_{table}"), &config);
        assert_eq!(rosetta.wait_exit(SOON).await.code(), Some(1));
        assert!(said(&rosetta.log(), &format!("public.{table}")), "{}", rosetta.log());
    }
    assert_eq!(pair.source.value(DB, "select count(*) from pg_replication_slots").await, "0");

    let config = one_pipeline(&source, &destination, &["public.*"], PUBLICATION);
    let file = pair.scratch.join("checked.toml");
    std::fs::write(&file, &config).expect("write the configuration");
    let file = file.display().to_string();
    let answer = run(&["check", &file, "--output", "json"], &[]).await;
    assert_ne!(answer.code, Some(0), "{answer:?}");
    for table in ["public.t", "public.parted_low"] {
        let what = format!("row-level security of table {table} at the source keeps rows from role app");
        assert!(answer.stdout.contains(&what), "{answer:?}");
    }

    pair.source.sql(DB, "alter role app bypassrls").await;
    let _rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(&["public.t", "public.parted"])).await;
    // From now on `verify` would see less than there is.
    pair.source.sql(DB, "alter role app nobypassrls").await;
    let answer = run(&["verify", "--config", &file], &[]).await;
    assert_ne!(answer.code, Some(0), "{answer:?}");
    let log = format!("{}{}", answer.stdout, answer.stderr);
    assert!(log.contains("row-level security"), "{log}");
}

#[tokio::test]
async fn a_limited_role_at_the_destination_fails_instead_of_missing_rows() {
    let pair = Pair::start().await;
    pair.source.sql(DB, "create table t (id int primary key, who text); insert into t values (1, 'x')").await;
    let table = "create table t (id int primary key, who text);
        create role app login; grant create on database postgres to app; grant all on t to app";
    pair.destination.sql(DB, table).await;
    let config = one_pipeline(&pair.source.url(DB), &pair.destination.url_as("app", DB), &["public.t"], "");
    let rosetta = pair.rosetta("rosetta", &config);
    pair.settle(&Table::all(&["public.t"])).await;
    pair.destination.sql(DB, "alter table t enable row level security; create policy own on t using (false)").await;
    pair.source.sql(DB, "update t set who = 'y'").await;
    rosetta.wait_log(SOON, "row-level security").await;

    let file = pair.scratch.join("checked.toml");
    std::fs::write(&file, &config).expect("write the configuration");
    let answer = run(&["check", &file.display().to_string(), "--output", "json"], &[]).await;
    let what = "row-level security of table public.t at the destination keeps rows from role app";
    assert!(answer.stdout.contains(what), "{answer:?}");

    pair.destination.sql(DB, "alter role app bypassrls").await;
    drop(rosetta);
    let _rosetta = pair.rosetta("again", &config);
    pair.settle(&Table::all(&["public.t"])).await;
}
