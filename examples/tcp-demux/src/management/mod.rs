//! The management API.

mod downstream;
mod listener;
mod metrics;
mod problem;
mod runtime;
mod upstreams;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use self::listener::TlsListener;
use self::problem::Problem;
use crate::hub::Hub;
use crate::log_level::LogLevel;
use crate::tls::Tls;

/// What every request may need.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) hub: Arc<Hub>,
    pub(crate) token: Option<Arc<str>>,
    pub(crate) log_level: Option<LogLevel>,
}

/// Serves until it is dropped.
pub(crate) async fn serve(context: Context, listener: TcpListener, tls: Option<Arc<Tls>>) {
    let router = router(context);
    let result = match tls {
        None => axum::serve(listener, router).await,
        Some(tls) => match TlsListener::new(listener, tls) {
            Ok(listener) => axum::serve(listener, router).await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = result {
        tracing::error!("management has ended: {error}");
    }
}

fn router(context: Context) -> Router {
    let guarded = Router::new()
        .route("/upstream", get(upstreams::list))
        .route("/upstream/add", post(upstreams::add))
        // The original's, which it never had more than the name of.
        .route("/upstream/", get(upstreams::list))
        .route("/upstream/delete/{uuid}", post(upstreams::remove))
        .route("/upstream/{uuid}", get(upstreams::show).delete(upstreams::remove))
        .route("/upstream/{uuid}/drain", post(upstreams::drain))
        .route("/upstream/{uuid}/resume", post(upstreams::resume))
        .route("/downstream", get(downstream::list))
        .route("/downstream/send", post(downstream::send_to_many))
        .route("/downstream/{uuid}", get(downstream::show).delete(downstream::close))
        .route("/downstream/{uuid}/send", post(downstream::send))
        .route("/settings", get(runtime::show).patch(runtime::change))
        .route("/metrics", get(metrics::show))
        .layer(from_fn_with_state(context.clone(), authorize));
    Router::new()
        .route("/health", get(runtime::health))
        .route("/ready", get(runtime::ready))
        .merge(guarded)
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the path knows other methods")
        })
        .with_state(context)
}

async fn authorize(State(context): State<Context>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if context.token.is_none_or(|token| is_same(token.as_bytes(), shown.as_bytes())) {
        return next.run(request).await;
    }
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, "a bearer token is needed").into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

/// Takes the same time wherever they differ.
fn is_same(one: &[u8], two: &[u8]) -> bool {
    one.len() == two.len() && one.iter().zip(two).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// The hub, for those who need no more.
impl axum::extract::FromRef<Context> for Arc<Hub> {
    fn from_ref(context: &Context) -> Self {
        Self::clone(&context.hub)
    }
}
