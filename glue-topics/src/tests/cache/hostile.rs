//! Peers that tell of caches what is not so.

use proptest::prelude::*;

use super::*;

/// A publisher that dies, 0, two caches, 1 and 2, and one who comes late, 3.
fn talk() -> Split {
    let mut split = fresh();
    split.run(ms(200));
    split.cut(0, 1);
    split.publish(3);
    split.die(0);
    let now = split.world.now;
    split.world.nodes[3].subscribe_from(now, "a", "text", Wish::All).unwrap();
    split.run(SECOND);
    split
}

fn fresh() -> Split {
    let mut split = Split::new(4);
    split.world.nodes[2].cache("#", 1 << 20).unwrap();
    split.world.nodes[1].cache("a", 1 << 20).unwrap();
    split.world.nodes[1].subscribe("#", "").unwrap();
    split
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_spoilt_catalogue_does_no_harm(
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let mut said = talk().said;
        prop_assert!(said.iter().any(|(head, _)| head[0] == 6));
        for (which, place, byte) in spoils {
            let which = which.index(said.len());
            let (head, body) = &mut said[which];
            let at = place.index(head.len() + body.len());
            if let Some(old) = head.get_mut(at) {
                *old = byte;
            } else {
                let at = at - head.len();
                body[at] = byte;
            }
        }
        let mut split = fresh();
        for (head, body) in said {
            let now = split.world.now;
            split.world.nodes[1].handle_cargo(now, peer(2), head.into(), body.into());
            split.world.nodes[1].handle_timeout(now);
        }
        split.run(6 * SECOND);
        split.die(2);
        split.run(4 * SECOND);
        prop_assert_eq!(split.world.nodes[1].held_bytes(peer(2)), 0);
        prop_assert!(split.world.nodes[1].cached_bytes() <= 1 << 20);
    }

    #[test]
    fn any_operations_of_caches_do_no_harm(
        operations in prop::collection::vec((32u8..38, prop::collection::vec(prop_oneof![0u8..9, any::<u8>()], 0..40)), 0..40),
    ) {
        let mut split = talk();
        let now = split.world.now;
        for (number, (kind, bytes)) in operations.into_iter().enumerate() {
            let mut body = vec![kind];
            body.extend(bytes);
            let mut head = vec![0];
            put_varint(&mut head, number as u64);
            split.world.nodes[2].handle_cargo(now, peer(0), head.clone().into(), body.clone().into());
            split.world.nodes[1].handle_cargo(now, peer(3), head.into(), body.into());
        }
        split.run(6 * SECOND);
        for other in [0, 3] {
            split.die(other);
        }
        split.run(SECOND);
        prop_assert_eq!(split.world.nodes[1].held_bytes(peer(3)), 0);
    }
}
