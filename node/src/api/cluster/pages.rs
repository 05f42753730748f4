//! HTTP for probes and people with curl.
//!
//! - `/health/live`: the process answers.
//! - `/health/ready`: it takes part in the cluster; 503 with the reasons when it does not.
//! - `/health`: what each pipeline of this node does, and what the cluster lacks; 503 when one that should run does not,
//!   or something is missing.
//! - `/metrics`: figures for Prometheus (docs/METRICS.md).

use std::sync::Arc;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use serde_json::json;

use super::{Api, metrics, readiness};
use crate::api::http::{self, answer, is_in_trouble, live, pipeline, verdict};

pub(super) fn pages(api: Arc<Api>) -> Router {
    Router::new()
        .route("/health/live", get(async || live()))
        .route("/health/ready", get(ready))
        .route("/health", get(health))
        .route("/metrics", get(told))
        .with_state(api)
}

async fn told(State(api): State<Arc<Api>>) -> impl IntoResponse {
    http::metrics(metrics::of_node(&api.node))
}

async fn ready(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let lacks = api.node.lacks();
    let (code, word) = verdict(lacks.is_empty());
    answer(code, &json!({ "status": word, "node": api.node.record.id, "problems": lacks }))
}

async fn health(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let problems = readiness::problems(&api.node);
    let local = api.node.local.all();
    let figures: Vec<_> = local.iter().map(|(name, local)| (name, local.status.figures())).collect();
    let is_well = problems.is_empty() && !figures.iter().any(|(_, figures)| is_in_trouble(figures));
    let (code, word) = verdict(is_well);
    let pipelines: Vec<_> = figures.iter().map(|(name, figures)| pipeline(name.as_str(), figures)).collect();
    let held = api.node.held.all();
    let body = json!({
        "status": word,
        "node": api.node.record.id,
        "problems": problems,
        "peers_held": held,
        "pipelines": pipelines,
    });
    answer(code, &body)
}
