use std::io::Write;

use rosetta_proto::v1::{Change, ChangeKind, ObjectKind};
use tempfile::NamedTempFile;
use tonic::Status;

use super::{
    super::super::Output,
    super::{Connection, status},
    ask,
    fake::{Node, Script},
};

const FILE: &str = r#"
[[source]]
name = "shop"
url = "postgres://h/d"
[[destination]]
name = "nowhere"
kind = "null"
[[pipeline]]
name = "orders"
source = "shop"
destinations = ["nowhere"]
tables = ["public.*"]
"#;

fn file() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(FILE.as_bytes()).unwrap();
    file
}

fn one_change() -> Script {
    let change = Change {
        kind: ChangeKind::Created.into(),
        object: ObjectKind::Pipeline.into(),
        name: "orders".to_owned(),
        fields: vec![],
    };
    Script { changes: vec![change], fingerprint: "f1".to_owned(), ..Script::default() }
}

#[tokio::test]
async fn one_pipeline_that_fails_does_not_keep_the_others() {
    let node = Node::start(Script { pipelines: vec!["b".to_owned()], ..Script::default() });
    let answer = ask(&node.url, &["resume", "a", "b", "--output", "json"]).await;
    assert_eq!(answer.errors.len(), 1);
    let value: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(value, serde_json::json!([{ "pipeline": "b", "desired_state": "start", "revision": 4 }]));
    let ids = node.request_ids();
    assert_ne!(ids[0], ids[1], "two requests with one id would be taken for one");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (node, file) = (Node::start(one_change()), file());
    let path = file.path().to_str().unwrap();
    let answer = ask(&node.url, &["apply", "-f", path, "--dry-run", "--prune"]).await;
    assert_eq!(answer.text(), "+ pipeline orders\n1 created, 0 changed, 0 deleted\n");
    assert_eq!(node.asked(), [("Apply", "pipelines=1 dry_run=true prune=true expected=".to_owned())]);
}

#[tokio::test]
async fn what_was_shown_is_what_is_applied() {
    let (node, file) = (Node::start(one_change()), file());
    let path = file.path().to_str().unwrap();
    let answer = ask(&node.url, &["apply", "--file", path, "--yes"]).await;
    assert_eq!(answer.text(), "+ pipeline orders\n1 created, 0 changed, 0 deleted\n");
    let expected = ["dry_run=true prune=false expected=", "dry_run=false prune=false expected=f1"];
    assert_eq!(node.asked(), expected.map(|what| ("Apply", format!("pipelines=1 {what}"))));
    assert_eq!(node.request_ids()[1].len(), 32);

    let again = ask(&node.url, &["apply", "--file", path, "--yes"]).await;
    assert_eq!(again.text(), "0 created, 0 changed, 0 deleted\n");
    assert_eq!(node.asked().len(), 3, "nothing to change, nothing to ask for");
}

#[tokio::test]
async fn a_file_with_a_mistake_is_not_sent() {
    let node = Node::start(one_change());
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(FILE.replace("public.*", "").as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let error = ask(&node.url, &["apply", "-f", path]).await.error();
    assert!(error.starts_with(&format!("{path}, line 12, column ")), "{error}");
    assert!(node.asked().is_empty());
}

#[tokio::test]
async fn delete_says_what_becomes_of_the_slot() {
    let node = Node::start(Script::default());
    assert_eq!(ask(&node.url, &["delete", "orders", "--keep-slot"]).await.text(), "orders: deleted\n");
    assert_eq!(ask(&node.url, &["delete", "orders"]).await.text(), "orders: deleted\n");
    let asked: Vec<_> = node.asked().into_iter().map(|(_, what)| what).collect();
    assert_eq!(asked, ["orders keep_slot=true", "orders keep_slot=false"]);
}

#[tokio::test]
async fn status_reads_every_page() {
    let pipelines = ["c", "a", "b"].map(str::to_owned).to_vec();
    let node = Node::start(Script { pipelines, ..Script::default() });
    let connection = Connection { endpoint: Some(node.url.clone()), output: Output::Json };
    let answer = status(&connection, false).await;
    let value: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    let names: Vec<_> = value.as_array().unwrap().iter().map(|line| line["pipeline"].clone()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_watch_that_cannot_begin_says_so() {
    let refusal = Some(Status::permission_denied("who are you?"));
    let node = Node::start(Script { refusal, ..Script::default() });
    let connection = Connection { endpoint: Some(node.url.clone()), output: Output::Json };
    assert_eq!(status(&connection, true).await.error(), "who are you?");
}
