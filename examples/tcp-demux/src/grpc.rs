//! Upstreams by gRPC: we are the client.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::hub::Hub;
use crate::lane::{Confirm, Lane, LaneConfig, Phase};
use crate::upstreams::{GrpcUpstream, State, Upstream, Wish};
use crate::wire::proto::upstream_peer_service_client::UpstreamPeerServiceClient;
use crate::wire::proto::{InputStreamRequest, LiveResult, ReadyResult};

type Client = UpstreamPeerServiceClient<Channel>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Keeps an upstream in use until it is to be removed.
pub(crate) async fn run(hub: Arc<Hub>, upstream: Arc<Upstream>, config: GrpcUpstream) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let wish = *upstream.wish.borrow();
        match wish {
            Wish::Remove => break,
            Wish::Drain => {
                upstream.state.send_replace(State::Draining);
                let _ = upstream.wish.subscribe().wait_for(|wish| *wish != Wish::Drain).await;
                continue;
            }
            Wish::Serve => {}
        }
        upstream.state.send_replace(State::Connecting);
        match serve(&hub, &upstream, &config).await {
            Ok(()) => backoff = FIRST_BACKOFF,
            Err(failure) => {
                hub.counters.upstream_failures.add(1);
                upstream.fail(failure.reason);
                upstream.state.send_replace(if failure.not_ready { State::NotReady } else { State::Away });
                if failure.has_served {
                    backoff = FIRST_BACKOFF;
                }
                tokio::select! { () = sleep(backoff) => {}, _ = upstream.dismissed() => {} }
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
    }
    hub.upstreams.remove(upstream.id);
}

/// Why an upstream is out of use.
#[derive(Debug)]
struct Failure {
    reason: String,
    not_ready: bool,
    has_served: bool,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, not_ready: false, has_served: false }
    }
}

/// Connects, checks, and opens the streams; returns when the upstream is not wanted any more, or fails.
async fn serve(hub: &Arc<Hub>, upstream: &Arc<Upstream>, config: &GrpcUpstream) -> Result<(), Failure> {
    let (passed, first_check) = oneshot::channel();
    let (failed, mut failures) = mpsc::channel(1);
    // Dropped with us, it ends.
    let mut checks = JoinSet::new();
    let begin = async {
        let client = connect(config).await?;
        checks.spawn(check(client.clone(), config.clone(), passed, failed.clone()));
        tokio::select! {
            Ok(ready) = first_check => Ok((client, ready)),
            Some(failure) = failures.recv() => Err(failure),
        }
    };
    let (client, ready) = tokio::select! {
        begun = begin => begun?,
        _ = upstream.dismissed() => return Ok(()),
    };
    let lanes = open_lanes(hub, upstream, config, &client, ready, &failed).await;
    upstream.state.send_replace(State::Ready);
    tracing::info!(upstream = upstream.name, streams = lanes.len(), "ready");
    let failure = tokio::select! {
        Some(failure) = failures.recv() => failure,
        _ = upstream.dismissed() => {
            upstream.state.send_replace(State::Draining);
            lanes.iter().for_each(|lane| hub.dispatch.close(lane));
            return Ok(());
        }
    };
    for lane in &lanes {
        hub.dispatch.close(lane);
        // One that is not ready may still answer.
        if !failure.not_ready {
            lane.fail();
        }
    }
    Err(Failure { has_served: true, ..failure })
}

async fn open_lanes(
    hub: &Arc<Hub>,
    upstream: &Upstream,
    config: &GrpcUpstream,
    client: &Client,
    ready: ReadyResult,
    failed: &mpsc::Sender<Failure>,
) -> Vec<Arc<Lane>> {
    let lane_config = LaneConfig {
        window: WINDOW_BYTES,
        confirm: if ready.acknowledges { Confirm::Acknowledged } else { config.confirm },
        wants_events: ready.wants_events,
    };
    let lanes: Vec<_> = (0..config.streams).map(|_| Lane::new(upstream.id, lane_config)).collect();
    for lane in &lanes {
        tokio::spawn(stream(Arc::clone(hub), client.clone(), Arc::clone(lane), failed.clone()));
        hub.open(lane).await;
    }
    lanes
}

