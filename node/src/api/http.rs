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
    let figures = fleet.members().iter().map(|member| member.job.status.figures());
    let (code, word) = verdict(Health::ready(figures));
    answer(code, &json!({ "status": word }))
}

async fn health(State(fleet): State<Arc<Fleet>>) -> impl IntoResponse {
    let figures: Vec<_> = fleet.members().iter().map(|member| (member, member.job.status.figures())).collect();
    let (code, word) = verdict(Health::whole(figures.iter().map(|(_, figures)| figures.clone())));
    let pipelines = figures.iter().map(|(member, figures)| {
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

/// Whether what should run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Ok,
    Failing,
}

impl Health {
    /// Every pipeline does what it should.
    fn whole(mut figures: impl Iterator<Item = Figures>) -> Health {
        if figures.all(|figures| !is_in_trouble(&figures)) { Health::Ok } else { Health::Failing }
    }

    /// At least one does.
    fn ready(mut figures: impl Iterator<Item = Figures>) -> Health {
        if figures.any(|figures| !is_in_trouble(&figures)) { Health::Ok } else { Health::Failing }
    }
}

fn is_in_trouble(figures: &Figures) -> bool {
    match figures.state {
        status::State::Starting | status::State::Copying | status::State::Running | status::State::Paused => false,
        status::State::Retrying | status::State::Stopped | status::State::Failed | status::State::NeedsResync => true,
    }
}

fn verdict(health: Health) -> (StatusCode, &'static str) {
    match health {
        Health::Ok => (StatusCode::OK, "ok"),
        Health::Failing => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    }
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
        assert_eq!(Health::whole(both.clone().into_iter()), Health::Failing);
        assert_eq!(Health::ready(both.into_iter()), Health::Ok);
        assert_eq!(Health::ready([fails].into_iter()), Health::Failing);
        let paused = in_state(status::State::Paused);
        assert_eq!(Health::whole([runs, paused].into_iter()), Health::Ok);
    }
}
