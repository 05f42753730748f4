//! Bad input: one clear line that names the cause, no panic, and nothing left behind on the source.

use std::time::Duration;

use rosetta_tests::{DB, Options, Pair, Postgres, Rosetta, SLOT, SOON, Scratch, Table, eventually, one_pipeline};

const SAID_WITHIN: Duration = Duration::from_secs(30);

/// Waits until one line of the log holds all `words` (in any case), and checks what no message may hold.
async fn says(rosetta: &mut Rosetta, words: &[&str]) {
    eventually(SAID_WITHIN, &format!("a line with {words:?}"), async || {
        let log = rosetta.log();
        let clear = |line: &str| words.iter().all(|word| line.to_lowercase().contains(&word.to_lowercase()));
        if log.lines().any(clear) { Ok(()) } else { Err(log) }
    })
    .await;
    clean(&rosetta.log());
}

fn clean(log: &str) {
    for ugly in ["panicked", "stack backtrace", "RUST_BACKTRACE", "Some(", "Os {"] {
        assert!(!log.contains(ugly), "the log contains {ugly:?}:\n{log}");
    }
}

/// It says why, and as no pipeline can ever run, it ends with an error.
async fn refuses(rosetta: &mut Rosetta, words: &[&str]) {
    says(rosetta, words).await;
    let status = rosetta.wait_exit(SAID_WITHIN).await;
    assert_eq!(status.code(), Some(1), "{status}");
    clean(&rosetta.log());
}

async fn source_untouched(source: &Postgres) {
    let left = "select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots)";
    assert_eq!(source.value(DB, left).await, "0", "a slot or a publication was left behind");
}

async fn one_table() -> Pair {
    one_table_with(Options::default(), Options::default()).await
}

async fn one_table_with(source: Options, destination: Options) -> Pair {
    let pair = Pair::with(source, destination).await;
    pair.source.sql(DB, "create table t (id int primary key, v text); insert into t values (1, 'one')").await;
    pair
}

// --- The file

