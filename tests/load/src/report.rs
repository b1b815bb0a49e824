//! The lines that the harness reads and writes.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use crate::clock;
use crate::meter::{Figures, Meter};

/// Tells the harness that we are usable.
pub(crate) fn ready() -> io::Result<()> {
    say("READY")
}

/// Waits until the harness says go.
pub(crate) fn wait_for_go() -> io::Result<()> {
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

pub(crate) fn published(sent: u64, seconds: f64, cpu: f64) -> io::Result<()> {
    let (rate, rss) = (sent as f64 / seconds, clock::peak_memory_kib());
    say(&format!(r#"{{"role":"pub","sent":{sent},"rate":{rate:.1},"cpu":{cpu:.4},"rss":{rss}}}"#))
}

pub(crate) fn subscribed(meter: &Meter, sent: u64, size: usize, cpu: f64) -> io::Result<()> {
    let (n, rate, intact) = (meter.received(), meter.rate(), meter.is_intact());
    // More than were sent is a negative loss: it must not look like none.
    let lost = i128::from(sent) - i128::from(n);
    let (megabytes, rss) = (rate * size as f64 / 1e6, clock::peak_memory_kib());
    say(&format!(
        r#"{{"role":"sub","n":{n},"sent":{sent},"lost":{lost},"rate":{rate:.1},"MBps":{megabytes:.3},"cpu":{cpu:.4},"rss":{rss},"bytes_ok":{intact}}}"#
    ))
}

pub(crate) fn delays(role: &str, figures: Figures) -> io::Result<()> {
    let Figures { count, p50, p99, p999, max, mean } = figures;
    let (cpu, rss) = (clock::cpu_seconds(), clock::peak_memory_kib());
    say(&format!(
        r#"{{"role":"{role}","n":{count},"p50":{p50:.2},"p99":{p99:.2},"p999":{p999:.2},"max":{max:.2},"mean":{mean:.2},"cpu":{cpu:.4},"rss":{rss}}}"#
    ))
}

pub(crate) fn first(since: u64) -> io::Result<()> {
    let ms = clock::now().saturating_sub(since) as f64 / 1e6;
    say(&format!(r#"{{"role":"first","ms":{ms:.3}}}"#))
}

/// Ends the process if it still runs after `limit`, so that a harness never waits for a run that is stuck.
pub(crate) fn start_watchdog(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        // The exit status tells as well.
        let _ = say(r#"{"timeout":1}"#);
        std::process::exit(9);
    });
}

/// What tells a subscriber that no more will come: a mark, how many there were, and nothing.
pub(crate) fn end_marker(sent: u64) -> [u8; END_BYTES] {
    let mut marker = [0; END_BYTES];
    let (mark, rest) = marker.split_at_mut(MARK.len());
    mark.copy_from_slice(MARK);
    rest.split_at_mut(8).0.copy_from_slice(&sent.to_le_bytes());
    marker
}

/// How many were sent, if this is the end marker.
#[inline]
pub(crate) fn read_end_marker(payload: &[u8]) -> Option<u64> {
    let marker: &[u8; END_BYTES] = payload.try_into().ok()?;
    let (sent, _) = marker.strip_prefix(MARK)?.split_first_chunk()?;
    Some(u64::from_le_bytes(*sent))
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

const MARK: &[u8] = b"ENDENDEN";

const END_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_marker_is_read_back() {
        assert_eq!(read_end_marker(&end_marker(1_234_567)), Some(1_234_567));
    }

    #[test]
    fn other_messages_are_no_end_markers() {
        assert_eq!(read_end_marker(&[0; END_BYTES]), None);
        assert_eq!(read_end_marker(MARK), None);
        assert_eq!(read_end_marker(&[&end_marker(1)[..], b"x"].concat()), None);
    }
}
