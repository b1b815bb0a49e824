//! An upstream to try things out with: it answers the sender and broadcasts, in turn.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::time;
use crate::wire::proto::output_stream_request::{Broadcast, Target};
use crate::wire::proto::upstream_peer_service_server::{UpstreamPeerService, UpstreamPeerServiceServer};
use crate::wire::proto::{InputStreamRequest, LiveResult, OutputStreamRequest, ReadyResult};

/// How it behaves.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Behaviour {
    /// How long `ready` takes.
    pub ready_sleep: Duration,
    /// Send each message back to its sender, and nothing else.
    pub echo: bool,
    /// Acknowledge messages, and ask for events, which are logged.
    pub extended: bool,
}

/// Serves until it fails.
///
/// # Errors
/// What the transport says.
pub async fn serve(listener: TcpListener, behaviour: Behaviour) -> Result<(), tonic::transport::Error> {
    let service = UpstreamPeerServiceServer::new(Service { behaviour, count: Arc::default() });
    let incoming = Incoming(listener);
    tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
}

#[derive(Debug)]
struct Service {
    behaviour: Behaviour,
    count: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl UpstreamPeerService for Service {
    type bidirectionalStreamingStream = Conversation;
    type liveStream = Beats;

    async fn bidirectional_streaming(
        &self,
        request: Request<Streaming<InputStreamRequest>>,
    ) -> Result<Response<Self::bidirectionalStreamingStream>, Status> {
        let requests = request.into_inner();
        Ok(Response::new(Conversation { behaviour: self.behaviour.clone(), count: Arc::clone(&self.count), requests }))
    }

    async fn ready(&self, _: Request<()>) -> Result<Response<ReadyResult>, Status> {
        tokio::time::sleep(self.behaviour.ready_sleep).await;
        let extended = self.behaviour.extended;
        Ok(Response::new(ReadyResult {
            time: time::now(),
            ready: true,
            wants_events: extended,
            acknowledges: extended,
        }))
    }

    async fn live(&self, request: Request<Streaming<()>>) -> Result<Response<Self::liveStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let mut beats = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(())) = beats.message().await {
                if sender.send(Ok(LiveResult { time: time::now(), live: true })).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(Beats(receiver)))
    }
}

/// One stream: what comes, made into what goes.
struct Conversation {
    behaviour: Behaviour,
    count: Arc<AtomicU64>,
    requests: Streaming<InputStreamRequest>,
}

impl Stream for Conversation {
    type Item = Result<OutputStreamRequest, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(Ok(request)) = ready!(Pin::new(&mut self.requests).poll_next(context)) else {
                return Poll::Ready(None);
            };
            let reply = self.answer(request);
            if reply.target.is_some() || reply.acknowledged > 0 {
                return Poll::Ready(Some(Ok(reply)));
            }
        }
    }
}

impl Conversation {
    fn answer(&self, request: InputStreamRequest) -> OutputStreamRequest {
        let acknowledged = request.sequence;
        let reply = match request.event {
            Some(event) => {
                tracing::info!(client = request.client_uuid, ?event);
                OutputStreamRequest::default()
            }
            None => self.reply(request),
        };
        OutputStreamRequest { acknowledged, ..reply }
    }

    fn reply(&self, request: InputStreamRequest) -> OutputStreamRequest {
        let time = time::now();
        let sender = Target::ClientUuid(request.client_uuid.clone());
        if self.behaviour.echo {
            return OutputStreamRequest { time, target: Some(sender), payload: request.payload, ..Default::default() };
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::info!(client = request.client_uuid, bytes = request.payload.len(), number);
        let (target, payload) = if number % 2 == 1 {
            (sender, format!("Hello, {}: this was message {number}.\n", request.client_uuid))
        } else {
            (Target::Broadcast(Broadcast::All.into()), format!("To all: message {number} came.\n"))
        };
        OutputStreamRequest { time, target: Some(target), payload: Bytes::from(payload), ..Default::default() }
    }
}

/// What a task sends, as a stream.
struct Beats(mpsc::Receiver<Result<LiveResult, Status>>);

impl Stream for Beats {
    type Item = Result<LiveResult, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

struct Incoming(TcpListener);

impl Stream for Incoming {
    type Item = std::io::Result<tokio::net::TcpStream>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(context).map(|accepted| {
            Some(accepted.and_then(|(stream, _): (_, SocketAddr)| stream.set_nodelay(true).map(|()| stream)))
        })
    }
}
