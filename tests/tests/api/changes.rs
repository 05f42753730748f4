//! Definitions: made, changed, refused, repeated.

use rosetta_proto::v1::{DesiredState, PipelineState};

use super::*;

fn update(stored: &v1::StoredPipeline, expected_revision: u64) -> v1::UpdatePipelineRequest {
    let pipeline = v1::Pipeline { apply_workers: 2, ..stored.pipeline.clone().expect("a definition") };
    v1::UpdatePipelineRequest { pipeline: Some(pipeline), expected_revision, ..v1::UpdatePipelineRequest::default() }
}

#[tokio::test]
async fn a_pipeline_lives_from_create_to_delete() {
    let world = World::with_nodes(1).await;
    let (created, n1) = (world.create("orders").await, &world.nodes[0]);
    assert_eq!((created.desired_state(), created.revision > 0), (DesiredState::Start, true));
    assert!(created.created_at.is_some());
    world.reaches(0, "orders", PipelineState::Running).await;
    let name = || "orders".to_owned();
    let pause = v1::PausePipelineRequest { name: name(), request_id: "pause-1".to_owned() };
    let paused = n1.pipelines().pause(pause.clone()).await.expect("pause").into_inner();
    assert_eq!(paused.desired_state(), DesiredState::Pause);
    world.reaches(0, "orders", PipelineState::Paused).await;
    let restart = v1::RestartPipelineRequest { name: name(), ..Default::default() };
    let (message, reason, _) = refused(n1.pipelines().restart(restart.clone()).await, Code::FailedPrecondition);
    assert!(message.contains("resume it") && reason == "PIPELINE_PAUSED", "{message}");
    let resume = v1::ResumePipelineRequest { name: name(), ..Default::default() };
    let resumed = n1.pipelines().resume(resume).await.expect("resume").into_inner();
    assert_eq!(resumed.desired_state(), DesiredState::Start);
    let repeated = n1.pipelines().pause(pause).await.expect("the same request again").into_inner();
    assert_eq!(repeated, paused, "answered as before");
    world.reaches(0, "orders", PipelineState::Running).await;
    n1.pipelines().restart(restart).await.expect("restart");
    let updated = n1.pipelines().update(update(&created, created.revision)).await.expect("update").into_inner();
    assert!(updated.revision > created.revision);
    let (_, reason, fields) = refused(n1.pipelines().update(update(&created, created.revision)).await, Code::Aborted);
    assert_eq!((reason.as_str(), fields), ("REVISION_MISMATCH", vec!["expected_revision".to_owned()]));
    let (_, _, fields) = refused(n1.pipelines().update(update(&created, 0)).await, Code::InvalidArgument);
    assert_eq!(fields, ["expected_revision"]);
    let delete = v1::DeletePipelineRequest { name: name(), ..Default::default() };
    n1.pipelines().delete(delete.clone()).await.expect("delete");
    let (message, _, fields) = refused(n1.pipelines().delete(delete).await, Code::NotFound);
    assert!(message.contains("'orders'") && message.contains("rosetta status"), "{message}");
    assert_eq!(fields, ["name"]);
    assert!(n1.list().await.is_empty());
}

