//! The management API.

mod problem;
mod upstreams;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use tokio::net::TcpListener;

use crate::hub::Hub;

pub(crate) async fn serve(hub: Arc<Hub>, listener: TcpListener, token: Option<String>) {
    let _ = token;
    let router = Router::new().route("/upstream/add", post(upstreams::add)).with_state(hub);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("management has ended: {error}");
    }
}
