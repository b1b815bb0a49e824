use super::*;

const DATAGRAM: u64 = 1_200;
const RTT: Duration = Duration::from_millis(20);

/// A sender that always has something to send, on a path that holds `holds` packets, with a queue of `queue` more.
struct Sender {
    congestion: Congestion,
    now: Instant,
    holds: u64,
    queue: u64,
}

impl Sender {
    fn new(holds: u64, queue: u64) -> Self {
        let congestion = Congestion::new(DATAGRAM, false);
        Self { congestion, now: Instant::from_nanos(1_000_000_000), holds, queue }
    }

    fn packets(&self) -> u64 {
        self.congestion.window() / DATAGRAM
    }

    /// One window goes and comes back; of it the packets for which `is_lost` says so are lost, and what does not fit in
    /// the queue.
    fn round(&mut self, is_lost: impl Fn(u64) -> bool) {
        let packets = self.packets();
        let sent_at = self.now;
        let stamps: Vec<Stamp> =
            (0..packets).map(|n| self.congestion.handle_sent(sent_at, DATAGRAM, (n + 1) * DATAGRAM)).collect();
        let room = self.holds + self.queue;
        let rtt = RTT.mul_f64((packets.min(room) as f64 / self.holds as f64).max(1.0));
        for (n, stamp) in (0..).zip(&stamps) {
            self.now = sent_at + rtt + (rtt / 1_000) * u32::try_from(n).unwrap() / 100;
            if n >= room || is_lost(n) {
                self.congestion.handle_loss(self.now, DATAGRAM, 1, stamp.sent_at);
            } else {
                self.congestion.handle_acks(self.now, DATAGRAM, stamp, rtt, (packets - n - 1) * DATAGRAM);
            }
        }
    }

    fn rounds(&mut self, count: u32) {
        (0..count).for_each(|_| self.round(|_| false));
    }
}

#[test]
fn nothing_holds_back_what_stays_on_the_host() {
    let mut local = Congestion::new(65_507, true);
    let now = Instant::from_nanos(5);
    let stamp = local.handle_sent(now, 65_507, 0);
    local.handle_loss(now, 65_507, 1, now);
    local.handle_acks(now, 65_507, &stamp, RTT, 0);
    local.restart(now);
    assert_eq!((local.window(), local.next_at()), (u64::MAX, Instant::ZERO));
}

#[test]
fn it_fills_the_path_and_drains_the_queue_that_it_made() {
    let mut sender = Sender::new(100, 400);
    let mut most = 0;
    for _ in 0..20 {
        sender.round(|_| false);
        most = most.max(sender.packets());
    }
    assert!(most > 130, "startup overshoots: {most}");
    for _ in 0..200 {
        sender.round(|_| false);
        assert!((90..150).contains(&sender.packets()), "{}", sender.packets());
    }
}

#[test]
fn loss_without_a_queue_means_nothing() {
    let mut sender = Sender::new(100, 400);
    sender.rounds(30);
    let before = sender.packets();
    for _ in 0..20 {
        sender.round(|n| n % 10 == 3);
    }
    assert!(sender.packets() >= before * 85 / 100, "{before} {}", sender.packets());
}

#[test]
fn an_overflow_reduces_once_in_a_round() {
    let mut sender = Sender::new(100, 100);
    sender.rounds(30);
    // Somebody fills the queue: round trips are as long as they ever were.
    sender.congestion.mode = Mode::Steady;
    sender.congestion.window = 190 * DATAGRAM;
    sender.congestion.standing = 0;
    sender.round(|_| false);
    let before = sender.congestion.window();
    sender.round(|n| (150..155).contains(&n));
    let after = sender.congestion.window();
    assert!((before * 65 / 100..before * 75 / 100).contains(&after), "{before} {after}");
}

#[test]
fn a_queue_too_short_to_be_seen_is_found_by_its_losses() {
    let mut sender = Sender::new(1_000, 1);
    sender.rounds(20);
    for _ in 0..200 {
        sender.round(|_| false);
        assert!(sender.packets() < 1_250, "{}", sender.packets());
    }
}

#[test]
fn a_reduction_is_undone_when_all_of_its_losses_arrive() {
    let mut sender = Sender::new(100, 400);
    sender.rounds(30);
    let (now, before) = (sender.now, sender.congestion.window());
    sender.congestion.reduce(now, 2);
    sender.congestion.handle_loss(now, DATAGRAM, 1, now);
    let reduced = sender.congestion.window();
    assert!(reduced < before);
    for _ in 0..2 {
        sender.congestion.handle_spurious_loss(now);
        assert_eq!(sender.congestion.window(), reduced);
    }
    sender.congestion.handle_spurious_loss(now);
    assert_eq!(sender.congestion.window(), before);
}

#[test]
fn silence_leaves_the_least_window() {
    let mut sender = Sender::new(100, 400);
    sender.rounds(30);
    sender.congestion.restart(sender.now);
    assert_eq!(sender.packets(), MIN_PACKETS);
    sender.now = sender.now + RTT;
    sender.rounds(12);
    assert!(sender.packets() > 90, "and it is back soon: {}", sender.packets());
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut sender = Sender::new(1_000, 400);
    let before = sender.congestion.window();
    for _ in 0..100 {
        let stamp = sender.congestion.handle_sent(sender.now, DATAGRAM, 0);
        sender.now = sender.now + RTT;
        sender.congestion.handle_acks(sender.now, DATAGRAM, &stamp, RTT, 0);
    }
    assert_eq!(sender.congestion.window(), before);
}

#[test]
fn the_window_comes_back_as_cubic_says() {
    // RFC 9438: K = cbrt(100 packets * 0.3 / 0.4) = 4.217 s; at K it is the peak, after 2 K as far above it.
    let mut cubic = Cubic::below(100 * DATAGRAM, 70 * DATAGRAM, DATAGRAM);
    assert_eq!(cubic.k, 4_217);
    for (age, packets) in [(0, 70), (4_217, 100), (8_434, 130)] {
        cubic.age = Duration::from_millis(age);
        let target = cubic.target(Duration::ZERO, DATAGRAM);
        assert!(target.abs_diff(packets * DATAGRAM) < DATAGRAM / 100, "{age}: {target}");
    }
    // Until it is there, Reno's window grows by 9/17 of a packet in a round, then by a whole one.
    let mut reno = 0;
    for _ in 0..70 {
        reno = cubic.reno(DATAGRAM, 70 * DATAGRAM, DATAGRAM);
    }
    assert!(reno.abs_diff(70 * DATAGRAM + DATAGRAM * 9 / 17) < 10, "{reno}");
}