#[tokio::test]
async fn passwords_come_out_hidden_and_wrong_requests_name_their_field() {
    let world = World::with_nodes(1).await;
    let n1 = &world.nodes[0];
    world.create("orders").await;
    let get = v1::GetPipelineRequest { name: "orders".to_owned() };
    let shown = n1.pipelines().get(get).await.expect("get").into_inner();
    let source = shown.source.expect("a source");
    assert!(source.url.contains(":***@") && !source.url.contains(PASSWORD), "{}", source.url);
    let (_, reason, _) = refused(n1.pipelines().create(world.creation("orders")).await, Code::AlreadyExists);
    assert_eq!(reason, "PIPELINE_EXISTS");
    let sent_back = v1::CreatePipelineRequest { source: Some(source), ..world.creation("bills") };
    let (message, reason, fields) = refused(n1.pipelines().create(sent_back).await, Code::InvalidArgument);
    assert_eq!((reason.as_str(), fields.join(" ").as_str()), ("PASSWORD_REDACTED", "source.url"), "{message}");
    let mut wrong = world.creation("bills");
    wrong.pipeline.as_mut().expect("a definition").apply_workers = 65;
    let (_, reason, fields) = refused(n1.pipelines().create(wrong.clone()).await, Code::InvalidArgument);
    assert_eq!((reason.as_str(), fields.join(" ").as_str()), ("INVALID_DEFINITION", "pipeline.apply_workers"));
    let v1::CreatePipelineRequest { pipeline, source, destinations, .. } = wrong;
    let validate = v1::ValidatePipelineRequest { pipeline, source, destinations, connect: false };
    let problems = n1.pipelines().validate(validate.clone()).await.expect("validate").into_inner().problems;
    assert_eq!((problems.len(), problems[0].field.as_str()), (1, "pipeline.apply_workers"), "{problems:?}");
    let mut right = v1::ValidatePipelineRequest { connect: true, source: None, destinations: vec![], ..validate };
    right.pipeline.as_mut().expect("a definition").apply_workers = 0;
    let problems = n1.pipelines().validate(right.clone()).await.expect("validate").into_inner().problems;
    assert!(problems.iter().all(|problem| problem.is_warning), "{problems:?}");
    right.pipeline.as_mut().expect("a definition").tables = vec!["public.nothing".to_owned()];
    let problems = n1.pipelines().validate(right).await.expect("validate").into_inner().problems;
    assert!(problems.iter().any(|problem| !problem.is_warning && !problem.remedy.is_empty()), "{problems:?}");
    assert_eq!(n1.list().await.len(), 1, "validating defines nothing");
    let empty = v1::PausePipelineRequest::default();
    assert_eq!(refused(n1.pipelines().pause(empty).await, Code::InvalidArgument).2, ["name"]);
    let id = v1::PausePipelineRequest { request_id: "a b".to_owned(), name: "orders".to_owned() };
    assert_eq!(refused(n1.pipelines().pause(id).await, Code::InvalidArgument).2, ["request_id"]);
}

#[tokio::test]
async fn a_set_is_applied_as_it_was_shown() {
    let world = World::with_nodes(1).await;
    let n1 = &world.nodes[0];
    let v1::CreatePipelineRequest { pipeline, source, destinations, .. } = world.creation("orders");
    let set = v1::DefinitionSet {
        sources: source.into_iter().collect(),
        destinations,
        pipelines: pipeline.into_iter().collect(),
    };
    let dry = v1::ApplyRequest { definitions: Some(set), dry_run: true, ..v1::ApplyRequest::default() };
    let shown = n1.pipelines().apply(dry.clone()).await.expect("a dry run").into_inner();
    let kinds: Vec<_> = shown.changes.iter().map(|change| (change.kind(), change.object())).collect();
    let created = v1::ChangeKind::Created;
    let objects = [v1::ObjectKind::Source, v1::ObjectKind::Destination, v1::ObjectKind::Pipeline];
    assert_eq!(kinds, objects.map(|object| (created, object)));
    assert!(n1.list().await.is_empty(), "a dry run defines nothing");
    let expected_fingerprint = shown.fingerprint.clone();
    let apply = v1::ApplyRequest { dry_run: false, expected_fingerprint, ..dry };
    let done = n1.pipelines().apply(apply.clone()).await.expect("apply").into_inner();
    assert_eq!(done, shown);
    let (_, reason, fields) = refused(n1.pipelines().apply(apply.clone()).await, Code::Aborted);
    assert_eq!((reason.as_str(), fields.join(" ").as_str()), ("FINGERPRINT_MISMATCH", "expected_fingerprint"));
    let mut wrong = v1::ApplyRequest { expected_fingerprint: String::new(), ..apply };
    wrong.definitions.as_mut().expect("a set").sources[0].url = "mysql://h".to_owned();
    let (_, _, fields) = refused(n1.pipelines().apply(wrong).await, Code::InvalidArgument);
    assert_eq!(fields, ["definitions.sources.url"]);
}
