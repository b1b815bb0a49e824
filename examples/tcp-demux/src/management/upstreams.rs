//! `/upstream`.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::problem::Problem;
use crate::hub::Hub;
use crate::lane::Confirm;
use crate::upstreams::{AddRefused, GrpcUpstream, Kind, State as UpstreamState, Upstream, Wish};

/// The original's body, and what we have beside it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Add {
    host: String,
    port: u16,
    alive_timeout: u64,
    ready_timeout: u64,
    streams: Option<usize>,
    confirm: Option<Confirm>,
}

#[derive(Debug, Serialize)]
pub(super) struct View {
    uuid: Uuid,
    name: String,
    kind: &'static str,
    state: UpstreamState,
    streams: usize,
    sockets: usize,
    outstanding: usize,
    confirm: Option<Confirm>,
    wants_events: bool,
    last_error: Option<String>,
}

impl View {
    fn of(hub: &Hub, upstream: &Upstream) -> Self {
        let lanes = hub.dispatch.lanes();
        let own: Vec<_> = lanes.iter().filter(|lane| lane.upstream == upstream.id).collect();
        Self {
            uuid: upstream.id,
            name: upstream.name.clone(),
            kind: if upstream.kind == Kind::Glue { "glue" } else { "grpc" },
            state: *upstream.state.borrow(),
            streams: own.len(),
            sockets: own.iter().map(|lane| lane.sockets()).sum(),
            outstanding: own.iter().map(|lane| lane.outstanding()).sum(),
            confirm: own.first().map(|lane| lane.config.confirm),
            wants_events: own.first().is_some_and(|lane| lane.config.wants_events),
            last_error: upstream.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

type Id = Result<Path<Uuid>, PathRejection>;

pub(super) async fn add(
    State(hub): State<Arc<Hub>>,
    body: Result<Json<Add>, JsonRejection>,
) -> Result<Json<View>, Problem> {
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
        Ok(upstream) => Ok(Json(View::of(&hub, &upstream))),
        Err(refused @ AddRefused::Duplicate) => Err(Problem::new(StatusCode::CONFLICT, refused.to_string())),
        Err(refused) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string())),
    }
}

pub(super) async fn list(State(hub): State<Arc<Hub>>) -> Json<Vec<View>> {
    Json(hub.upstreams.all().iter().map(|upstream| View::of(&hub, upstream)).collect())
}

pub(super) async fn show(State(hub): State<Arc<Hub>>, id: Id) -> Result<Json<View>, Problem> {
    find(&hub, id).map(|upstream| Json(View::of(&hub, &upstream)))
}

/// It gets nothing more, and what it has not settled in 30 s goes to others.
pub(super) async fn drain(State(hub): State<Arc<Hub>>, id: Id) -> Result<Json<View>, Problem> {
    wish(&hub, id, Wish::Drain)
}

pub(super) async fn resume(State(hub): State<Arc<Hub>>, id: Id) -> Result<Json<View>, Problem> {
    wish(&hub, id, Wish::Serve)
}

/// As drained, and forgotten. A glue upstream is found again when it comes again.
pub(super) async fn remove(State(hub): State<Arc<Hub>>, id: Id) -> Result<StatusCode, Problem> {
    wish(&hub, id, Wish::Remove).map(|_| StatusCode::NO_CONTENT)
}

fn wish(hub: &Hub, id: Id, wish: Wish) -> Result<Json<View>, Problem> {
    let upstream = find(hub, id)?;
    // What is being removed can not be had back.
    upstream.wish.send_if_modified(|now| *now != Wish::Remove && std::mem::replace(now, wish) != wish);
    Ok(Json(View::of(hub, &upstream)))
}

fn find(hub: &Hub, id: Id) -> Result<Arc<Upstream>, Problem> {
    let Path(id) = id?;
    hub.upstreams.get(id).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no upstream {id}")))
}
