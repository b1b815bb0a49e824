//! Which sockets there are, and which groups they are in. Pure but for the sockets' own state.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::socket::Socket;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    sockets: HashMap<Uuid, Entry>,
    groups: BTreeMap<String, BTreeSet<Uuid>>,
}

#[derive(Debug)]
struct Entry {
    socket: Arc<Socket>,
    groups: Vec<String>,
}

/// A socket can not join one more group, or one of such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinRefused;

impl Directory {
    pub(crate) fn insert(&mut self, socket: Arc<Socket>) {
        self.sockets.insert(socket.id, Entry { socket, groups: Vec::new() });
    }

    pub(crate) fn remove(&mut self, id: Uuid) {
        let groups = self.sockets.remove(&id).map(|entry| entry.groups).unwrap_or_default();
        groups.iter().for_each(|group| self.forget(id, group));
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&Arc<Socket>> {
        self.sockets.get(&id).map(|entry| &entry.socket)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Socket>> {
        self.sockets.values().map(|entry| &entry.socket)
    }

    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    pub(crate) fn groups_of(&self, id: Uuid) -> &[String] {
        self.sockets.get(&id).map_or(&[], |entry| &entry.groups)
    }

    pub(crate) fn members(&self, group: &str) -> impl Iterator<Item = &Arc<Socket>> {
        self.groups.get(group).into_iter().flatten().filter_map(|id| self.get(*id))
    }

    /// Has a socket join a group. One that is in it already, or is not there, changes nothing.
    pub(crate) fn join(&mut self, id: Uuid, group: &str) -> Result<(), JoinRefused> {
        let Some(entry) = self.sockets.get_mut(&id) else { return Ok(()) };
        if entry.groups.iter().any(|name| name == group) {
            return Ok(());
        }
        if entry.groups.len() >= MAX_GROUPS_PER_SOCKET || !(1..=MAX_GROUP_BYTES).contains(&group.len()) {
            return Err(JoinRefused);
        }
        entry.groups.push(group.to_owned());
        self.groups.entry(group.to_owned()).or_default().insert(id);
        Ok(())
    }

    pub(crate) fn leave(&mut self, id: Uuid, group: &str) {
        if let Some(entry) = self.sockets.get_mut(&id) {
            entry.groups.retain(|name| name != group);
            self.forget(id, group);
        }
    }

    fn forget(&mut self, id: Uuid, group: &str) {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(&id);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
    }
}

/// Groups that one socket may be in: 10,000 sockets then cost at most about 200 MiB for them.
pub(crate) const MAX_GROUPS_PER_SOCKET: usize = 64;

/// Bytes of a group's name.
pub(crate) const MAX_GROUP_BYTES: usize = 256;
