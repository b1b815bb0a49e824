//! `/downstream`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::problem::Problem;
use crate::hub::Hub;
use crate::socket::{Reason, Socket};
use crate::time;
use crate::topics::tag_of;
use crate::wire::{Action, Audience, Order};

#[derive(Debug, Serialize)]
pub(super) struct View {
    uuid: Uuid,
    peer_address: SocketAddr,
    connected: String,
    active: bool,
    messages_received: u64,
    messages_sent: u64,
    queued_bytes: usize,
    groups: Vec<String>,
    /// The upstream that it sticks to.
    upstream: Option<Uuid>,
    closing: Option<Reason>,
}

impl View {
    fn of(hub: &Hub, socket: &Socket) -> Self {
        Self {
            uuid: socket.id,
            peer_address: socket.peer,
            connected: time::text(socket.since),
            active: hub.is_active(socket),
            messages_received: socket.received.load(Ordering::Relaxed),
            messages_sent: socket.delivered.load(Ordering::Relaxed),
            queued_bytes: socket.outbox.bytes(),
            groups: hub.directory().groups_of(socket.id).to_vec(),
            upstream: hub.dispatch.upstream_of(socket),
            closing: socket.reason(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Those whose id comes after this one.
    after: Option<Uuid>,
    limit: Option<usize>,
    group: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    /// How many there are in all.
    total: usize,
    sockets: Vec<View>,
}

pub(super) async fn list(
    State(hub): State<Arc<Hub>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<List>, Problem> {
    let Query(page) = page?;
    let mut sockets: Vec<Arc<Socket>> = match &page.group {
        Some(group) => hub.directory().members(group).cloned().collect(),
        None => hub.directory().all().cloned().collect(),
    };
    let total = sockets.len();
    sockets.retain(|socket| page.after.is_none_or(|after| socket.id > after));
    sockets.sort_unstable_by_key(|socket| socket.id);
    sockets.truncate(page.limit.unwrap_or(PAGE).min(MAX_PAGE));
    Ok(Json(List { total, sockets: sockets.iter().map(|socket| View::of(&hub, socket)).collect() }))
}

type Id = Result<Path<Uuid>, PathRejection>;

pub(super) async fn show(State(hub): State<Arc<Hub>>, id: Id) -> Result<Json<View>, Problem> {
    let Path(id) = id?;
    let socket = hub.directory().get(id).cloned();
    socket.map(|socket| Json(View::of(&hub, &socket))).ok_or_else(|| unknown(&hub, id))
}

/// Sends the body, whatever instance the client is connected to.
pub(super) async fn send(State(hub): State<Arc<Hub>>, id: Id, payload: Bytes) -> Result<StatusCode, Problem> {
    order(&hub, id?.0, payload, None).await
}

pub(super) async fn close(State(hub): State<Arc<Hub>>, id: Id) -> Result<StatusCode, Problem> {
    let Path(id) = id?;
    if let Some(socket) = hub.directory().get(id) {
        socket.close(Reason::ClosedByManagement);
        return Ok(StatusCode::NO_CONTENT);
    }
    order(&hub, id, Bytes::new(), Some(Action::Close)).await
}

async fn order(hub: &Hub, id: Uuid, payload: Bytes, action: Option<Action>) -> Result<StatusCode, Problem> {
    let is_here = hub.directory().get(id).is_some();
    let is_elsewhere = hub.glue().is_some_and(|glue| glue.instances().contains(&tag_of(id)));
    if !is_here && !is_elsewhere {
        return Err(unknown(hub, id));
    }
    hub.obey(&hub.settings(), Order { audience: Audience::Client(id), payload, action }).await;
    // Another instance may not have it any more, and does not tell.
    Ok(if is_here { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Whom {
    Active,
    All,
    NotActive,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Many {
    to: Option<Whom>,
    group: Option<String>,
}

/// Sends the body to many, on all instances.
pub(super) async fn send_to_many(
    State(hub): State<Arc<Hub>>,
    many: Result<Query<Many>, QueryRejection>,
    payload: Bytes,
) -> Result<StatusCode, Problem> {
    let audience = match many?.0 {
        Many { to: None, group: Some(group) } => Audience::Group(group),
        Many { to: Some(Whom::Active), group: None } => Audience::Active,
        Many { to: Some(Whom::All), group: None } => Audience::All,
        Many { to: Some(Whom::NotActive), group: None } => Audience::NotActive,
        _ => {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "expected ?to=all, active or not_active, or ?group=NAME",
            ));
        }
    };
    hub.obey(&hub.settings(), Order { audience, payload, action: None }).await;
    Ok(StatusCode::ACCEPTED)
}

fn unknown(hub: &Hub, id: Uuid) -> Problem {
    let is_elsewhere = hub.glue().is_some_and(|glue| glue.instances().contains(&tag_of(id)));
    let detail = if is_elsewhere { "it belongs to another instance: ask there" } else { "there is no such client" };
    Problem::new(StatusCode::NOT_FOUND, format!("{id}: {detail}"))
}

const PAGE: usize = 100;
const MAX_PAGE: usize = 10_000;
