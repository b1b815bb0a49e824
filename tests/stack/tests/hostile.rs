//! Datagrams that no honest peer sends: nothing panics, nothing grows, everything is counted.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests too")]

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use glue_endpoint::{Engine, Report};
use glue_net::{Node as _, Rng};
use glue_sim::{Fate, NodeId};
use glue_stack::child::{self, Child};
use glue_stack::live::{DEADLINE, Live, Site, connect, next};
use glue_stack::mixed::{GROUP, Mixed, Party};
use glue_stack::reference::Codec;
use glue_stack::scene::ms;
use proptest::prelude::*;
use proptest::sample::Index;

/// A live engine among two natives and one peer of each revision, after some traffic of all.
fn busy() -> (Mixed, NodeId, NodeId) {
    let (net, ours, other, _) = all_busy();
    (net, ours, other)
}

fn all_busy() -> (Mixed, NodeId, NodeId, [NodeId; 2]) {
    let mut net = Mixed::new(1);
    let (ours, other) = (net.engine("ours", GROUP), net.engine("other", GROUP));
    let classics = [net.plain("pack", Codec::MessagePack), net.plain("json", Codec::Json)];
    net.run(ms(2_100));
    for number in 0..3 {
        for node in [ours, other, classics[0], classics[1]] {
            net.publish(node, "t", "ty", Duration::from_secs(60), &vec![number; 1 + 5_000 * usize::from(number)]);
        }
        net.run(ms(20));
    }
    (net, ours, other, classics)
}

/// What an engine gets to hear in such a network, and what was captured of the reference.
fn honest() -> &'static [Bytes] {
    static HONEST: OnceLock<Vec<Bytes>> = OnceLock::new();
    HONEST.get_or_init(|| {
        let (net, ours, _) = busy();
        let heard = net.log().into_iter().filter(|seen| seen.receiver == Some(ours) && seen.fate == Fate::Delivered);
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../glue-net/tests/vectors");
        let mut files: Vec<_> = std::fs::read_dir(vectors).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
        files.sort();
        assert!(files.len() > 25, "{files:?}");
        let captured = files.iter().map(|path| Bytes::from(std::fs::read(path).unwrap()));
        let all: Vec<_> = heard.map(|seen| seen.datagram).chain(captured).collect();
        // One of each kind and length is enough.
        let mut seen = BTreeSet::new();
        all.into_iter().filter(|datagram| seen.insert((datagram[..2].to_vec(), datagram.len()))).collect()
    })
}

/// Bytes of one of the ways that ours can begin, or of none.
fn random() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        3 => Just(vec![0xc1]),
        1 => Just(vec![0xc1, 1]),
        1 => Just(vec![0xde, 0, 16]),
        1 => Just(vec![0x8f]),
        1 => Just(b"{".to_vec()),
        1 => Just(b"{\"".to_vec()),
        2 => Just(Vec::new()),
    ];
    let rest =
        prop_oneof![proptest::collection::vec(any::<u8>(), 0..80), proptest::collection::vec(any::<u8>(), 0..1_500)];
    (start, rest).prop_map(|(start, rest)| [start, rest].concat())
}

fn any_honest() -> impl Strategy<Value = Vec<u8>> {
    any::<Index>().prop_map(|index| index.get(honest()).to_vec())
}

fn truncated() -> impl Strategy<Value = Vec<u8>> {
    (any_honest(), any::<Index>()).prop_map(|(mut datagram, at)| {
        datagram.truncate(at.index(datagram.len()));
        datagram
    })
}

fn flipped() -> impl Strategy<Value = Vec<u8>> {
    (any_honest(), proptest::collection::vec((any::<Index>(), 0..8u8), 1..6)).prop_map(|(mut datagram, flips)| {
        for (at, bit) in flips {
            let at = at.index(datagram.len());
            datagram[at] ^= 1 << bit;
        }
        datagram
    })
}

fn oversized() -> impl Strategy<Value = Vec<u8>> {
    (any_honest(), any::<u8>(), 0..65_507usize).prop_map(|(mut datagram, fill, len)| {
        datagram.resize(len.max(datagram.len()), fill);
        datagram
    })
}

