//! A member of a private network that says anything: each datagram is sealed by the key that all have.

use std::time::Duration;

use glue_endpoint::{Event, History, Wish};
use glue_net::wire::native::ENVELOPE;
use glue_net::{Chain, Instant, NetworkId, Node, Via};
use glue_security::{Envelope, Random};

use crate::exchange::{GROUP, KEY, Side};
use crate::strings::{joined, strings};

/// What stands in the envelopes, one after the other.
pub(crate) fn insider(bytes: &[u8]) -> bool {
    let (mut side, mut envelope, mut now) = (side(2), envelope(), START);
    let from = side_address(1);
    let (mut out, mut met) = (Chain::default(), false);
    for datagram in strings(bytes) {
        let mut sealed = Vec::new();
        envelope.seal(&ENVELOPE, &datagram, &mut sealed);
        side.engine.handle_datagram(now, from, sealed.into());
        let mut sent = 0;
        while side.engine.poll_transmit(now, &mut out).is_some() {
            out.clear();
            sent += 1;
            assert!(sent < 1_000, "it never stops sending");
        }
        while let Some(event) = side.engine.poll_event() {
            met |= !matches!(event, Event::Refused { .. });
        }
        let memory = side.engine.memory();
        assert!(memory.peak <= memory.budget, "{memory:?}");
        now = now + Duration::from_millis(200);
        side.engine.handle_timeout(now);
    }
    met
}

/// What an honest member says, as far as it is in envelopes.
pub(crate) fn beginnings() -> Vec<Vec<u8>> {
    let (mut sides, mut now, mut all) = ([side(1), side(2)], START, Vec::new());
    for _ in 0..12 {
        for from in [0, 1] {
            let mut out = Chain::default();
            while let Some(transmit) = sides[from].engine.poll_transmit(now, &mut out) {
                let datagram = out.to_vec();
                out.clear();
                if transmit.via != Via::Data && transmit.to != GROUP {
                    continue;
                }
                let opened = datagram.strip_prefix(&ENVELOPE[..]).and_then(|it| envelope().open(&ENVELOPE, it));
                all.extend(opened.filter(|_| from == 0));
                let address = sides[from].address;
                sides[1 - from].engine.handle_datagram(now, address, datagram.into());
            }
        }
        now = now + Duration::from_millis(200);
        sides.iter_mut().for_each(|side| side.engine.handle_timeout(now));
    }
    assert!(all.len() >= 2, "it announces itself and says hello: {}", all.len());
    vec![joined(&all), joined(&all[..2])]
}

fn side(number: u8) -> Side {
    let mut side = Side::new(START, number, true);
    side.engine.publication_with("a/b", "text", History::Last(4)).expect("a good topic");
    side.engine.subscribe_from(START, "#", "", Wish::All).expect("a good filter");
    side
}

fn side_address(number: u8) -> std::net::SocketAddr {
    ([10, 0, 0, number], 40_000).into()
}

fn envelope() -> Envelope {
    Envelope::new(&KEY, NetworkId(1), Random::new([3; 32]))
}

const START: Instant = Instant::from_nanos(1_000_000_000);
