//! Tells which peers come and go.

use glue_endpoint::{Endpoint, EndpointId, Notice, Notices};

use crate::failure::Failure;
use crate::output::{Line, Output, Peer, WireName};

#[derive(Debug)]
pub(crate) struct Peers {
    output: Output,
    notices: Notices,
}

impl Peers {
    pub(crate) fn watch(endpoint: &Endpoint, output: Output) -> Self {
        Self { output, notices: endpoint.events() }
    }

    /// Waits for a peer to come or go, and prints it; those that are there already come first. Returns the id of one
    /// that came.
    ///
    /// Cancel safe: nothing is taken before it is printed.
    pub(crate) async fn next(&mut self) -> Result<Option<EndpointId>, Failure> {
        let Some(notice) = self.notices.recv().await else { return std::future::pending().await };
        match notice {
            Notice::PeerUp { name, id, native, .. } => {
                self.output.print(&Line::PeerUp(peer(&name, id, native)))?;
                Ok(Some(id))
            }
            Notice::PeerDown { name, id, native, .. } => {
                self.output.print(&Line::PeerDown(peer(&name, id, native)))?;
                Ok(None)
            }
            Notice::Refused { address, why } => {
                tracing::warn!("a datagram from {address} is refused: {why}");
                Ok(None)
            }
            other => {
                tracing::warn!("{other:?}");
                Ok(None)
            }
        }
    }
}

fn peer(name: &str, id: EndpointId, native: bool) -> Peer<'_> {
    let wire = if native { WireName::Native } else { WireName::Classic };
    Peer { name: name.into(), id: id.to_string(), wire }
}
