use super::{
    ask,
    fake::{Node, Script},
};

async fn listed(node: &Node, limit: &str) -> Vec<String> {
    let answer = ask(&node.url, &["dlq", "list", "--limit", limit, "--output", "json"]).await;
    let value: serde_json::Value = serde_json::from_str(answer.text()).unwrap_or_else(|error| panic!("{error}"));
    let letters = value.as_array().map(Vec::as_slice).unwrap_or_default();
    letters.iter().map(|letter| letter["id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_list_goes_over_pages_and_ends_at_its_limit() {
    let node = Node::start(Script::default());
    assert_eq!(listed(&node, "100").await, ["0", "1", "2"]);
    assert_eq!(listed(&node, "2").await, ["0", "1"]);
    let asked: Vec<_> = node.asked().into_iter().map(|(_, what)| what).collect();
    assert_eq!(asked, ["size=100 from=", "size=98 from=2", "size=2 from="]);
}

#[tokio::test]
async fn discard_is_on_the_record() {
    let node = Node::start(Script::default());
    let line = ["dlq", "discard", "--pipeline", "orders", "--by", "ann", "--reason", "test rows"];
    assert_eq!(ask(&node.url, &line).await.text(), "2 discarded\n");
    let error = ask(&node.url, &["dlq", "discard", "1"]).await.error();
    assert!(error.starts_with("dlq discard needs --reason"), "{error}");
    let error = ask(&node.url, &["dlq", "discard", "--reason", "all of it"]).await.error();
    assert!(error.starts_with("which letters?"), "{error}");
    assert_eq!(node.asked(), [("Discard", "ids= pipeline=orders by=ann reason=test rows".to_owned())]);
}

#[tokio::test]
async fn replay_by_id_needs_no_reason() {
    let node = Node::start(Script::default());
    let answer = ask(&node.url, &["dlq", "replay", "1", "2", "--by", "ann"]).await;
    assert_eq!(answer.text(), "2 selected; `rosetta dlq list` shows those that fail again\n");
    assert_eq!(node.asked(), [("Replay", "ids=1+2 pipeline= by=ann reason=".to_owned())]);
}
