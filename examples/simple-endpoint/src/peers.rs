//! Tells which peers come and go.

use std::collections::{BTreeMap, BTreeSet};

use glue_endpoint::{Endpoint, EndpointId, Notice, Notices, Wire};

use crate::failure::Failure;
use crate::output::{Line, Output, Peer, WireName};

#[derive(Debug)]
pub(crate) struct Peers {
    output: Output,
    notices: Notices,
    wires: BTreeMap<EndpointId, WireName>,
    /// They were there before the notices began, or came just then, and so may be told twice.
    early: BTreeSet<EndpointId>,
}

impl Peers {
    /// Prints the peers that are there already.
    pub(crate) fn watch(endpoint: &Endpoint, output: Output) -> Result<Self, Failure> {
        let notices = endpoint.events();
        let mut peers = Self { output, notices, wires: BTreeMap::new(), early: BTreeSet::new() };
        for report in endpoint.peers() {
            let info = report.info;
            peers.up(&info.name, info.id, matches!(info.wire, Wire::Native { .. }))?;
            peers.early.insert(info.id);
        }
        Ok(peers)
    }

    /// Waits for a peer to come or go, and prints it. Returns the id of one that came.
    ///
    /// Cancel safe: nothing is taken before it is printed.
    pub(crate) async fn next(&mut self) -> Result<Option<EndpointId>, Failure> {
        let Some(notice) = self.notices.recv().await else { return std::future::pending().await };
        match notice {
            Notice::PeerUp { id, .. } if self.early.remove(&id) => Ok(None),
            Notice::PeerUp { name, id, native, .. } => {
                self.up(&name, id, native)?;
                Ok(Some(id))
            }
            Notice::PeerDown { name, id, .. } => {
                self.early.remove(&id);
                let wire = self.wires.remove(&id).unwrap_or(WireName::Classic);
                self.output.print(&Line::PeerDown(Peer { name: name.into(), id: id.to_string(), wire }))?;
                Ok(None)
            }
            other => {
                tracing::warn!("{other:?}");
                Ok(None)
            }
        }
    }

    fn up(&mut self, name: &str, id: EndpointId, native: bool) -> Result<(), Failure> {
        let wire = if native { WireName::Native } else { WireName::Classic };
        self.wires.insert(id, wire);
        Ok(self.output.print(&Line::PeerUp(Peer { name: name.into(), id: id.to_string(), wire }))?)
    }
}
