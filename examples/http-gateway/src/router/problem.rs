//! What a client is told when the router answers by itself: RFC 9457.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;

/// Why a request has no answer of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    #[error("the body took too long to arrive")]
    BodyTimeout,
    #[error("the body is larger than is accepted here")]
    BodyTooLarge,
    #[error("this method is not for a reverse proxy")]
    NotImplemented,
    #[error("no worker has one of these ids")]
    UnknownId,
    #[error("no worker serves this")]
    NoWorker,
    #[error("all workers are busy")]
    Busy,
    #[error("the worker was lost before it answered")]
    WorkerLost,
    #[error("the worker failed before it answered")]
    WorkerFailed,
    #[error("the worker sent something that is no answer")]
    Nonsense,
    #[error("the object store failed")]
    Store,
    #[error("no worker answered in time")]
    Deadline,
}

impl Problem {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::UnknownId | Self::NoWorker | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::WorkerLost | Self::WorkerFailed | Self::Nonsense | Self::Store => StatusCode::BAD_GATEWAY,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// `id`: of the request.
    pub(crate) fn response(self, id: &str) -> Response<Full<Bytes>> {
        let status = self.status();
        let body = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.to_string(),
            "request_id": id,
        });
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
