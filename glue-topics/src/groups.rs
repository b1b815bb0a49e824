//! Groups of subscribers, of which one gets each message.
//!
//! A group is its members: a message that is published while there is none is not kept for it. Each message goes to the
//! member that has the fewest, at most [`crate::Config::member_window`] of them; the others wait here. A member tells when
//! its application is done with one. What a member has not done when it leaves, dies or stays out of reach goes to another,
//! or waits for one, until it expires. A member that returns one has no room: it gets no more than it has until it has done one, or
//! for a while, or messages would go to and fro as fast as the network bears.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use glue_net::{Chain, EndpointId, Incarnation, Instant, PeerId};
use glue_security::PublicKey;

use crate::batch::{Age, Batch};
use crate::bundle::{self, Found, Header, OpenBundle, Post};
use crate::calls::{CallId, Purpose};
use crate::filter::Filter;
use crate::letter::Sheet;
use crate::message::Source;
use crate::name::{EndpointName, TopicName, TypeName};
use crate::publications::PublicationId;
use crate::topics::Topics;

/// Who has published a share.
type Publisher = (EndpointId, Incarnation, EndpointName, Option<PublicKey>);

/// The groups that have members, or messages that are not done.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<Arc<str>, Group>,
    /// Changes with every group that comes or goes.
    version: u64,
    /// Messages that are not done, and their bytes.
    count: usize,
    bytes: usize,
    /// A publisher waits for room.
    short: bool,
}

#[derive(Debug)]
struct Group {
    filter: Filter,
    /// Messages that no member has, in the order in which they were published.
    waiting: BTreeSet<CallId>,
    /// Messages that are not done.
    count: usize,
}

impl Groups {
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        !self.groups.is_empty()
    }

    /// A message of a group is over.
    pub(crate) fn forget(&mut self, name: &str, id: CallId, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
        if let Some(group) = self.groups.get_mut(name) {
            group.waiting.remove(&id);
            group.count -= 1;
        }
    }
}

impl Topics {
    /// Whether a message of `len` bytes may be published on a topic as far as its groups are concerned. Otherwise they have
    /// much that is not done, and a member that can be reached, so that it is worth waiting: until
    /// [`Topics::take_share_room`] says so.
    #[inline]
    pub fn has_share_room(&mut self, id: PublicationId, len: usize) -> bool {
        !self.calls.groups.is_any() || self.fits_shares(len) || !self.can_wait(id)
    }

    #[cold]
    fn can_wait(&mut self, id: PublicationId) -> bool {
        let Some(publication) = self.publications.get(id) else { return false };
        let topic = &publication.source.topic_name;
        let mut matching = self.calls.groups.groups.iter().filter(|(_, group)| group.filter.matches(topic));
        let can_wait = matching.any(|(name, _)| self.has_reachable(name));
        self.calls.groups.short |= can_wait;
        can_wait
    }

    /// Whether publishers that waited for room may go on.
    #[inline]
    pub fn take_share_room(&mut self) -> bool {
        let groups = &self.calls.groups;
        let has_room = groups.short
            && groups.count <= self.config.max_shares / 2
            && groups.bytes <= self.config.max_share_bytes / 2;
        self.calls.groups.short &= !has_room;
        has_room
    }

    fn fits_shares(&self, len: usize) -> bool {
        let groups = &self.calls.groups;
        let fits = groups.count < self.config.max_shares && groups.bytes + len <= self.config.max_share_bytes;
        fits || groups.count == 0
    }

    fn has_reachable(&self, name: &str) -> bool {
        let peer = |peer| self.peers.get(&peer).is_some_and(|peer| peer.reachable && peer.served);
        self.calls.offers.of(name).any(|(place, _)| place.peer.is_none_or(peer))
    }

    /// Somebody is a member of a group.
    pub(crate) fn open_group(&mut self, name: &str, filter: Filter) {
        let group = Group { filter, waiting: BTreeSet::new(), count: 0 };
        self.calls.groups.groups.entry(name.into()).or_insert(group);
        self.calls.groups.version += 1;
        self.dispatch(name);
    }

    /// A member of a group is gone, or a message is done.
    pub(crate) fn review_group(&mut self, name: &str) {
        let is_over = self.calls.groups.groups.get(name).is_some_and(|group| group.count == 0);
        if is_over && self.calls.offers.of(name).next().is_none() {
            self.calls.groups.groups.remove(name);
            self.calls.groups.version += 1;
        }
        self.dispatch(name);
    }

