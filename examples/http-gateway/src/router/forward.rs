//! From a client's request to its answer: choose, pass on, and try again where that does no harm.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, HOST, HeaderValue, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::exchange::{Exchange, Failure};
use super::group::Choice;
use super::member::Taken;
use super::problem::Problem;
use super::record::Record;
use super::registry::Wanted;
use super::request::{self, BodyLimits, Fate, RequestBody};
use super::response::{Answer, ResponseBody, Source, answer};
use super::visit::Visit;
use super::{Inner, Router, seconds};
use crate::headers;
use crate::outgoing::{Opening, opening};
use crate::relay::{Kept, Relay, object_name};
use crate::tunnel;
use crate::wire::{RequestHead, ResponseHead};

impl Router {
    /// Passes a request on, and returns what a worker answers, or a problem.
    ///
    /// What is known at once is worked out before there is a future, which else would be moved about with room for it.
    pub(crate) fn handle(
        self,
        mut request: Request<hyper::body::Incoming>,
        visit: Arc<Visit>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let version = request.version();
        let (parts, body) = request.into_parts();
        visit.handle_head(version, body.is_end_stream());
        let (body, fate) = RequestBody::new(body, self.inner.body_limits(), Arc::clone(&visit));
        let mut record = Record::new(&self.inner.metrics, self.inner.log.as_ref(), Arc::clone(&fate));
        record.request(&visit.origin, &parts.method, &parts.uri, version);
        let head = request::head(parts, &visit.origin, self.inner.config.timeout());
        let id = head.as_ref().ok().and_then(|head| head.headers.get(headers::REQUEST_ID).cloned());
        let head = head.and_then(|head| if body.is_too_large() { Err(Problem::BodyTooLarge) } else { Ok(head) });
        let job = head.map(|head| Job { inner: self.inner, head, fate, upgrade, visit: Arc::clone(&visit) });
        async move {
            let result = match job {
                Ok(mut job) => job.run(body).await,
                Err(problem) => Err(problem),
            };
            Ok(answer(result, record, visit, id, version))
        }
    }
}

/// A request on its way.
struct Job {
    inner: Arc<Inner>,
    head: RequestHead,
    fate: Arc<Fate>,
    upgrade: Option<OnUpgrade>,
    visit: Arc<Visit>,
}

/// What was tried in vain.
#[derive(Debug, Default)]
struct Tries {
    lost: u32,
    /// Since when there is no place.
    refused: Option<Instant>,
}

impl Job {
    async fn run(&mut self, body: RequestBody) -> Result<Answer, Problem> {
        let deadline = Instant::now() + Duration::from_millis(self.head.patience_ms);
        let mut body = Some(body);
        let begun = self.visit.until(deadline, pin!(self.begin(&mut body))).await;
        let (exchange, head) = begun.unwrap_or(Err(Problem::Deadline))?;
        let worker = exchange.worker().to_owned();
        let cookie = self.cookie_for(&worker);
        let mut response = if head.status == StatusCode::SWITCHING_PROTOCOLS {
            self.switch(exchange, head)?
        } else {
            exchange.into_response(head).map(Source::Worker)
        };
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        headers::strip_hop_by_hop(response.headers_mut(), is_tunnel);
        if let Some(cookie) = cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(Answer { worker, response })
    }

