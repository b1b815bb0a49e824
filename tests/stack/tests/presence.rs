//! Tokens and wills among whole endpoints, over many seeds: every view follows the truth, and no will is lost, comes twice, or
//! comes of one that left.

use glue_sim::check;
use glue_stack::Claims;
use glue_stack::scene::{kept, rough, s};

/// Endpoints that know each other and each other's claims.
fn crowd(seed: u64) -> Claims {
    let mut claims = Claims::new(seed, if seed % 8 < 4 { 3 } else { 6 });
    claims.world.set_default_link(rough(seed));
    claims.run(s(1));
    claims.stir();
    settle(&mut claims);
    claims
}

/// All is well for long enough that everybody knows everything, also at a high loss.
fn settle(claims: &mut Claims) {
    claims.run(s(10));
    claims.converge();
}

fn partition(claims: &mut Claims) {
    let nodes: Vec<_> = (0..claims.len()).map(|index| claims.node(index)).collect();
    let (left, right) = nodes.split_at(nodes.len() / 2);
    claims.world.partition(&[left.to_vec(), right.to_vec()]);
    for _ in 0..3 {
        let time = claims.up_to_ms(3_000);
        claims.stir();
        claims.run(time);
    }
    claims.world.heal();
}

fn flap(claims: &mut Claims) {
    let index = claims.any();
    for _ in 0..5 {
        let (away, back) = (claims.up_to_ms(4_000), claims.up_to_ms(1_500));
        claims.world.isolate(claims.node(index));
        claims.stir();
        claims.run(away);
        claims.world.heal();
        claims.run(back);
    }
}

fn stop(claims: &mut Claims) {
    let index = claims.any();
    claims.world.freeze(claims.node(index));
    let time = claims.up_to_ms(5_000);
    claims.run(time);
    claims.world.thaw(claims.node(index));
}

/// One of the things that happen to networks and processes. Returns who has to be started again in the end.
fn happen(claims: &mut Claims, kind: u64) -> Option<usize> {
    let index = claims.any();
    match kind {
        0 => partition(claims),
        1 => flap(claims),
        2 => stop(claims),
        3 => claims.restart(index),
        4 => {
            claims.crash(index);
            claims.run(s(5));
            return Some(index);
        }
        _ => {
            let _ = claims.leave(index);
            return Some(index);
        }
    }
    None
}

#[test]
fn views_converge_and_wills_come_once() {
    check("views_converge_and_wills_come_once", kept(48), |seed| {
        let mut claims = crowd(seed);
        for kind in 0..6 {
            let acquainted = claims.acquainted();
            let ended = happen(&mut claims, (kind + seed) % 6);
            settle(&mut claims);
            claims.check_wills(&acquainted);
            claims.stir();
            if let Some(index) = ended {
                claims.restart(index);
            }
            settle(&mut claims);
        }
    });
}

#[test]
fn a_crash_is_told_by_tokens_and_will() {
    check("a_crash_is_told_by_tokens_and_will", kept(8), |seed| {
        let mut claims = crowd(4 * seed);
        let acquainted = claims.acquainted();
        claims.crash(0);
        claims.run(s(3));
        claims.converge();
        assert_eq!(claims.check_wills(&acquainted), u32::try_from(claims.len()).unwrap() - 1);
        // It runs again, in another life: nothing more comes of the old one.
        claims.restart(0);
        settle(&mut claims);
        assert_eq!(claims.check_wills(&acquainted), u32::try_from(claims.len()).unwrap() - 1);
    });
}

#[test]
fn a_restart_that_nobody_saw_as_down_leaves_its_will() {
    check("a_restart_that_nobody_saw_as_down_leaves_its_will", kept(8), |seed| {
        let mut claims = crowd(4 * seed);
        let acquainted = claims.acquainted();
        claims.restart(0);
        settle(&mut claims);
        assert_eq!(claims.check_wills(&acquainted), u32::try_from(claims.len()).unwrap() - 1);
    });
}

#[test]
fn who_leaves_leaves_no_will() {
    check("who_leaves_leaves_no_will", kept(16), |seed| {
        let mut claims = crowd(4 * (seed / 2) + seed % 2);
        let acquainted = claims.acquainted();
        assert_eq!(claims.leave(0), claims.len() - 1);
        claims.converge();
        assert_eq!(claims.check_wills(&acquainted), 0);
    });
}

#[test]
fn a_peer_that_is_forgotten_in_the_meantime_tells_its_tokens_anew() {
    check("a_peer_that_is_forgotten_in_the_meantime_tells_its_tokens_anew", kept(4), |seed| {
        let mut claims = crowd(seed);
        claims.world.isolate(claims.node(0));
        claims.run(s(1));
        claims.stir();
        claims.run(s(620));
        claims.world.heal();
        settle(&mut claims);
    });
}