    /// Gives a message that is published to each group that wants it.
    #[cold]
    pub(crate) fn share(&mut self, id: PublicationId, post: &Post<'_>) {
        let (groups, Some(publication)) = (&self.calls.groups, self.publications.get_mut(id)) else { return };
        if publication.without_groups == Some(groups.version) {
            return;
        }
        let source = Arc::clone(&publication.source);
        let matching = groups.groups.iter().filter(|(_, group)| group.filter.matches(&source.topic_name));
        // A walk over all groups is for topics that have one.
        publication.without_groups = matching.clone().next().is_none().then_some(groups.version);
        let fits = |other: &TypeName| other.takes(&source.topic_type);
        let matching = matching.filter(|(name, _)| self.calls.offers.of(name).any(|(_, offer)| fits(&offer.type_name)));
        let matching: Vec<Arc<str>> = matching.map(|(name, _)| Arc::clone(name)).collect();
        if matching.is_empty() {
            return;
        }
        let names = bundle::names(&source.topic_name, &source.topic_type);
        let bundle = OpenBundle::new(post, &names, post.payload.len(), &self.outputs.bundles);
        let content = bundle.close(source.topic_name.clone()).content;
        let mut chain = Chain::default();
        content.append_to(0..content.len(), &mut chain);
        let sheet = Sheet::new(chain.to_vec().into(), &self.outputs.bundles);
        for name in matching {
            self.make_share_room(sheet.body.len());
            self.stats.shares += 1;
            let id = CallId(self.calls.next());
            let groups = &mut self.calls.groups;
            (groups.count, groups.bytes) = (groups.count + 1, groups.bytes + sheet.body.len());
            if let Some(group) = groups.groups.get_mut(&name) {
                group.count += 1;
                group.waiting.insert(id);
            }
            let what = (Arc::clone(&sheet), post.now + post.expiry);
            self.insert_call(id, Arc::clone(&name), source.topic_type.clone(), Purpose::Share, what);
            self.dispatch(&name);
        }
    }

    /// Drops the oldest that no member has, until there is room: who can wait has done so before.
    fn make_share_room(&mut self, len: usize) {
        while !self.fits_shares(len) {
            let oldest = self.calls.groups.groups.values().filter_map(|group| group.waiting.first()).min().copied();
            let Some(oldest) = oldest else { return };
            self.stats.shares_dropped += 1;
            self.remove_call(oldest);
        }
    }

    /// Peers may be members that can be reached again.
    pub(crate) fn dispatch_all(&mut self) {
        let names: Vec<Arc<str>> = self.calls.groups.groups.keys().cloned().collect();
        names.iter().for_each(|name| self.dispatch(name));
    }

    /// Gives what waits to members that have room.
    fn dispatch(&mut self, name: &str) {
        let mut after = None;
        while let Some(group) = self.calls.groups.groups.get(name) {
            let mut rest = group.waiting.iter().filter(|id| after.is_none_or(|after| **id > after));
            let Some(id) = rest.next().copied() else { return };
            after = Some(id);
            let Some((_, type_name)) = self.share_of(id) else { return };
            let places: Vec<_> = self.places(name, &type_name, &BTreeSet::new());
            let window = self.config.member_window;
            let free = places.iter().filter(|(place, _)| self.calls.offers.has_room(*place, window));
            let free: Vec<_> = free.copied().collect();
            let Some(place) = self.least_loaded(&free) else {
                // Members of another type may have room for what comes after.
                if places.is_empty() { continue } else { return }
            };
            if let Some(group) = self.calls.groups.groups.get_mut(name) {
                group.waiting.remove(&id);
            }
            self.direct(id, &[place]);
        }
    }

    /// A member has not done a message, and will not: it goes to another. False: it is no group's.
    pub(crate) fn take_back(&mut self, leg: u64) -> bool {
        let Some(id) = self.call_of(leg) else { return false };
        let Some((name, _)) = self.share_of(id) else { return false };
        self.drop_leg(leg);
        if let Some(group) = self.calls.groups.groups.get_mut(&name) {
            group.waiting.insert(id);
        }
        self.dispatch(&name);
        true
    }

    /// A member has done a message.
    pub(crate) fn handle_share_done(&mut self, from: Option<PeerId>, leg: u64) {
        let Some(id) = self.call_at(from, leg).filter(|id| self.is_share(*id)) else {
            self.stats.stale_answers += 1;
            return;
        };
        self.stats.shares_done += 1;
        self.calls.note_done(leg);
        self.drop_leg(leg);
        self.end_share(id);
    }

    /// Forgets a group's message, and makes use of the room.
    pub(crate) fn end_share(&mut self, id: CallId) {
        let name = self.share_of(id).map(|(name, _)| name);
        self.remove_call(id);
        if let Some(name) = name {
            self.review_group(&name);
        }
    }

    /// Reads a share that arrived, or that stays here; `None`: malformed.
    pub(crate) fn read_share(
        &self,
        from: Option<PeerId>,
        (endpoint_id, incarnation, endpoint_name, public_key): Publisher,
        body: &Bytes,
        deadline: Instant,
    ) -> Option<Batch> {
        let header = Header::read(body)?;
        if bundle::find(1, header.messages) != Found::All {
            return None;
        }
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let topic_name = TopicName::new(text(header.topic)?, self.config.max_topic_bytes).ok()?;
        let topic_type = TypeName::new(text(header.type_name)?, self.config.max_type_bytes).ok()?;
        let source = Source { endpoint_id, incarnation, endpoint_name, topic_name, topic_type, public_key };
        let source = Arc::new(source);
        // It lives until the deadline, whatever it says.
        let age = (deadline + header.expiry).since(deadline);
        Some(Batch::of_bundle(from, source, body, &header, Age { arrival: deadline, on_arrival: age }))
    }
}