    /// Tries until a worker answers.
    async fn begin(&self, body: &mut Option<RequestBody>) -> Result<(Exchange, ResponseHead), Problem> {
        let mut first = self.opening(body).await?;
        let (mut stored, mut tries) = (None, Tries::default());
        loop {
            let taken = self.choose().await?;
            // A deadline of the worker's own holds for it alone: the next one has another.
            let own = Duration::from_millis(taken.0.announcement.timeout_ms);
            if self.wants_store(&first)
                && let Some(body) = body.take()
            {
                // It takes room, and is rare.
                stored = Some(Arc::new(Box::pin(self.store(&taken, &mut first, body)).await?));
            }
            let exchange = Exchange::new(taken, self.inner.packing, self.inner.relay.as_ref());
            let Some(mut exchange) = exchange else { return Err(Problem::NoWorker) };
            exchange.keep(stored.as_ref());
            let attempt = pin!(self.attempt(exchange, &first, body));
            let result = if own.is_zero() {
                attempt.await
            } else {
                tokio::time::timeout(own, attempt).await.map_err(|_| Problem::Deadline)?
            };
            match result {
                Ok(begun) => return Ok(begun),
                // A body that was sent is gone.
                Err(failure) => self.again(failure, first.end || self.head.upgrade, &mut tries).await?,
            }
        }
    }

    /// Whether to try once more, after a while if there is nobody else; the problem, if not.
    async fn again(&self, failure: Failure, is_whole: bool, tries: &mut Tries) -> Result<(), Problem> {
        if let Some(problem) = self.fate.problem() {
            return Err(problem);
        }
        let config = &self.inner.config;
        let may_again = match failure {
            // Nothing of it was done. Another router has the worker's last place, most likely.
            Failure::Refused => {
                let since = *tries.refused.get_or_insert_with(Instant::now);
                tokio::time::sleep(REFUSED_PAUSE).await;
                since.elapsed() < seconds(config.queue_seconds)
            }
            Failure::Lost => {
                tries.lost += 1;
                self.head.method.is_idempotent() && tries.lost < config.attempts
            }
            Failure::Failed | Failure::Nonsense => false,
        };
        if !may_again || !is_whole {
            return Err(failure.into());
        }
        self.inner.metrics.retries.inc();
        Ok(())
    }

    async fn opening(&self, body: &mut Option<RequestBody>) -> Result<Opening, Problem> {
        // What follows an upgrade's head is not read here.
        if self.head.upgrade {
            return Ok(Opening::default());
        }
        let Some(body) = body else { return Ok(Opening::default()) };
        opening(Pin::new(body)).await.map_err(|_| self.fate.problem().unwrap_or(Problem::Malformed("the body")))
    }

    fn wants_store(&self, first: &Opening) -> bool {
        let wanted = |relay: &Relay| relay.wants(headers::content_length(&self.head.headers));
        !first.relay && !self.head.upgrade && self.inner.relay.as_ref().is_some_and(wanted)
    }

    /// Puts a large body into the store; then only its name is sent.
    async fn store(&self, taken: &Taken, first: &mut Opening, mut body: RequestBody) -> Result<Kept, Problem> {
        let relay = self.inner.relay.as_ref().ok_or(Problem::Store)?;
        let name = object_name(&taken.0.announcement.id, &self.inner.name, "request");
        let kept = Kept::new(relay.clone(), name);
        let put = relay.put(&kept.name, std::mem::take(first), Pin::new(&mut body)).await;
        put.map_err(|_| self.fate.problem().unwrap_or(Problem::Store))?;
        *first = Opening::stored(&kept.name);
        Ok(kept)
    }

    async fn attempt(
        &self,
        mut exchange: Exchange,
        first: &Opening,
        body: &mut Option<RequestBody>,
    ) -> Result<(Exchange, ResponseHead), Failure> {
        // A copy of references: the data is there for another try.
        let mut copy = first.clone();
        let is_all = exchange.begin(&self.head, &mut copy).await?;
        if !is_all && !self.head.upgrade {
            exchange.pump(copy, body.take().filter(|_| !first.end));
        }
        match exchange.answer().await {
            Ok(head) => Ok((exchange, head)),
            Err(failure) => {
                exchange.note_failure();
                Err(failure)
            }
        }
    }

