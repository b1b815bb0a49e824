//! Where a peer is, and whose a hello is.

use super::*;

const OTHER: PeerId = PeerId(9);

fn elsewhere() -> SocketAddr {
    ([10, 0, 0, 77], 5_000).into()
}

fn transport(end: usize) -> Transport<Note> {
    Transport::new(Config::default(), local(end), Rng::new(end as u64))
}

/// Takes out all that a transport has to send for so long. Returns where to, and the last of it.
fn run(transport: &mut Transport<Note>, from: Instant, time: Duration) -> (Vec<SocketAddr>, Vec<u8>) {
    let (mut out, mut to, mut last) = (Chain::default(), Vec::new(), Vec::new());
    let mut now = from;
    loop {
        while let Some(transmit) = transport.poll_transmit(now, &mut out) {
            to.push(transmit.to);
            last = out.to_vec();
            out.clear();
        }
        let Some(next) = transport.poll_timeout().filter(|at| *at <= from + time) else { return (to, last) };
        now = next.max(now);
        transport.handle_timeout(now);
    }
}

/// One that knows two peers, and the first hello of the first of them.
fn met() -> (Transport<Note>, Bytes) {
    let (mut us, mut peer) = (transport(0), transport(1));
    us.connect(Instant::ZERO, PEER, &remote(1));
    us.connect(Instant::ZERO, OTHER, &remote(2));
    peer.connect(Instant::ZERO, PEER, &remote(0));
    let (_, hello) = run(&mut peer, Instant::ZERO, Duration::ZERO);
    (us, hello.into())
}

/// Says hello in vain for `vain`, and then hears the first peer's from `from`. Returns where hellos go in the `time` after that.
fn after_a_hello_from(from: SocketAddr, vain: Duration, time: Duration) -> Vec<SocketAddr> {
    let (mut us, hello) = met();
    run(&mut us, Instant::ZERO, vain);
    let now = Instant::ZERO + vain;
    assert_eq!(us.handle_native(now, from, hello), Some(PEER));
    let (to, _) = run(&mut us, now, time);
    to
}

#[test]
fn who_hears_none_of_our_hellos_is_where_its_own_come_from() {
    let first = |vain| {
        let to = after_a_hello_from(elsewhere(), vain, Duration::ZERO);
        to.into_iter().find(|to| *to != address(2)).unwrap()
    };
    assert_eq!(first(SECOND * 30), elsewhere());
    assert_eq!(first(Duration::ZERO), address(1), "it may have heard the first");
}

#[test]
fn nobody_is_where_another_peer_is() {
    let to = after_a_hello_from(address(2), SECOND * 30, SECOND * 30);
    assert!(to.contains(&address(1)), "{to:?}");
}

#[test]
fn who_is_forgotten_takes_nobody_along() {
    let (mut us, hello) = met();
    us.disconnect(OTHER);
    assert_eq!(us.handle_native(Instant::ZERO, address(1), hello.clone()), Some(PEER));
    us.disconnect(PEER);
    assert_eq!(us.handle_native(Instant::ZERO, address(1), hello), None);
    assert_eq!(us.stats().stray_hellos, 1);
}
