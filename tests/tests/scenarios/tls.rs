//! TLS and the logins over it, with certificates of an authority made for the test.

use rosetta_tests::{Authority, DB, Options, Pair, Postgres, SOON, Table, one_pipeline, rosetta::run};
use serde_json::Value;

const ROLE: &str = "create role app superuser login replication password 'right'";

/// Everybody must come by TLS and with a password, but the harness.
fn guarded(options: Options) -> Options {
    options.access("hostssl all app 127.0.0.1/32 scram-sha-256").access("hostnossl all app 127.0.0.1/32 reject")
}

fn url(server: &Postgres, host: &str, parameters: &str) -> String {
    format!("postgres://app:right@{host}:{}/{DB}?{parameters}", server.port())
}

/// What `rosetta check` finds wrong with this source; nothing where it gets in.
async fn problems(source: &str, pair: &Pair) -> String {
    let config = one_pipeline(source, &pair.destination.url(DB), &["public.*"], "");
    let file = pair.scratch.join("checked.toml");
    std::fs::write(&file, config).expect("write the configuration");
    let answer = run(&["check", &file.display().to_string(), "--output", "json"], &[]).await;
    assert!(!format!("{answer:?}").contains("right@"), "a password is shown: {answer:?}");
    let report: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    let findings = report.as_array().unwrap_or_else(|| panic!("{report}")).clone();
    let problems = findings.iter().filter(|finding| finding["level"] == "problem");
    problems.map(|finding| finding["what"].to_string()).collect::<Vec<_>>().join("; ")
}

async fn source(options: Options) -> Pair {
    let pair = Pair::with(guarded(options), Options::default()).await;
    pair.source.sql(DB, ROLE).await;
    pair.source.sql(DB, "create table t (id int primary key, v text); insert into t values (1, 'x')").await;
    pair
}

#[tokio::test]
async fn each_sslmode_verifies_what_it_says() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = source(authority.sign("localhost", "sha256")).await;
    let (ours, theirs) = (authority.file().display().to_string(), stranger.file().display().to_string());
    let (ours, theirs) = (format!("sslrootcert={ours}"), format!("sslrootcert={theirs}"));
    let (unknown, misnamed) = ("no trusted authority has signed", "not valid for name");
    let cases = [
        ("localhost", "sslmode=disable".to_owned(), "no encryption"),
        ("localhost", "sslmode=prefer".to_owned(), ""),
        ("localhost", "sslmode=require".to_owned(), ""),
        ("127.0.0.1", "sslmode=require".to_owned(), ""),
        ("127.0.0.1", format!("sslmode=require&{ours}"), ""),
        ("localhost", format!("sslmode=require&{theirs}"), unknown),
        ("127.0.0.1", format!("sslmode=verify-ca&{ours}"), ""),
        ("localhost", format!("sslmode=verify-ca&{theirs}"), unknown),
        ("localhost", format!("sslmode=verify-full&{ours}"), ""),
        ("127.0.0.1", format!("sslmode=verify-full&{ours}"), misnamed),
        ("localhost", format!("sslmode=verify-full&{theirs}"), unknown),
        ("localhost", "sslmode=verify-full&sslrootcert=/nowhere/ca.pem".to_owned(), "/nowhere/ca.pem"),
        ("localhost", format!("sslmode=verify-full&{ours}&channel_binding=require"), ""),
        ("localhost", format!("sslmode=verify-full&{ours}&channel_binding=disable"), ""),
        ("localhost", "sslmode=disable&channel_binding=require".to_owned(), "no encryption"),
    ];
    for (host, parameters, expected) in cases {
        let found = problems(&url(&pair.source, host, &parameters), &pair).await;
        let is_expected = if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
        assert!(is_expected, "{host} {parameters}: expected {expected:?}, found {found:?}");
    }
}

#[tokio::test]
async fn the_login_is_bound_to_the_certificate_whatever_its_hash() {
    let authority = Authority::new();
    for hash in ["sha256", "sha384", "sha512"] {
        let pair = source(authority.sign("localhost", hash)).await;
        let found = problems(&url(&pair.source, "localhost", "sslmode=require&channel_binding=require"), &pair).await;
        assert_eq!(found, "", "{hash}");
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_bound_is_refused_when_it_must_be() {
    let pair =
        Pair::with(Options::default().access("host all app 127.0.0.1/32 scram-sha-256"), Options::default()).await;
    pair.source.sql(DB, ROLE).await;
    let found = problems(&url(&pair.source, "localhost", "channel_binding=require"), &pair).await;
    assert!(found.contains("channel_binding=require") && found.contains("no TLS"), "{found}");
    let found = problems(&url(&pair.source, "localhost", "sslmode=require"), &pair).await;
    assert!(found.contains("does not offer it"), "{found}");
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_trusted_when_it_is_named() {
    let authority = Authority::new();
    let pair = source(authority.sign_itself()).await;
    let named = format!("sslrootcert={}", authority.file().display());
    let found = problems(&url(&pair.source, "localhost", &format!("sslmode=verify-ca&{named}")), &pair).await;
    assert_eq!(found, "");
    let found = problems(&url(&pair.source, "localhost", &format!("sslmode=verify-full&{named}")), &pair).await;
    assert!(found.contains("not valid for"), "{found}");
}

#[tokio::test]
async fn a_pipeline_runs_over_verified_tls_on_both_sides() {
    let authority = Authority::new();
    let options = guarded(authority.sign("localhost", "sha256"));
    let pair = Pair::with(options.clone(), options).await;
    for server in [&pair.source, &pair.destination] {
        server.sql(DB, ROLE).await;
    }
    pair.source.sql(DB, "create table t (id int primary key, v text); insert into t values (1, 'x')").await;
    let verified = format!("sslmode=verify-full&sslrootcert={}&channel_binding=require", authority.file().display());
    let (from, to) = (url(&pair.source, "localhost", &verified), url(&pair.destination, "localhost", &verified));
    let rosetta = pair.rosetta("rosetta", &one_pipeline(&from, &to, &["public.*"], ""));
    pair.settle(&Table::all(&["public.t"])).await;
    pair.source.sql(DB, "insert into t select i, repeat('y', 3000) from generate_series(2, 5000) i").await;
    pair.settle(&Table::all(&["public.t"])).await;
    rosetta.wait_log(SOON, "streaming").await;
    let plain = "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) \
                 where a.application_name like 'rosetta%' and not s.ssl";
    assert_eq!(pair.source.value(DB, plain).await, "0");
    assert_eq!(pair.destination.value(DB, plain).await, "0");
}
