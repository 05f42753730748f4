use rosetta_node::catalog::{Caller, CatalogError};
use rosetta_tests::rosetta::run;

use super::*;

const NEW_ID: &str = "select count(*) from sources where url like 'postgres://%:enc:v1:new:%@db.example/shop'";

#[tokio::test]
async fn rotating_encrypts_everything_anew_and_restarts_nothing() {
    let server = server().await;
    let old = catalog(&server.url(NAME), OLD_KEY);
    let created = created(&old, "orders").await;
    server.sql(NAME, "insert into sources (name, url) values ('plain', 'postgres://a:visible@h/d')").await;
    let folder = rosetta_tests::Scratch::new();
    let file = folder.join("keys");
    std::fs::write(&file, format!("{NEW_KEY}\n{OLD_KEY}\n")).expect("write the keys");
    let (port, file) = (server.port().to_string(), file.display().to_string());
    let variables = [
        ("ROSETTA_DB_HOST", "127.0.0.1"),
        ("ROSETTA_DB_PORT", port.as_str()),
        ("ROSETTA_DB_USER", "postgres"),
        ("ROSETTA_SECRET_KEY_FILE", file.as_str()),
    ];
    let before = run(&["secrets", "check", "--output", "json"], &variables).await;
    let report: serde_json::Value = serde_json::from_str(&before.stdout).expect("json");
    assert_eq!((before.code, &report["plain"], &report["keys"]["old"]["passwords"]), (Some(1), &1.into(), &2.into()));
    let rotated = run(&["secrets", "rotate"], &variables).await;
    assert_eq!((rotated.code, rotated.stderr.as_str()), (Some(0), ""), "{}", rotated.stdout);
    assert_eq!(server.value(NAME, NEW_ID).await, "1");
    assert_eq!(server.value(NAME, "select count(*) from sources where url like '%visible%'").await, "0");
    let new = catalog(&server.url(NAME), NEW_KEY);
    let after = new.load().await.expect("load");
    assert_eq!(after.pipelines["orders"].revision, created.revision, "the pipeline would restart");
    assert!(new.check_secrets().await.expect("check").is_ok());
    let lost = old.check_secrets().await.expect("check");
    assert!(!lost.is_ok() && lost.problems[0].contains("the key 'new', which is not given"), "{lost:?}");
}

#[tokio::test]
async fn a_key_that_is_missing_stops_rotation_whole() {
    let server = server().await;
    created(&catalog(&server.url(NAME), OLD_KEY), "orders").await;
    server.sql(NAME, "insert into sources (name, url) values ('a', 'postgres://a:visible@h/d')").await;
    let new = catalog(&server.url(NAME), NEW_KEY);
    let error = new.rotate_secrets().await.expect_err("the old key is not there").to_string();
    assert!(error.contains("the key 'old', which is not given"), "{error}");
    assert_eq!(server.value(NAME, "select url from sources where name = 'a'").await, "postgres://a:visible@h/d");
}

#[tokio::test]
async fn without_a_key_no_password_is_stored() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), "");
    match catalog.change(&Caller::default(), &create("orders")).await {
        Err(CatalogError::Invalid { reason, .. }) => {
            assert!(reason.contains("ROSETTA_SECRET_KEY") && !reason.contains(PASSWORD), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.value(NAME, "select count(*) from sources").await, "0");
}

#[tokio::test]
async fn a_password_that_was_moved_does_not_open() {
    let server = server().await;
    let catalog = catalog(&server.url(NAME), OLD_KEY);
    created(&catalog, "orders").await;
    server.sql(NAME, "insert into sources (name, url) select 'thief', url from sources where name = 'shop'").await;
    let report = catalog.check_secrets().await.expect("check");
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].starts_with("sources/thief/url does not open"), "{report:?}");
}
