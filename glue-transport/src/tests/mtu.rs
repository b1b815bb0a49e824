//! Paths of many lengths, and such that become shorter.

use glue_net::Interface;

use super::*;

impl Pair {
    /// Both ends have an interface of this MTU.
    fn with_interface(mut self, mtu: u32) -> Self {
        self.interface_bytes = mtu as usize - 28;
        for (end, transport) in self.ends.iter_mut().enumerate() {
            let address = address(end).ip();
            let interface = Interface { index: 2, address, prefix: 24, discovery: None, multicast: true, mtu };
            transport.handle_interfaces(self.now, vec![interface]);
        }
        self
    }

    fn stats(&self) -> PeerStats {
        self.ends[0].peer_stats(PEER).unwrap()
    }

    /// The first end sends a note of 3,000 bytes at each interval.
    fn flow(&mut self, ids: std::ops::Range<u32>, interval: Duration) {
        for id in ids {
            self.ends[0].send(self.now, PEER, note(id, 3_000));
            self.run(interval);
        }
    }

    /// Asserts that exactly these notes arrived, each of their bytes once.
    fn assert_once(&self, ids: std::ops::Range<u32>) {
        self.assert_all(ids);
        assert!(self.whole(1).values().all(|len| *len == 3_000));
    }

    /// Asserts that exactly these notes arrived. The end of one that was cut to be sent again may come twice.
    fn assert_all(&self, ids: std::ops::Range<u32>) {
        let mut parts: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for (id, start, len, _) in &self.got[1] {
            parts.entry(*id).or_default().push((*start, *len));
        }
        assert!(parts.keys().copied().eq(ids.clone()), "{} of {ids:?}", parts.len());
        for (id, mut parts) in parts {
            parts.sort_unstable();
            let end = parts.iter().try_fold(0, |end, (start, len)| (*start <= end).then_some(end.max(start + len)));
            assert_eq!(end, Some(3_000), "note {id}: {parts:?}");
        }
        assert!(self.ends.iter().all(Transport::is_settled));
    }
}

const MS: Duration = Duration::from_millis(1);
const ROUND_TRIP: Duration = DELAY.saturating_mul(2);

#[test]
fn what_the_interface_allows_is_used_after_a_round_trip() {
    for (mtu, expected) in [(1_280, 1_252), (1_500, 1_472), (9_000, 8_972), (65_536, 8_972)] {
        let mut pair = Pair::new(1, &Config::default()).with_interface(mtu);
        pair.path_bytes = expected;
        pair.run(SECOND);
        assert_eq!(pair.stats().datagram_bytes, 1_200, "nothing was sent");
        pair.ends[0].send(pair.now, PEER, note(0, 3_000));
        pair.run(ROUND_TRIP + Config::default().max_ack_delay);
        assert_eq!((pair.stats().datagram_bytes, pair.stats().mtu_probes), (expected, 1));
        let opened = pair.events[0].iter().position(|event| *event == Event::Opened(PEER)).unwrap();
        assert!(pair.events[0][opened + 1..].contains(&Event::Resized(PEER)));
        pair.flow(1..100, MS);
        pair.run(SECOND);
        pair.assert_once(0..100);
        assert_eq!((pair.stats().mtu_probes, pair.stats().packets_lost), (1, 0));
    }
}

#[test]
fn a_path_shorter_than_the_interface_is_found() {
    for path in [1_200, 1_210, 1_300, 1_472, 4_000] {
        let mut pair = Pair::new(1, &Config::default()).with_interface(9_000);
        pair.path_bytes = path;
        pair.run(SECOND);
        // 60 round trips.
        pair.flow(0..240, MS);
        let stats = pair.stats();
        let found = stats.datagram_bytes;
        assert!(found <= path && path - found <= found / 32, "{found} of {path}");
        assert!(stats.mtu_probes <= 30, "{stats:?}");
        assert_eq!((stats.packets_lost, stats.payloads_resent), (0, 0), "nothing is lost with a probe");
        pair.run(SECOND);
        pair.assert_once(0..240);
        // The search rests.
        pair.flow(240..1_000, MS);
        assert_eq!(pair.stats().mtu_probes, stats.mtu_probes);
    }
}

#[test]
fn the_peers_and_our_own_limits_hold() {
    for (ours, theirs) in [(1_300, 65_507), (8_972, 1_300)] {
        let config = Config { max_datagram_bytes: ours, loopback_datagram_bytes: theirs, ..Config::default() };
        let mut pair = Pair::new(1, &config).with_interface(9_000);
        pair.path_bytes = 9_000;
        pair.run(SECOND);
        pair.flow(0..100, MS);
        assert_eq!(pair.stats().datagram_bytes, 1_300);
    }
}

