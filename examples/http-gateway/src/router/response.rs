//! What a client gets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::problem::Problem;
use super::record::Record;
use super::visit::Visit;
use crate::body::{BodyError, Incoming};
use crate::headers;

/// What a client gets: of a worker, or of the router itself.
#[derive(Debug)]
pub struct ResponseBody {
    from: Source,
    record: Record,
    visit: Arc<Visit>,
}

#[derive(Debug)]
pub(super) enum Source {
    /// It arrives over glue.
    Worker(Incoming),
    /// It is here.
    Router(Full<Bytes>),
}

/// What a worker answered.
pub(super) struct Answer {
    pub(super) worker: String,
    pub(super) response: Response<Source>,
}

/// Makes it of what a worker answered, or of the problem.
pub(super) fn answer(
    result: Result<Answer, Problem>,
    mut record: Record,
    visit: Arc<Visit>,
    id: Option<HeaderValue>,
    version: Version,
) -> Response<ResponseBody> {
    let text = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or("-");
    record.set_id(text);
    let (worker, mut response) = match result {
        Ok(answer) => (Some(answer.worker), answer.response),
        Err(problem) => (None, problem.response(text).map(Source::Router)),
    };
    record.answer(worker, response.status());
    headers::add_via(response.headers_mut(), version);
    if let Some(id) = id {
        response.headers_mut().entry(headers::REQUEST_ID).or_insert(id);
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        visit.let_go();
    }
    visit.handle_answer();
    response.map(|from| ResponseBody { from, record, visit })
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.visit.handle_end();
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.from {
            Source::Worker(body) => Pin::new(body).poll_frame(cx),
            Source::Router(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.record.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(None) => this.record.is_whole = true,
            _ => {}
        }
        this.record.is_whole |= this.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            Source::Worker(body) => body.is_end_stream(),
            Source::Router(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            Source::Worker(body) => body.size_hint(),
            Source::Router(body) => body.size_hint(),
        }
    }
}
