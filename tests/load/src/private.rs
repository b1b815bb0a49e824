//! What a network key costs, and what junk costs who has one.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use glue_endpoint::new_network_key;

use crate::Load;
use crate::error::LoadError;
use crate::turns::{Process, one_to_one, turns};

/// Measures without a key and with one, in turns.
pub(crate) fn private(load: Load) -> Result<(), LoadError> {
    let key = new_network_key()?.expose();
    turns(load, "without a network key and with one", |which| {
        // An empty variable counts as none.
        let variables = [("GLUE_NETWORK_KEY", if which == 0 { "" } else { &key })];
        one_to_one(load, &variables, &variables)
    })
}

/// Measures a private pair while 100,000 datagrams of junk a second go to a socket that has nothing to do with it, and while
/// they go to the pair, in turns.
pub(crate) fn junk(load: Load) -> Result<(), LoadError> {
    let key = new_network_key()?.expose();
    let bystander = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    turns(load, "with junk beside the pair and with junk at it", |which| {
        let [publisher, subscriber] = [free_address()?, free_address()?];
        let targets = match which {
            0 => vec![bystander.local_addr()?],
            _ => vec![publisher, subscriber],
        };
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let seconds = (load.duration + SETTLING).as_secs_f64().to_string();
        let _junk = Process::start(&["hurl", "0", &seconds], &[("TARGETS", &targets.join(","))])?;
        let [publisher, subscriber] = [publisher, subscriber].map(|address| address.to_string());
        one_to_one(
            load,
            &[("GLUE_NETWORK_KEY", &key), ("GLUE_LISTEN_ADDRESS", &publisher)],
            &[("GLUE_NETWORK_KEY", &key), ("GLUE_LISTEN_ADDRESS", &subscriber)],
        )
    })
}

/// Sends junk: random bytes, and what begins like each of our datagrams. Says how many a second left.
pub(crate) fn hurl(load: Load) -> Result<(), LoadError> {
    let targets = std::env::var("TARGETS").map_err(|_| LoadError::Usage)?;
    let targets: Vec<SocketAddr> =
        targets.split(',').map(|text| text.parse().map_err(|_| LoadError::Usage)).collect::<Result<_, _>>()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let (begin, mut state, mut sent) = (Instant::now(), 1u64, 0u64);
    while begin.elapsed() < load.duration {
        // In bursts, as far as the time that has passed allows.
        let due = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX) / MICROS_FOR_EACH;
        while sent < due {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut datagram = state.to_le_bytes().repeat(8);
            if let [magic, kind, ..] = datagram.as_mut_slice()
                && state >> 60 < 12
            {
                (*magic, *kind) = (0xc1, u8::try_from(state >> 61).unwrap_or(0));
            }
            if let Some(target) = targets.get(usize::try_from(sent).unwrap_or(0) % targets.len()) {
                // Nobody may listen.
                let _ = socket.send_to(&datagram, target);
            }
            sent += 1;
        }
        std::thread::sleep(PAUSE);
    }
    writeln!(std::io::stdout(), "{:.0} a second", sent as f64 / begin.elapsed().as_secs_f64())?;
    Ok(())
}

/// An address of ours that nobody uses now.
fn free_address() -> Result<SocketAddr, LoadError> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// 100,000 a second.
const MICROS_FOR_EACH: u64 = 10;
const PAUSE: Duration = Duration::from_micros(500);
/// The pair needs this much at most, to meet and to end.
const SETTLING: Duration = Duration::from_secs(3);
