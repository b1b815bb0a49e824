//! Parts that keep state, and what one peer may send them: a byte string of byte strings.

use std::time::Duration;

use glue_discovery::Discovery;
use glue_fragment::{Config, Fragment, Joined, Joiner};
use glue_net::wire::classic::{Announcement, Body, Codec, Container};
use glue_net::wire::native::Member;
use glue_net::{Chain, EndpointId, Instant, Interface, NetworkId, Payload, Rng};

use crate::cargos::{self, PEER, written};
use crate::decoders;
use crate::strings::{joined, strings};

/// Payloads.
pub(crate) fn joiner(bytes: &[u8]) -> bool {
    let (mut joiner, mut taken) = (Joiner::new(Config::default()), false);
    joiner.set_budget(1 << 20);
    for payload in strings(bytes) {
        let len = payload.len();
        if let Some(Joined::Whole { head, .. }) = joiner.handle_payload(Instant::ZERO, PEER, payload) {
            assert!(head.len() <= len.max(2_048), "a head is in one payload");
            taken = true;
        }
        assert!(joiner.held_bytes() <= 1 << 20, "{}", joiner.held_bytes());
    }
    joiner.handle_peer_gone(PEER);
    assert_eq!(joiner.held_bytes(), 0);
    taken
}

pub(crate) fn joiner_beginnings() -> Vec<Vec<u8>> {
    vec![joined(&payloads(1_000)), joined(&payloads(100))]
}

/// What an endpoint sends that subscribes and publishes, in payloads of about so many bytes.
fn payloads(room: usize) -> Vec<Vec<u8>> {
    let (now, mut all) = (Instant::ZERO, Vec::new());
    for (number, cargo) in (1..).zip(cargos::cargos()) {
        let mut rest = Fragment::new(number, cargo);
        loop {
            let (front, mut out) = (rest.cut(room), Chain::default());
            front.as_ref().unwrap_or(&rest).encode(now, &mut out);
            all.push(out.to_vec());
            if front.is_none() {
                break;
            }
        }
    }
    all
}

/// Heads and bodies in turn, of a peer that says anything to one that takes all there is. Then it is gone, and its will comes.
pub(crate) fn topics(bytes: &[u8]) -> bool {
    let (mut topics, mut now, mut taken) = (cargos::listener(), Instant::ZERO, false);
    let mut strings = strings(bytes);
    while let (Some(head), Some(body)) = (strings.next(), strings.next()) {
        topics.handle_cargo(now, PEER, head, body);
        taken |= cargos::settle(&mut topics, now);
        while topics.poll_cargo().is_some() {}
        now = now + Duration::from_millis(300);
        topics.handle_timeout(now);
    }
    topics.handle_peer_lost(now, PEER, true);
    taken |= cargos::settle(&mut topics, now);
    topics.handle_peer_gone(PEER);
    assert!(!topics.has_cargo(), "nothing is sent to who is gone");
    taken
}

pub(crate) fn topics_beginnings() -> Vec<Vec<u8>> {
    let strings: Vec<_> = cargos::cargos().iter().map(|cargo| written(cargo, Instant::ZERO)).collect();
    let each = strings.iter().map(|cargo| joined(cargo));
    each.chain([joined(&strings.concat())]).collect()
}

/// Announcements: containers, in the clear or of a member. From an even or odd address, as the first byte of each says.
pub(crate) fn discovery(bytes: &[u8]) -> bool {
    let mut config = glue_discovery::Config::new(EndpointId::from_integer(9), "us");
    config.data_port = 40_000;
    config.network = NETWORK;
    let mut discovery = Discovery::new(config, Rng::new(1), Instant::ZERO).expect("good settings");
    discovery.handle_interfaces(Instant::ZERO, vec![interface()]);
    let (mut now, mut out, mut met) = (Instant::ZERO, Vec::new(), false);
    for mut string in strings(bytes).filter(|string| !string.is_empty()) {
        let datagram = string.split_off(1);
        let from = ([10, 0, 0, 2 + string[0] % 2], 27_320).into();
        if let Ok(Some((member, container))) = Member::decode(datagram.clone()) {
            if let Ok((codec, container)) = Container::decode(&container) {
                discovery.handle_member(now, from, codec, (member, container));
            }
        } else if let Ok((codec, container)) = Container::decode(&datagram) {
            discovery.handle_announcement(now, from, codec, container);
        }
        while discovery.poll_event().is_some() {}
        while discovery.poll_transmit(now, &mut out).is_some() {}
        assert!(out.len() <= 64 << 10, "one datagram is not answered by many: {}", out.len());
        out.clear();
        now = now + Duration::from_millis(700);
        discovery.handle_timeout(now);
        met |= discovery.peers().next().is_some();
    }
    met
}

/// Two peers that come, move, pass each other on, and leave; in each codec; classic peers, and members.
pub(crate) fn discovery_beginnings() -> Vec<Vec<u8>> {
    let said = |from: u8, container: &Container, codec: Codec| {
        let mut out = vec![from];
        container.encode(codec, &mut out);
        out
    };
    let mut all = Vec::new();
    for (codec, first) in decoders::announcements() {
        let [mut second, mut moved, mut gone, mut old] = [(); 4].map(|()| first.clone());
        second.source_endpoint_id = EndpointId::from_integer(2);
        second.source_endpoint_name = "second".to_owned();
        change(&mut second, |it| (it.listen_addr, it.forwarded) = (Some(([10, 0, 0, 3], 40_001).into()), true));
        change(&mut moved, |it| it.listen_addr = Some(([10, 0, 0, 3], 40_002).into()));
        change(&mut gone, |it| it.native.iter_mut().for_each(|native| native.goodbye = true));
        change(&mut old, |it| it.native = None);
        let story = [said(0, &first, codec), said(0, &second, codec), said(1, &moved, codec), said(0, &gone, codec)];
        let mut member = vec![0];
        Member { key: [6; 32], count: 100 }.encode(&mut member);
        member.extend_from_slice(&said(0, &first, codec)[1..]);
        all.extend([joined(&story), joined(&[said(0, &old, codec)]), joined(&[member])]);
    }
    all
}

fn change(container: &mut Container, change: impl FnOnce(&mut Announcement)) {
    if let Body::Announcement(announcement) = &mut container.body {
        change(announcement);
    }
}

fn interface() -> Interface {
    let address = [10, 0, 0, 9].into();
    let discovery = Some((address, 27_320).into());
    Interface { index: 1, address, prefix: 24, discovery, multicast: true, mtu: Interface::ETHERNET_MTU }
}

/// That of the containers.
const NETWORK: NetworkId = NetworkId(3);
