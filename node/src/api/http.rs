//! HTTP for probes and people with curl.
//!
//! - `/health/live`: the process answers.
//! - `/health/ready`: it takes part; 503 when no pipeline runs although one should.
//! - `/health`: what each pipeline does; 503 when one that should run does not.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    pipeline::status::{self, Figures},
    supervisor::Fleet,
};

pub(super) async fn serve(fleet: Arc<Fleet>, listener: TcpListener, cancel: CancellationToken) -> io::Result<()> {
    let router = Router::new()
        .route("/health/live", get(async || answer(StatusCode::OK, &json!({ "status": "ok" }))))
        .route("/health/ready", get(ready))
        .route("/health", get(health))
        .with_state(fleet);
    axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await
}

async fn ready(State(fleet): State<Arc<Fleet>>) -> impl IntoResponse {
    let (code, word) = verdict(is_ready(&figures(&fleet)));
    answer(code, &json!({ "status": word }))
}

async fn health(State(fleet): State<Arc<Fleet>>) -> impl IntoResponse {
    let all = figures(&fleet);
    let (code, word) = verdict(is_whole(&all));
    let pipelines = fleet.members().iter().zip(&all).map(|(member, figures)| {
        json!({
            "pipeline": member.job.definition.name,
            "state": figures.state.name(),
            "lag_bytes": figures.lag_bytes(),
            "lag_ms": figures.lag_ms,
            "error": figures.error,
        })
    });
    answer(code, &json!({ "status": word, "pipelines": pipelines.collect::<Vec<_>>() }))
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

fn is_in_trouble(figures: &Figures) -> bool {
    match figures.state {
        status::State::Starting | status::State::Copying | status::State::Running | status::State::Paused => false,
        status::State::Retrying | status::State::Stopped | status::State::Failed | status::State::NeedsResync => true,
    }
}

fn verdict(is_well: bool) -> (StatusCode, &'static str) {
    if is_well { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") }
}

fn answer(code: StatusCode, body: &Value) -> impl IntoResponse + use<> {
    (code, [(CONTENT_TYPE, "application/json")], format!("{body}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::status::Status;

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