/// A configuration that no server needs to see: it must be refused at once, in exactly one line.
async fn file_refused(config: &str, words: &[&str]) {
    let scratch = Scratch::new();
    let mut rosetta = Rosetta::start(config, &scratch.join("rosetta"));
    let status = rosetta.wait_exit(SAID_WITHIN).await;
    let log = rosetta.log();
    assert!(!status.success(), "accepted:\n{config}");
    assert_eq!(log.lines().filter(|l| !l.trim().is_empty()).count(), 1, "not one line:\n{log}");
    clean(&log);
    for word in words {
        assert!(log.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in: {log}");
    }
}

const URL: &str = "postgres://postgres@127.0.0.1:1/postgres";

fn any_config(more: &str) -> String {
    one_pipeline(URL, URL, &["public.*"], more)
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_line() {
    let config = any_config("aply_workers = 4");
    let line = config.lines().position(|l| l.starts_with("aply_workers")).expect("the line") + 1;
    file_refused(&config, &["aply_workers", &format!("line {line}")]).await;
}

#[tokio::test]
async fn a_missing_variable_is_named() {
    let url = "postgres://postgres:${NO_SUCH_SECRET}@127.0.0.1:1/postgres";
    file_refused(&one_pipeline(url, URL, &["public.*"], ""), &["NO_SUCH_SECRET"]).await;
}

#[tokio::test]
async fn a_bad_url_is_named_without_its_password() {
    for url in
        ["mysql://root:hunter2@db/x", "postgres:hunter2", "postgres://u:hunter2@host:99999/db", "", "not a url hunter2"]
    {
        let scratch = Scratch::new();
        let mut rosetta = Rosetta::start(&one_pipeline(url, URL, &["public.*"], ""), &scratch.join("rosetta"));
        assert!(!rosetta.wait_exit(SAID_WITHIN).await.success(), "accepted {url:?}");
        let log = rosetta.log();
        assert!(log.contains("src") && log.to_lowercase().contains("url"), "{url:?}: {log}");
        assert!(!log.contains("hunter2"), "{url:?} shows its password: {log}");
        clean(&log);
    }
}

#[tokio::test]
async fn names_that_refer_to_nothing_or_twice_are_refused() {
    file_refused(&any_config("").replace("source = \"src\"", "source = \"sorce\""), &["sorce", "main"]).await;
    file_refused(&any_config("").replace("[\"dst\"]", "[\"dts\"]"), &["dts", "main"]).await;
    let twice = format!(
        "{}[[pipeline]]\nname = \"main\"\nsource = \"src\"\ndestinations = [\"dst\"]\ntables = [\"public.*\"]",
        any_config("")
    );
    file_refused(&twice, &["main"]).await;
    file_refused(&any_config("").replace("kind = \"postgres\"", "kind = \"oracle\""), &["oracle", "kind"]).await;
    file_refused(&any_config("snapshot = \"always\""), &["always", "snapshot"]).await;
    file_refused(&any_config("apply_workers = 0"), &["apply_workers"]).await;
    file_refused("this is not toml", &["line 1"]).await;
    file_refused("", &["pipeline"]).await;
}

#[tokio::test]
async fn a_file_that_does_not_exist_is_named() {
    let answer = rosetta_tests::rosetta::run(&["standalone", "--config", "/nowhere/at-all.toml"], &[]).await;
    assert_ne!(answer.code, Some(0));
    assert!(answer.stderr.contains("/nowhere/at-all.toml"), "{answer:?}");
    clean(&answer.stderr);
}

// --- The source

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let pair =
        one_table_with(Options::default().access("host all app 127.0.0.1/32 scram-sha-256"), Options::default()).await;
    pair.source.sql(DB, "create role app login replication password 'right'").await;
    let config = one_pipeline(&pair.source.url_as("app:hunter2", DB), &pair.destination.url(DB), &["public.*"], "");
    let mut rosetta = pair.rosetta("rosetta", &config);
    says(&mut rosetta, &["src", "password"]).await;
    assert!(!rosetta.log().contains("hunter2"));
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn an_unreachable_host_is_named_and_tried_again() {
    let pair = one_table().await;
    let nobody = format!("postgres://postgres@127.0.0.1:1/{DB}");
    let mut rosetta = pair.rosetta("rosetta", &one_pipeline(&nobody, &pair.destination.url(DB), &["public.*"], ""));
    says(&mut rosetta, &["src", "127.0.0.1", "connect"]).await;
    assert!(rosetta.exited().is_none(), "a host that is away may come back");
}

#[tokio::test]
async fn an_unreachable_destination_leaves_the_source_untouched() {
    let pair = one_table().await;
    let nobody = format!("postgres://postgres@127.0.0.1:1/{DB}");
    let mut rosetta = pair.rosetta("rosetta", &one_pipeline(&pair.source.url(DB), &nobody, &["public.*"], ""));
    says(&mut rosetta, &["dst", "127.0.0.1", "connect"]).await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let pair = one_table().await;
    let config = one_pipeline(&pair.source.url("no_such_db"), &pair.destination.url(DB), &["public.*"], "");
    says(&mut pair.rosetta("rosetta", &config), &["src", "no_such_db"]).await;
}

#[tokio::test]
async fn wal_level_replica_is_refused_with_the_remedy() {
    let pair = one_table_with(Options::default().set("wal_level", "replica"), Options::default()).await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    refuses(&mut rosetta, &["main", "wal_level", "logical"]).await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn a_role_without_replication_is_refused_with_the_remedy() {
    let pair = one_table().await;
    pair.source
        .sql(DB, &format!("create role app login; grant select on t to app; grant create on database {DB} to app"))
        .await;
    let config = one_pipeline(&pair.source.url_as("app", DB), &pair.destination.url(DB), &["public.*"], "");
    refuses(&mut pair.rosetta("rosetta", &config), &["app", "replication"]).await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn a_table_that_may_not_be_read_is_named() {
    let pair = one_table().await;
    pair.source.sql(DB, &format!("create role app login replication; grant create on database {DB} to app")).await;
    let config = one_pipeline(&pair.source.url_as("app", DB), &pair.destination.url(DB), &["public.*"], "");
    says(&mut pair.rosetta("rosetta", &config), &["main", "public.t"]).await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn a_table_that_may_not_be_published_is_named() {
    let pair = one_table().await;
    let role =
        format!("create role app login replication; grant create on database {DB} to app; grant select on t to app");
    pair.source.sql(DB, &role).await;
    let config = one_pipeline(&pair.source.url_as("app", DB), &pair.destination.url(DB), &["public.*"], "");
    refuses(&mut pair.rosetta("rosetta", &config), &["main", "public.t", "app", "owner"]).await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn tables_that_match_nothing_are_refused() {
    let pair = one_table().await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.t", "public.absent"], ""));
    refuses(&mut rosetta, &["main", "public.absent"]).await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn what_has_no_change_stream_is_refused() {
    let pair = one_table().await;
    pair.source.sql(DB, "create unlogged table fleeting (id int primary key)").await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.fleeting"], ""));
    refuses(&mut rosetta, &["fleeting", "unlogged"]).await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn what_has_no_change_stream_is_left_out_of_a_pattern() {
    let pair = one_table().await;
    pair.source.sql(DB, "create unlogged table fleeting (id int primary key)").await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
    says(&mut rosetta, &["fleeting", "left out"]).await;
    assert_eq!(pair.destination.value(DB, "select to_regclass('public.fleeting')").await, "");
}

#[tokio::test]
async fn a_filter_that_is_no_condition_is_refused() {
    let pair = one_table().await;
    for filter in ["id + 1", "nothing > 0", "id > 0) where (true", "random() > 0.5", "id > 0 -- and so on"] {
        let route = format!("[[pipeline.table]]\nname = \"public.t\"\nfilter = \"{filter}\"");
        let folder = format!("rosetta{}", filter.len());
        let mut rosetta = pair.rosetta(&folder, &pair.config(&["public.t"], &route));
        if filter.contains("--") {
            pair.settle(&Table::all(&["public.t"])).await;
        } else {
            refuses(&mut rosetta, &["public.t", "filter"]).await;
            source_untouched(&pair.source).await;
        }
    }
}

/// In a publication with such a filter, the owner's own UPDATEs would fail.
#[tokio::test]
async fn a_filter_on_a_column_outside_the_identity_is_refused() {
    let pair = one_table().await;
    let route = "[[pipeline.table]]\nname = \"public.t\"\nfilter = \"v <> 'secret'\"";
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.t"], route));
    refuses(&mut rosetta, &["public.t", "filter", "replica identity"]).await;
    pair.source.sql(DB, "update t set v = 'still possible'").await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn a_slot_of_another_plugin_is_left_alone() {
    let pair = one_table().await;
    pair.source.sql(DB, &format!("select pg_create_logical_replication_slot('{SLOT}', 'test_decoding')")).await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    refuses(&mut rosetta, &[SLOT, "test_decoding"]).await;
    assert_eq!(pair.source.value(DB, "select plugin from pg_replication_slots").await, "test_decoding");
    assert_eq!(pair.source.value(DB, "select count(*) from pg_publication").await, "0");
}

// --- Lost continuity

/// A pipeline that has run and was stopped.
async fn stopped_pair() -> (Pair, String) {
    let pair = one_table().await;
    let config = pair.config(&["public.*"], "");
    let mut rosetta = pair.rosetta("before", &config);
    pair.settle(&Table::all(&["public.t"])).await;
    rosetta.sigterm();
    assert!(rosetta.wait_exit(SOON).await.success());
    (pair, config)
}

async fn needs_resync(pair: &Pair, config: &str) {
    // The data folder of the first run or an empty one: what matters is known at the destination.
    for folder in ["before", "another"] {
        let mut rosetta = pair.rosetta(folder, config);
        refuses(&mut rosetta, &["main", "needs_resync"]).await;
    }
    let rows = pair.destination.value(DB, "select string_agg(id || v, ' ' order by id) from t").await;
    assert_eq!(rows, "1one", "something was written although a gap is certain");
}

#[tokio::test]
async fn a_lost_slot_needs_a_resync() {
    let (pair, config) = stopped_pair().await;
    pair.source.sql(DB, &format!("select pg_drop_replication_slot('{SLOT}')")).await;
    pair.source.sql(DB, "insert into t values (2, 'nobody saw this')").await;
    needs_resync(&pair, &config).await;
    assert_eq!(pair.source.value(DB, "select count(*) from pg_replication_slots").await, "0", "recreated in silence");
}

#[tokio::test]
async fn a_recreated_slot_needs_a_resync() {
    let (pair, config) = stopped_pair().await;
    pair.source.sql(DB, &format!("select pg_drop_replication_slot('{SLOT}')")).await;
    pair.source.sql(DB, "insert into t values (2, 'nobody saw this')").await;
    pair.source.sql(DB, &format!("select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")).await;
    needs_resync(&pair, &config).await;
}

#[tokio::test]
async fn a_slot_ahead_of_the_checkpoint_needs_a_resync() {
    let (pair, config) = stopped_pair().await;
    pair.source.sql(DB, "insert into t values (2, 'nobody saw this')").await;
    pair.source.sql(DB, &format!("select pg_replication_slot_advance('{SLOT}', pg_current_wal_lsn())")).await;
    needs_resync(&pair, &config).await;
}

#[tokio::test]
async fn another_server_at_the_same_address_needs_a_resync() {
    let (pair, _) = stopped_pair().await;
    let impostor = Postgres::start(Options::default().own_identity()).await;
    impostor
        .sql(DB, "create table t (id int primary key, v text); insert into t values (5, 'of another server')")
        .await;
    impostor.sql(DB, &format!("select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")).await;
    let config = one_pipeline(&impostor.url(DB), &pair.destination.url(DB), &["public.*"], "");
    needs_resync(&pair, &config).await;
}

#[tokio::test]
async fn a_source_from_before_the_checkpoint_needs_a_resync() {
    let (pair, config) = stopped_pair().await;
    pair.destination.sql(DB, "update rosetta.checkpoint set commit_lsn = commit_lsn + 1000000000").await;
    needs_resync(&pair, &config).await;
}

#[tokio::test]
async fn a_slot_lost_while_running_needs_a_resync() {
    let pair = one_table().await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
    let drop_slot = format!(
        "select pg_terminate_backend(active_pid) from pg_replication_slots; select pg_drop_replication_slot('{SLOT}')"
    );
    let client = pair.source.client(DB).await;
    eventually(SOON, "the slot is dropped", async || {
        client.batch_execute(&drop_slot).await.map_err(|e| rosetta_tests::postgres::explain(&e))
    })
    .await;
    refuses(&mut rosetta, &["main", "needs_resync"]).await;
}

// --- The destination

#[tokio::test]
async fn a_read_only_destination_is_said() {
    let read_only = Options::default().set("default_transaction_read_only", "on");
    let pair = one_table_with(Options::default(), read_only).await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    says(&mut rosetta, &["dst", "read-only"]).await;
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn a_destination_table_that_does_not_fit_is_named() {
    for (definition, words) in [
        ("id int primary key", vec!["public.t", "column", "v"]),
        ("id int primary key, v int", vec!["public.t", "v", "integer"]),
        ("id int primary key, v text, more int not null", vec!["public.t", "more"]),
        ("id int, v text", vec!["public.t", "key"]),
    ] {
        let pair = one_table().await;
        pair.destination.sql(DB, &format!("create table t ({definition})")).await;
        let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
        refuses(&mut rosetta, &words).await;
        source_untouched(&pair.source).await;
    }
}

/// Copying into it would double rows or fail on them; nobody has said that they may go.
#[tokio::test]
async fn a_destination_table_that_has_rows_is_not_copied_into() {
    let pair = one_table().await;
    pair.destination.sql(DB, "create table t (id int primary key, v text); insert into t values (9, 'mine')").await;
    let mut rosetta = pair.rosetta("rosetta", &pair.config(&["public.*"], ""));
    refuses(&mut rosetta, &["public.t", "rows"]).await;
    assert_eq!(pair.destination.value(DB, "select string_agg(id || v, ' ') from t").await, "9mine");
    source_untouched(&pair.source).await;
}

#[tokio::test]
async fn a_role_without_rights_at_the_destination_is_said() {
    let pair = one_table().await;
    pair.destination.sql(DB, "create role app login").await;
    let config = one_pipeline(&pair.source.url(DB), &pair.destination.url_as("app", DB), &["public.*"], "");
    says(&mut pair.rosetta("rosetta", &config), &["dst", "app"]).await;
    source_untouched(&pair.source).await;
}