    async fn choose(&self) -> Result<Taken, Problem> {
        match self.look() {
            Choice::Taken(taken) => return Ok(taken),
            Choice::Nobody => return Err(self.nobody()),
            Choice::Busy => {}
        }
        let _place = self.inner.wait_in_queue()?;
        let give_up = Instant::now() + seconds(self.inner.config.queue_seconds);
        loop {
            // Made before the look, so that a place which comes between the look and the wait is not missed.
            let released = self.inner.released.notified();
            match self.look() {
                Choice::Taken(taken) => return Ok(taken),
                Choice::Nobody => return Err(self.nobody()),
                Choice::Busy => timeout_at(give_up, released).await.map_err(|_| Problem::Busy)?,
            }
        }
    }

    fn look(&self) -> Choice {
        let text = |name: &http::HeaderName| self.head.headers.get(name).and_then(|value| value.to_str().ok());
        let config = &self.inner.config;
        let ids = self.ids();
        let wanted = Wanted {
            ids: ids.as_deref(),
            host: text(&HOST).unwrap_or_default(),
            path: self.head.target.path(),
            method: self.head.method.as_str(),
            key: config.sticky_header.as_ref().and_then(|name| self.head.headers.get(name)?.to_str().ok()),
            worker: config.sticky_cookie.as_ref().and_then(|name| self.cookie(name)),
        };
        self.inner.registry.choose(&wanted, config.strategy)
    }

    /// The ids that the client asks for. Repeated fields are one list.
    fn ids(&self) -> Option<Cow<'_, str>> {
        let fields = self.head.headers.get_all(headers::FUYUU_IDS).into_iter();
        let mut fields = fields.filter_map(|field| field.to_str().ok()).filter(|field| !field.trim().is_empty());
        let first = fields.next()?;
        Some(fields.fold(Cow::Borrowed(first), |list, more| Cow::Owned(format!("{list},{more}"))))
    }

    fn nobody(&self) -> Problem {
        if self.ids().is_some() { Problem::UnknownId } else { Problem::NoWorker }
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let fields = self.head.headers.get_all(COOKIE).into_iter().filter_map(|field| field.to_str().ok());
        let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Tells the client which worker it has, unless it knows.
    fn cookie_for(&self, worker: &str) -> Option<HeaderValue> {
        let name = self.inner.config.sticky_cookie.as_ref()?;
        let is_known = self.cookie(name) == Some(worker);
        (!is_known).then(|| HeaderValue::from_str(&format!("{name}={worker}; Path=/; HttpOnly")).ok()).flatten()
    }

    /// The client goes on with another protocol: its bytes pass as they are.
    fn switch(&mut self, mut exchange: Exchange, head: ResponseHead) -> Result<Response<Source>, Problem> {
        let upgrade = self.upgrade.take().ok_or(Problem::Nonsense)?;
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let incoming = exchange.incoming().owned_by(tunnel::Kept);
            if tunnel::run(upgraded, incoming, &exchange.out()).await.is_ok() {
                exchange.complete();
            }
        });
        let mut response = Response::new(Source::Router(Full::default()));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }
}

impl Inner {
    fn body_limits(&self) -> BodyLimits {
        let most_bytes = self.config.max_body_bytes;
        BodyLimits { most_bytes, stall: seconds(self.config.body_stall_seconds) }
    }

    /// A place in the queue, if there is one.
    fn wait_in_queue(&self) -> Result<Place<'_>, Problem> {
        let permit = self.queue.try_acquire().map_err(|_| Problem::Busy)?;
        self.metrics.waiting.inc();
        Ok(Place { inner: self, _permit: permit })
    }
}

/// A place in the queue.
struct Place<'a> {
    inner: &'a Inner,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.inner.metrics.waiting.dec();
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost => Self::WorkerLost,
            Failure::Refused => Self::Busy,
            Failure::Failed => Self::WorkerFailed,
            Failure::Nonsense => Self::Nonsense,
        }
    }
}

/// Until a worker that had no place is asked again. It told that within a round trip, and answers take longer than this.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);