async fn connect(config: &GrpcUpstream) -> Result<Client, Failure> {
    let host = if config.host.contains(':') { format!("[{}]", config.host) } else { config.host.clone() };
    let endpoint = Endpoint::from_shared(format!("http://{host}:{}", config.port))
        .map_err(|error| format!("bad address: {error}"))?
        .connect_timeout(config.ready_timeout)
        .tcp_nodelay(true);
    let channel = endpoint.connect().await.map_err(|error| format!("can not connect: {}", chain(&error)))?;
    Ok(Client::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

async fn ask_ready(client: &mut Client, config: &GrpcUpstream) -> Result<ReadyResult, Failure> {
    let asked = timeout(config.ready_timeout, client.ready(())).await;
    let result = asked
        .map_err(|_| format!("`ready` took longer than {:?}", config.ready_timeout))?
        .map_err(|status| format!("`ready` failed: {}", status.message()))?
        .into_inner();
    if result.ready {
        return Ok(result);
    }
    Err(Failure { reason: "it is not ready".to_owned(), not_ready: true, has_served: false })
}

/// Asks `ready` and `live` again and again. Tells when both were well for the first time, and when one is not.
async fn check(
    client: Client,
    config: GrpcUpstream,
    passed: oneshot::Sender<ReadyResult>,
    failed: mpsc::Sender<Failure>,
) {
    let mut passed = Some(passed);
    let mut pulse = Pulse::new(&client, &config);
    let mut client = client;
    let mut ticks = interval((config.alive_timeout / 3).clamp(LEAST_CHECK_INTERVAL, MOST_CHECK_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let failure = loop {
        ticks.tick().await;
        let result = match ask_ready(&mut client, &config).await {
            Ok(ready) => pulse.beat().await.map(|()| ready),
            Err(failure) => Err(failure),
        };
        match result {
            Ok(ready) => {
                if let Some(passed) = passed.take() {
                    let _ = passed.send(ready);
                }
            }
            Err(failure) => break failure,
        }
    };
    let _ = failed.send(failure).await;
}

/// The `live` call, which answers each message.
struct Pulse {
    timeout: Duration,
    beats: mpsc::Sender<()>,
    call: Option<BoxFuture<Result<tonic::Response<Streaming<LiveResult>>, Status>>>,
    answers: Option<Streaming<LiveResult>>,
}

impl Pulse {
    fn new(client: &Client, config: &GrpcUpstream) -> Self {
        let (beats, receiver) = mpsc::channel(1);
        let mut client = client.clone();
        // A server may send its headers with its first answer only, so this ends when that comes.
        let call: BoxFuture<_> = Box::pin(async move { client.live(Beats(receiver)).await });
        Self { timeout: config.alive_timeout, beats, call: Some(call), answers: None }
    }

    /// Asks once. A service that has no `live` is well as long as it is ready.
    async fn beat(&mut self) -> Result<(), Failure> {
        match timeout(self.timeout, self.ask()).await {
            Err(_) => Err(format!("`live` was not answered for {:?}", self.timeout).into()),
            Ok(Ok(Some(LiveResult { live: true, .. }))) => Ok(()),
            Ok(Ok(Some(_))) => Err("it says that it is not alive".to_owned().into()),
            Ok(Ok(None)) => Err("it ended `live`".to_owned().into()),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Ok(()),
            Ok(Err(status)) => Err(format!("`live` failed: {}", status.message()).into()),
        }
    }

    async fn ask(&mut self) -> Result<Option<LiveResult>, Status> {
        if self.answers.is_none() && self.call.is_none() {
            return Err(Status::unimplemented(""));
        }
        let _ = self.beats.send(()).await;
        if let Some(call) = &mut self.call {
            let response = call.await;
            self.call = None;
            self.answers = Some(response?.into_inner());
        }
        match &mut self.answers {
            Some(answers) => answers.message().await,
            None => Err(Status::unimplemented("")),
        }
    }
}

/// One bidirectional stream, to its end.
async fn stream(hub: Arc<Hub>, client: Client, lane: Arc<Lane>, failed: mpsc::Sender<Failure>) {
    let mut exchange = pin!(exchange(&hub, client, &lane));
    tokio::select! {
        reason = &mut exchange => {
            lane.fail();
            let _ = failed.try_send(Failure::from(reason));
        }
        () = lane.reached(Phase::Closed) => tokio::select! {
            // What was sent before is still answered and acknowledged.
            _ = &mut exchange => {}
            () = lane.reached(Phase::Failed) => {}
            () = sleep(DRAIN_TIMEOUT) => {}
            () = settled(&lane) => {}
        },
    }
    hub.retire(&lane).await;
}

/// Waits until all is settled, if the upstream confirms at all.
async fn settled(lane: &Lane) {
    if lane.config.confirm == Confirm::Sent {
        std::future::pending::<()>().await;
    }
    poll_fn(|context| lane.poll_settled(context)).await;
}

/// Sends what comes on the lane and does what the upstream says, until one of them has no more. Returns why.
async fn exchange(hub: &Arc<Hub>, mut client: Client, lane: &Arc<Lane>) -> String {
    let outbound = Outbound { hub: Arc::clone(hub), lane: Arc::clone(lane), was_empty: false };
    let mut inbound = match client.bidirectional_streaming(outbound).await {
        Ok(response) => response.into_inner(),
        Err(status) => return format!("the stream failed: {}", status.message()),
    };
    let mut settings = hub.settings_view();
    loop {
        match inbound.message().await {
            Ok(Some(request)) => {
                if let Some(order) = hub.note(lane, request) {
                    hub.obey(settings.now(), order).await;
                }
            }
            Ok(None) => return "it ended the stream".to_owned(),
            Err(status) => return format!("the stream failed: {}", status.message()),
        }
    }
}

/// What we send on a stream.
struct Outbound {
    hub: Arc<Hub>,
    lane: Arc<Lane>,
    /// There was nothing on the lane when it was looked at last.
    was_empty: bool,
}

impl Stream for Outbound {
    type Item = InputStreamRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<InputStreamRequest>> {
        if std::mem::take(&mut self.was_empty) {
            // The first message wakes us, and tokio runs us before all else. After the other sockets that are ready have had
            // their turn there are more messages, which then need one frame and one system call.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(next) = self.lane.poll_next(context) else {
            self.was_empty = true;
            return Poll::Pending;
        };
        if let Some(sent) = &next {
            self.hub.counters.messages_forwarded.add(1);
            if sent.gave_room {
                self.hub.dispatch.has_room();
            }
        }
        Poll::Ready(next.map(InputStreamRequest::from))
    }
}

/// What we send on `live`.
struct Beats(mpsc::Receiver<()>);

impl Stream for Beats {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.poll_recv(context)
    }
}

/// An error and what caused it: tonic's own says little.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Between tries to reach an upstream: at first, doubling, at most.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// A third of `alive_timeout`, within these.
const LEAST_CHECK_INTERVAL: Duration = Duration::from_millis(20);
const MOST_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// How long an upstream that gets nothing more may take to settle what it has.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of messages on a stream that may be unsettled. It covers 100 MiB/s at a round trip of 10 ms.
pub(crate) const WINDOW_BYTES: u32 = 1 << 20;

/// Of a message from an upstream; more than clients may send, and room for its other fields.
const MAX_MESSAGE_BYTES: usize = 17 << 20;
