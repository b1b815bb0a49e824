//! What may be changed while it runs, and how it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Context;
use super::problem::Problem;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::upstreams::State as UpstreamState;

/// Limits, and what is logged.
#[derive(Debug, Serialize)]
pub(super) struct View {
    #[serde(flatten)]
    limits: Limits,
    log_level: Option<String>,
}

pub(super) async fn show(State(context): State<Context>) -> Json<View> {
    let limits = Limits::from(&*context.hub.settings());
    Json(View { limits, log_level: context.log_level.map(|level| level.get()) })
}

/// Unknown keys are refused by hand: `flatten` can not.
pub(super) async fn change(
    state: State<Context>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<View>, Problem> {
    let refused = |error: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error);
    let Json(mut body) = body?;
    let level = body.as_object_mut().and_then(|body| body.remove("log_level"));
    let level = level.map(String::deserialize).transpose().map_err(|error| refused(format!("log_level: {error}")))?;
    let limits: Limits = serde_json::from_value(body).map_err(|error| refused(error.to_string()))?;
    let mut settings = (*state.hub.settings()).clone();
    limits.apply(&mut settings).map_err(refused)?;
    if let Some(level) = level {
        let now = state.log_level.as_ref().ok_or_else(|| refused("log_level: it can not be changed".to_owned()))?;
        now.set(&level).map_err(|error| refused(format!("log_level: {error}")))?;
    }
    state.hub.change_settings(|now| *now = settings);
    Ok(show(state).await)
}

/// It answers.
pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// It has an upstream to give messages to.
pub(super) async fn ready(State(hub): State<Arc<Hub>>) -> Result<Json<Value>, Problem> {
    let is_ready = |state: UpstreamState| state == UpstreamState::Ready;
    let ready = hub.upstreams.all().iter().filter(|upstream| is_ready(*upstream.state.borrow())).count();
    if ready == 0 {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no upstream is ready"));
    }
    Ok(Json(json!({ "status": "ready", "upstreams": ready })))
}