fn spliced() -> impl Strategy<Value = Vec<u8>> {
    (any_honest(), any_honest(), any::<Index>(), any::<Index>())
        .prop_map(|(front, back, at, from)| [&front[..at.index(front.len())], &back[from.index(back.len())..]].concat())
}

/// Everything that is counted.
fn counters(engine: &Engine) -> String {
    format!("{:?} {:?}", engine.report(), engine.report_peers())
}

fn hand(net: &mut Mixed, ours: NodeId, from: SocketAddr, datagram: &[u8]) {
    let datagram = Bytes::copy_from_slice(datagram);
    net.world.call(ours, |party, now| {
        let before = counters(party.engine());
        party.handle_datagram(now, from, datagram.clone());
        let after = counters(party.engine());
        assert!(before != after || is_known_hello(&datagram), "not counted: {datagram:02x?}\n{before}");
        assert_bounded(party);
    });
}

/// A hello that says nothing new is no event: it is repeated until it is answered.
fn is_known_hello(datagram: &Bytes) -> bool {
    use glue_net::wire::native::Datagram;
    matches!(Datagram::decode(datagram.clone()), Ok(Datagram::Hello { .. }))
}

fn assert_bounded(party: &mut Party) {
    let engine = party.engine();
    let Report { fragment, .. } = engine.report();
    assert!(engine.peers().count() <= 1_024);
    assert!(fragment.held_bytes <= 256 << 20 && fragment.partials <= 4 * 1_024, "{fragment:?}");
    let queued: usize = engine.report_peers().iter().map(|peer| peer.stats.queue_bytes).sum();
    assert!(queued < 1 << 20, "{queued} bytes are queued");
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    // The other native's, a reference peer's, ours, and a stranger's.
    let known = vec!["10.0.0.2:40000", "10.0.0.3:40000", "10.0.0.1:40000", "203.0.113.9:1"];
    proptest::sample::select(known).prop_map(|text| text.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// What no decoder takes: the engine works on as if nothing had come.
    #[test]
    fn noise_changes_nothing_but_counters(
        junk in proptest::collection::vec((addresses(), prop_oneof![random(), truncated()]), 1..40)
    ) {
        let (mut net, ours, other) = busy();
        for (from, datagram) in junk {
            hand(&mut net, ours, from, &datagram);
        }
        net.run(ms(50));
        let before = net.received(ours).len();
        for number in 0..5 {
            net.publish(other, "t", "ty", Duration::from_secs(5), &[number]);
        }
        net.run(Duration::from_secs(3));
        let got: Vec<_> = net.received(ours)[before..].iter().map(|message| message.payload.clone()).collect();
        prop_assert_eq!(got, [[0], [1], [2], [3], [4]]);
    }

    /// What a decoder may well take. Nobody is authenticated yet, so such a datagram may do what its sender could; but it
    /// can not hurt us.
    #[test]
    fn altered_datagrams_do_no_harm(
        junk in proptest::collection::vec((addresses(), prop_oneof![flipped(), oversized(), spliced()]), 1..40)
    ) {
        let (mut net, ours, _, classics) = all_busy();
        // An altered announcement may well send us to a reference peer with what kills it, and nobody could tell.
        classics.into_iter().for_each(|classic| net.world.crash(classic));
        for (from, datagram) in junk {
            hand(&mut net, ours, from, &datagram);
            net.run(ms(1));
        }
        net.run(Duration::from_secs(5));
        net.world.call(ours, |party, _| assert_bounded(party));
    }
}

/// Each of the bits of each kind of datagram, one at a time.
#[test]
fn no_single_flipped_bit_does_harm() {
    let (mut net, ours, _) = busy();
    let from = "10.0.0.2:40000".parse().unwrap();
    for datagram in honest() {
        // Behind the first 700 bytes is payload.
        for bit in 0..datagram.len().min(700) * 8 {
            let mut flipped = datagram.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = Bytes::from(flipped);
            net.world.call(ours, |party, now| party.handle_datagram(now, from, flipped));
        }
        net.run(ms(1));
    }
    net.run(Duration::from_secs(10));
    net.world.call(ours, |party, _| assert_bounded(party));
}

/// The same peer, with a thousand names, ids and addresses a second, for a while.
#[test]
fn invented_peers_are_bounded() {
    let (mut net, ours, other) = busy();
    let (_, template) = net.log().into_iter().filter(|s| s.sender.index() == 2).find_map(|s| s.read).unwrap();
    for number in 0..20_000u32 {
        let mut container = template.clone();
        container.source_name = format!("invented-{number}");
        container.source_id[16..].copy_from_slice(&number.to_be_bytes());
        let datagram = container.write(Codec::MessagePack);
        net.world.call(ours, |party, now| {
            party.handle_datagram(now, "203.0.113.9:1".parse().unwrap(), datagram.into());
            assert_bounded(party);
        });
        if number % 100 == 0 {
            net.run(ms(100));
        }
    }
    let report = net.world.call(ours, |party, _| party.engine().report()).unwrap();
    assert!(report.discovery.ignored_full > 1_000, "{report:?}");
    let before = net.received(ours).len();
    net.publish(other, "t", "ty", Duration::from_secs(5), b"still here");
    net.run(Duration::from_secs(1));
    assert_eq!(net.received(ours).len(), before + 1);
}

#[test]
fn a_million_random_datagrams_leave_a_live_endpoint_as_it_was() {
    let mut child = Child::start("million", &[], &[]);
    let told = child.line(Duration::from_secs(60)).expect("the child tells how it went");
    println!("{told}");
    assert!(told.starts_with("done"), "{told}");
}

/// What this binary does when [`Child::start`] has started it.
#[tokio::test]
#[ignore = "a part of the others"]
async fn child() {
    if child::role().as_deref() == Some("million") {
        million().await;
    }
}

async fn million() {
    let site = Site::new();
    let (mut publisher, subscriber) =
        (Live::start(site.multicast("pub")).await, Live::start(site.multicast("sub")).await);
    let mut subscription = subscriber.endpoint.subscribe("t", "ty").await.unwrap();
    publisher.up("sub").await;
    connect(&publisher.endpoint, "t", "ty", &mut subscription).await;
    let target = publisher.endpoint.peers()[0].info.clone();
    let data = SocketAddr::from(([127, 0, 0, 1], subscriber.endpoint.data_address().port()));
    let discovery = target.discovery.expect("a port for unicast discovery");

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = Rng::new(10);
    let mut bytes = vec![0; 1_400];
    let (mut start_rss, start) = (0, Instant::now());
    for round in 0..ROUNDS {
        for number in 0..PER_ROUND {
            let len = 1 + usize::try_from(rng.below(if number % 8 == 0 { 1_400 } else { 120 })).unwrap();
            rng.fill(&mut bytes[..len]);
            // Half of them get past the first look.
            bytes[0] =
                [0xc1, b'{', 0xde, 0x8f, bytes[0], bytes[0], bytes[0], 0xc1][usize::try_from(number % 8).unwrap()];
            let to = if number % 4 == 0 { discovery } else { data };
            socket.send_to(&bytes[..len], to).unwrap();
        }
        // It waits behind the junk in the same buffer: when it is there, that has been worked on.
        publisher.endpoint.publish("t", "ty", DEADLINE, &round.to_be_bytes()).await.unwrap();
        assert_eq!(*next(&mut subscription).await.payload, round.to_be_bytes());
        if round == ROUNDS / 20 {
            start_rss = rss();
        }
    }
    let (took, grown) = (start.elapsed(), rss().saturating_sub(start_rss));
    let report = subscriber.endpoint.stats();
    let refused = report.endpoint.malformed + report.transport.malformed + report.transport.unknown_token;
    let refused = refused + report.transport.stray_hellos;
    let sent = ROUNDS * PER_ROUND;
    // The data port loses none; the buffer of the discovery port is small.
    let is_good = refused >= sent / 4 * 3 && refused <= sent && grown < 16 << 20;
    let verdict = if is_good { "done" } else { "failed" };
    child::tell(&format!("{verdict}: {sent} sent, {refused} refused, grown by {} KiB, in {took:?}", grown >> 10));
}

const ROUNDS: u64 = 1_000;
const PER_ROUND: u64 = 1_000;

/// Resident memory, in bytes.
fn rss() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}
