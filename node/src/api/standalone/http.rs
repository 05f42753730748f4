//! HTTP for probes and people with curl.
//!
//! - `/health/live`: the process answers.
//! - `/health/ready`: it takes part; 503 when no pipeline runs although one should.
//! - `/health`: what each pipeline does; 503 when one that should run does not.
//! - `/metrics`: figures for Prometheus (docs/METRICS.md).

use std::sync::Arc;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use serde_json::json;

use crate::{
    api::http::{self, answer, is_in_trouble, live, pipeline, verdict},
    metrics::{Sheet, names, tell_pipelines, tell_process},
    pipeline::status::Figures,
    supervisor::Fleet,
};

pub(in crate::api) fn pages(fleet: Arc<Fleet>) -> Router {
    Router::new()
        .route("/health/live", get(async || live()))
        .route("/health/ready", get(ready))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(fleet)
}

async fn ready(State(fleet): State<Arc<Fleet>>) -> impl IntoResponse {
    let (code, word) = verdict(is_ready(&figures(&fleet)));
    answer(code, &json!({ "status": word }))
}

async fn health(State(fleet): State<Arc<Fleet>>) -> impl IntoResponse {
    let all = figures(&fleet);
    let (code, word) = verdict(is_whole(&all));
    let members = fleet.members().iter().zip(&all);
    let pipelines: Vec<_> = members.map(|(member, figures)| pipeline(&member.job.definition.name, figures)).collect();
    answer(code, &json!({ "status": word, "pipelines": pipelines }))
}

async fn metrics(State(fleet): State<Arc<Fleet>>) -> impl IntoResponse {
    let members = fleet.members();
    let pipelines: Vec<_> =
        members.iter().map(|member| (member.job.definition.name.clone(), member.job.status.figures())).collect();
    let mut sheet = Sheet::blank();
    tell_pipelines(&mut sheet, &pipelines);
    tell_process(&mut sheet);
    let expected = members.iter().filter(|member| !member.is_paused()).count();
    sheet.set(&names::PIPELINES_EXPECTED, &[], expected as f64);
    sheet.set(&names::NODE_PIPELINES, &[], members.len() as f64);
    sheet.count(&names::FENCES, &[], pipelines.iter().map(|(_, figures)| figures.failures.fenced).sum());
    http::metrics(sheet)
}

fn figures(fleet: &Fleet) -> Vec<Figures> {
    fleet.members().iter().map(|member| member.job.status.figures()).collect()
}

/// Every pipeline does what it should.
fn is_whole(figures: &[Figures]) -> bool {
    !figures.iter().any(is_in_trouble)
}

/// At least one does.
fn is_ready(figures: &[Figures]) -> bool {
    !figures.iter().all(is_in_trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::status::{self, Status};

    fn in_state(state: status::State) -> Figures {
        Figures { state, ..Status::new("p").figures() }
    }

    #[test]
    fn one_pipeline_in_trouble_is_told_and_all_in_trouble_is_not_ready() {
        let (runs, fails) = (in_state(status::State::Running), in_state(status::State::Failed));
        let both = [runs.clone(), fails.clone()];
        assert!(!is_whole(&both));
        assert!(is_ready(&both));
        assert!(!is_ready(&[fails]));
        let paused = in_state(status::State::Paused);
        assert!(is_whole(&[runs, paused]));
    }
}
