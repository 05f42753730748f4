//! What the HTTP pages of all processes share: JSON, metrics, and what counts as trouble.

use axum::{
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
};
use serde_json::{Value, json};

use crate::{
    metrics::Sheet,
    pipeline::status::{Figures, State},
};

/// The process answers; nothing else is said.
pub(super) fn live() -> impl IntoResponse + use<> {
    answer(StatusCode::OK, &json!({ "status": "ok" }))
}

pub(super) fn verdict(is_well: bool) -> (StatusCode, &'static str) {
    if is_well { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") }
}

pub(super) fn answer(code: StatusCode, body: &Value) -> impl IntoResponse + use<> {
    (code, [(CONTENT_TYPE, "application/json")], format!("{body}\n"))
}

/// What Prometheus reads.
pub(super) fn metrics(sheet: Sheet) -> impl IntoResponse + use<> {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], sheet.render())
}

pub(super) fn pipeline(name: &str, figures: &Figures) -> Value {
    json!({
        "pipeline": name,
        "state": figures.shown_state().name(),
        "lag_bytes": figures.lag_bytes(),
        "lag_ms": figures.lag_ms,
        "error": figures.error,
    })
}

/// It should run, and does not.
pub(super) fn is_in_trouble(figures: &Figures) -> bool {
    match figures.state {
        State::Starting | State::Copying | State::Running | State::Degraded | State::Paused => false,
        State::Retrying | State::Stopped | State::Failed | State::NeedsResync => true,
    }
}
