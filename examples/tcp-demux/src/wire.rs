//! The protocol between us and an upstream: generated messages, and what they mean.

use bytes::Bytes;
use uuid::Uuid;

use crate::lane::{Sent, What};
use crate::time;

/// Messages, client and server, as generated from `proto/upstream.proto`.
#[expect(missing_docs, reason = "the .proto file documents it")]
#[expect(non_camel_case_types, unused_qualifications, reason = "generated")]
#[expect(
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod proto {
    tonic::include_proto!("upstream.grpc.service");
}

use proto::output_stream_request::{Broadcast, Target};
use proto::{Control, Event, InputStreamRequest, OutputStreamRequest, control, event};

/// What an upstream wants done, as it was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) audience: Audience,
    pub(crate) payload: Bytes,
    pub(crate) action: Option<Action>,
}

/// Whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Active,
    All,
    Client(Uuid),
    Group(String),
    NotActive,
}

/// What is done beside sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Close,
    Join(String),
    Leave(String),
}

/// The target is missing or makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl TryFrom<OutputStreamRequest> for Order {
    type Error = Malformed;

    fn try_from(request: OutputStreamRequest) -> Result<Self, Malformed> {
        let audience = match request.target {
            Some(Target::ClientUuid(uuid)) => Audience::Client(uuid.parse().map_err(|_| Malformed)?),
            Some(Target::Broadcast(broadcast)) => match Broadcast::try_from(broadcast) {
                Ok(Broadcast::All) => Audience::All,
                Ok(Broadcast::Active) => Audience::Active,
                Ok(Broadcast::NotActive) => Audience::NotActive,
                Err(_) => return Err(Malformed),
            },
            Some(Target::Group(group)) => Audience::Group(group),
            None => return Err(Malformed),
        };
        let action = match request.control.and_then(|control| control.action) {
            Some(control::Action::Close(true)) => Some(Action::Close),
            Some(control::Action::Join(group)) => Some(Action::Join(group)),
            Some(control::Action::Leave(group)) => Some(Action::Leave(group)),
            Some(control::Action::Close(false)) | None => None,
        };
        Ok(Self { audience, payload: request.payload, action })
    }
}

impl From<Order> for OutputStreamRequest {
    fn from(order: Order) -> Self {
        let target = match order.audience {
            Audience::Active => Target::Broadcast(Broadcast::Active.into()),
            Audience::All => Target::Broadcast(Broadcast::All.into()),
            Audience::Client(uuid) => Target::ClientUuid(uuid.to_string()),
            Audience::Group(group) => Target::Group(group),
            Audience::NotActive => Target::Broadcast(Broadcast::NotActive.into()),
        };
        let action = order.action.map(|action| match action {
            Action::Close => control::Action::Close(true),
            Action::Join(group) => control::Action::Join(group),
            Action::Leave(group) => control::Action::Leave(group),
        });
        let control = action.map(|action| Control { action: Some(action) });
        Self { time: time::now(), target: Some(target), payload: order.payload, control, acknowledged: 0 }
    }
}

impl From<Sent> for InputStreamRequest {
    fn from(sent: Sent) -> Self {
        let (payload, event) = match sent.what {
            What::Data(payload) => (payload, None),
            What::Connected => (Bytes::new(), Some((event::Kind::Connected, ""))),
            What::Disconnected(reason) => (Bytes::new(), Some((event::Kind::Disconnected, reason.name()))),
            What::Moved => (Bytes::new(), Some((event::Kind::Moved, ""))),
        };
        let event = event.map(|(kind, reason)| Event {
            kind: kind.into(),
            peer_address: sent.peer.to_string(),
            reason: reason.to_owned(),
        });
        Self {
            time: time::now(),
            client_uuid: sent.client.to_string(),
            payload,
            event,
            sequence: sent.sequence,
            redelivered: sent.redelivered,
        }
    }
}