#[test]
fn a_black_hole_is_left_and_nothing_is_lost() {
    for (seed, loss) in [(1, 0.0), (2, 0.05), (3, 0.2)] {
        for (before, after) in [(1_472, 1_252), (8_972, 1_472), (8_972, 1_200)] {
            let mut pair = Pair::new(seed, &Config::default()).with_interface(before as u32 + 28);
            (pair.path_bytes, pair.jitter) = (before, MS);
            pair.run(SECOND);
            pair.flow(0..100, MS);
            assert_eq!(pair.stats().datagram_bytes, before, "loss {loss}");
            (pair.path_bytes, pair.loss) = (after, loss);
            let changed = pair.now;
            let arrived = pair.got[1].len();
            while pair.got[1].len() < arrived + 100 {
                let next = pair.ends[0].peer_stats(PEER).unwrap();
                assert!(pair.now.since(changed) < SECOND, "{before} to {after}, loss {loss}: {next:?}");
                let id = 100 + pair.now.since(changed).as_millis() as u32;
                pair.flow(id..id + 1, MS);
            }
            println!("{before} to {after} at a loss of {loss}: resumed after {:?}", pair.now.since(changed));
            let sent = 100 + pair.now.since(changed).as_millis() as u32;
            pair.run(SECOND * 5);
            pair.assert_all(0..sent);
            assert!(pair.stats().black_holes >= 1);
            // After a pause the search finds what the path carries now.
            pair.loss = 0.0;
            pair.run(SECOND * 20);
            pair.flow(sent..sent + 500, MS);
            pair.run(SECOND * 5);
            pair.assert_all(0..sent + 500);
            let found = pair.stats().datagram_bytes;
            assert!(found <= after && after - found <= found / 32, "{found} of {after}, loss {loss}");
        }
    }
}

#[test]
fn random_loss_is_no_black_hole() {
    for (seed, loss) in [(1, 0.05), (2, 0.2), (3, 0.2), (4, 0.2)] {
        let mut pair = Pair::new(seed, &Config::default());
        (pair.loss, pair.jitter) = (loss, Duration::from_millis(1));
        pair.run(SECOND);
        let mut at_base = 0;
        // 60 s.
        for turn in 0..600 {
            pair.flow(turn * 20..(turn + 1) * 20, MS * 5);
            at_base += u32::from(pair.stats().datagram_bytes == 1_200);
        }
        println!("loss {loss}: {} black holes, {at_base} of 600 turns at the base", pair.stats().black_holes);
        assert!(at_base <= 60, "{at_base} turns at the base: {:?}", pair.stats());
        pair.run(SECOND * 5);
        pair.assert_once(0..12_000);
        assert!(pair.stats().datagram_bytes >= 1_400);
    }
}

#[test]
fn a_partition_is_no_black_hole() {
    let mut pair = Pair::new(1, &Config::default());
    pair.run(SECOND);
    pair.flow(0..100, MS);
    pair.cut = true;
    pair.flow(100..5_000, MS);
    pair.cut = false;
    pair.run(SECOND * 5);
    pair.assert_once(0..5_000);
    assert_eq!((pair.stats().datagram_bytes, pair.stats().black_holes), (1_472, 0));
}

#[test]
fn another_interface_begins_another_search() {
    let mut pair = Pair::new(1, &Config::default()).with_interface(9_000);
    pair.path_bytes = 9_000;
    pair.run(SECOND);
    pair.flow(0..100, MS);
    assert_eq!(pair.stats().datagram_bytes, 8_972);
    let mut pair = pair.with_interface(1_500);
    pair.path_bytes = 1_472;
    assert_eq!(pair.stats().datagram_bytes, 1_200);
    pair.flow(100..200, MS);
    assert_eq!(pair.stats().datagram_bytes, 1_472);
    pair.run(SECOND);
    pair.assert_once(0..200);
}

#[test]
fn what_is_lost_and_changes_its_form_takes_no_credit() {
    let config = Config { receive_window_bytes: 65_536, ..Config::default() };
    let mut pair = Pair::new(1, &config);
    pair.run(SECOND);
    // Each time a window of payloads is lost and expires.
    for turn in 0..20 {
        pair.cut = true;
        for id in 0..40 {
            let deadline = Some(pair.now + Duration::from_millis(50));
            pair.ends[0].send(pair.now, PEER, Note { deadline, ..note(turn * 100 + id, 1_000) });
        }
        pair.run(SECOND);
        pair.cut = false;
        pair.run(SECOND);
    }
    pair.flow(10_000..10_010, MS);
    pair.run(SECOND);
    assert_eq!(pair.whole(1).range(10_000..).count(), 10);
    assert_eq!(pair.ends[1].peer_stats(PEER).unwrap().over_credit, 0);
}
