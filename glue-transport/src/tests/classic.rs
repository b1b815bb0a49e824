//! Peers of the reference.

use glue_net::wire::classic::{Body, Codec, Container, FRAGMENT_BYTES, Frame, Ksuid};

use super::*;

/// Two ends that each take the other for one of the reference.
struct Line {
    ends: [Transport<Note>; 2],
    now: Instant,
    under_way: Vec<(Instant, usize, Frame)>,
    /// Ids of the payloads that came, and frames and acks that each end has sent.
    got: Vec<u32>,
    sent: [(u64, u64); 2],
    rng: Rng,
    loss: f64,
}

impl Line {
    fn new(loss: f64, config: &Config) -> Self {
        let mut rng = Rng::new(5);
        let mut end = |n: usize| {
            let mut end = Transport::new(config.clone(), local(n), rng.fork());
            end.connect(Instant::ZERO, PEER, &Remote { classic: Some(Codec::MessagePack), ..remote(1 - n) });
            end
        };
        let ends = [end(0), end(1)];
        let (now, under_way, got) = (Instant::ZERO + SECOND, Vec::new(), Vec::new());
        Self { ends, now, under_way, got, sent: Default::default(), rng, loss }
    }

    fn flush(&mut self) {
        for end in 0..2 {
            let mut out = Chain::default();
            while let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut out) {
                assert_eq!(transmit.to, address(1 - end));
                let (_, container) = Container::decode(&out.to_vec().into()).unwrap();
                out.clear();
                let (us, them) = (local(end), local(1 - end));
                assert_eq!((container.network_id, container.source_endpoint_id), (us.network, us.id));
                assert_eq!(container.source_endpoint_name, us.name);
                let Body::Frame(frame) = container.body else { panic!("no frame") };
                assert_eq!((frame.destination_endpoint_id, &frame.destination_endpoint_name), (them.id, &them.name));
                assert_eq!((frame.fragment_count, frame.fragment_index, frame.needs_ack), (1, 0, !frame.is_ack));
                let (frames, acks) = &mut self.sent[end];
                *if frame.is_ack { acks } else { frames } += 1;
                if !self.rng.chance(self.loss) {
                    self.under_way.push((self.now + DELAY, 1 - end, frame));
                }
            }
        }
    }

    /// Goes on to what is next, of arrivals and timers. False: nothing is.
    fn step(&mut self) -> bool {
        self.flush();
        let timers = self.ends.iter().filter_map(Transport::poll_timeout);
        let Some(next) = timers.chain(self.under_way.iter().map(|(at, _, _)| *at)).min() else { return false };
        self.now = self.now.max(next);
        let (here, later) = std::mem::take(&mut self.under_way).into_iter().partition(|(at, _, _)| *at <= self.now);
        self.under_way = later;
        let here: Vec<(Instant, usize, Frame)> = here;
        for (_, end, frame) in here {
            if let Some(frame) = self.ends[end].handle_classic(self.now, PEER, frame) {
                self.got.push(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
            }
        }
        self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
        true
    }
}

#[test]
fn each_payload_is_one_frame_and_one_ack() {
    let mut line = Line::new(0.0, &Config::default());
    (0..50).for_each(|id| _ = line.ends[0].send(line.now, PEER, note(id, 100)));
    line.step();
    assert_eq!((&line.got, line.sent), (&(0..16).collect(), [(16, 0), (0, 0)]), "so many may be under way");
    while !line.ends[0].is_settled() {
        assert!(line.step());
    }
    assert_eq!((&line.got, line.sent), (&(0..50).collect(), [(50, 0), (0, 50)]));
    let [us, them] = [0, 1].map(|end| line.ends[end].peer_stats(PEER).unwrap());
    assert_eq!((us.packets_sent, us.packets_received, us.payloads_resent, us.packets_lost), (50, 50, 0, 0));
    assert_eq!((them.packets_sent, them.packets_received, them.bytes_received), (50, 50, 50 * 114));
    assert_eq!((us.rtt, us.min_rtt, us.datagram_bytes), (2 * DELAY, 2 * DELAY, FRAGMENT_BYTES));
}

#[test]
fn what_is_lost_is_sent_again_at_growing_distances() {
    let config = Config::default();
    let mut line = Line::new(1.0, &config);
    line.ends[0].send(line.now, PEER, note(1, 100));
    let (begin, mut at) = (line.now, Vec::new());
    while at.len() < 6 {
        let before = line.sent[0].0;
        line.flush();
        at.extend((line.sent[0].0 > before).then(|| line.now.since(begin)));
        line.step();
    }
    let waits: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits[0], config.initial_rtt * 3);
    assert!(waits.windows(2).all(|pair| pair[1] == (pair[0] * 2).min(config.max_probe_interval)), "{waits:?}");
}

#[test]
fn all_comes_once_whatever_is_lost() {
    for loss in [0.05, 0.5] {
        let mut line = Line::new(loss, &Config::default());
        (0..300).for_each(|id| _ = line.ends[0].send(line.now, PEER, note(id, 100)));
        while !line.ends[0].is_settled() {
            assert!(line.step() && line.now < Instant::ZERO + SECOND * 60);
        }
        line.got.sort_unstable();
        assert_eq!(line.got, (0..300).collect::<Vec<_>>(), "loss {loss}");
        let [us, them] = [0, 1].map(|end| line.ends[end].peer_stats(PEER).unwrap());
        assert_eq!(us.payloads_resent, line.sent[0].0 - 300);
        assert_eq!((us.packets_sent, us.packets_lost > 0), (line.sent[0].0, true));
        assert_eq!(them.packets_received, 300 + them.duplicate_payloads);
        assert_eq!(them.packets_sent, them.packets_received, "each frame is acked");
    }
}

#[test]
fn what_the_queue_has_no_room_for_is_dropped_and_counted() {
    let config = Config { max_queue_bytes: 10 * 114, ..Config::default() };
    let mut line = Line::new(1.0, &config);
    (0..12).for_each(|id| _ = line.ends[0].send(line.now, PEER, note(id, 100)));
    let stats = line.ends[0].peer_stats(PEER).unwrap();
    assert_eq!((stats.queue_bytes, stats.dropped_full), (10 * 114, 2));
}

#[test]
fn classic_frames_are_acked_resent_and_told_apart() {
    let mut rng = Rng::new(3);
    let mut transport: Transport<Note> = Transport::new(Config::default(), local(0), rng.fork());
    let classic = Remote { classic: Some(Codec::MessagePack), ..remote(1) };
    transport.connect(Instant::ZERO, PEER, &classic);
    let frame = Frame {
        frame_id: Ksuid([5; 20]),
        fragment_count: 1,
        needs_ack: true,
        payload: Bytes::from_static(b"x"),
        ..Frame::default()
    };
    let now = Instant::ZERO;
    assert!(transport.handle_classic(now, PEER, frame.clone()).is_some());
    assert!(transport.handle_classic(now, PEER, frame).is_none());
    let mut out = Chain::default();
    let acks = std::iter::from_fn(|| transport.poll_transmit(now, &mut out)).count();
    assert_eq!(acks, 2, "every frame is acked, also one that came before");
    transport.send(now, PEER, note(1, 100));
    assert!(transport.poll_transmit(now, &mut out).is_some());
    assert!(transport.poll_transmit(now, &mut out).is_none());
    let due = transport.poll_timeout().unwrap();
    transport.handle_timeout(due);
    assert!(transport.poll_transmit(due, &mut out).is_some(), "sent again");
    assert_eq!(transport.peer_stats(PEER).unwrap().payloads_resent, 1);
}
