//! Names on glue: topics, tokens and types that instances and upstreams meet by.

use glue_endpoint::EndpointId;
use uuid::Uuid;

/// The type of what goes to an upstream.
pub(crate) const INPUT: &str = "upstream.grpc.service.InputStreamRequest";

/// The type of what comes from an upstream, or from another instance.
pub(crate) const OUTPUT: &str = "upstream.grpc.service.OutputStreamRequest";

/// The names of one service: instances and upstreams of another do not meet them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) String);

impl Names {
    /// Held by an upstream that takes messages.
    pub(crate) fn upstream_token(&self, wants_events: bool) -> String {
        format!("{}/upstream/{}", self.0, if wants_events { EVENTS } else { "messages" })
    }

    pub(crate) fn upstream_tokens(&self) -> String {
        format!("{}/upstream/+", self.0)
    }

    /// Held by an instance.
    pub(crate) fn instance_token(&self, tag: u64) -> String {
        format!("{}/instance/{tag:016x}", self.0)
    }

    pub(crate) fn instance_tokens(&self) -> String {
        format!("{}/instance/+", self.0)
    }

    /// What an upstream gets.
    pub(crate) fn to_upstream(&self, upstream: EndpointId) -> String {
        format!("{}/to-upstream/{upstream}", self.0)
    }

    /// What an instance gets.
    pub(crate) fn to_instance(&self, tag: u64) -> String {
        format!("{}/to-instance/{tag:016x}", self.0)
    }

    /// What every instance gets.
    pub(crate) fn to_instances(&self) -> String {
        format!("{}/to-instances", self.0)
    }
}

/// The instance that holds such a token.
pub(crate) fn tag_of_token(token: &str) -> Option<u64> {
    u64::from_str_radix(token.rsplit('/').next()?, 16).ok()
}

/// Whether the upstream that holds such a token wants events.
pub(crate) fn wants_events(token: &str) -> bool {
    token.rsplit('/').next() == Some(EVENTS)
}

/// The instance that a client is connected to.
pub(crate) fn tag_of(client: Uuid) -> u64 {
    client.as_u64_pair().0
}

const EVENTS: &str = "events";
