//! `/upstream`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::hub::Hub;
use crate::lane::Confirm;
use crate::management::problem::Problem;
use crate::upstreams::{AddRefused, GrpcUpstream};

/// The original's body, and what we have beside it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Add {
    host: String,
    port: u16,
    alive_timeout: u64,
    ready_timeout: u64,
    streams: Option<usize>,
    confirm: Option<Confirm>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Added {
    uuid: Uuid,
}

pub(crate) async fn add(
    State(hub): State<Arc<Hub>>,
    body: Result<Json<Add>, JsonRejection>,
) -> Result<Json<Added>, Problem> {
    let Json(add) = body?;
    let config = GrpcUpstream {
        alive_timeout: Duration::from_secs(add.alive_timeout),
        ready_timeout: Duration::from_secs(add.ready_timeout),
        streams: add.streams.unwrap_or(1),
        confirm: add.confirm.unwrap_or_default(),
        ..GrpcUpstream::new(add.host, add.port)
    };
    config.check().map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    match hub.add_upstream(config) {
        Ok(upstream) => Ok(Json(Added { uuid: upstream.id })),
        Err(refused @ AddRefused::Duplicate) => Err(Problem::new(StatusCode::CONFLICT, refused.to_string())),
        Err(refused) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string())),
    }
}
