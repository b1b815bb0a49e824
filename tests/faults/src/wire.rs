//! The switch on real cables: packet sockets on the ends of virtual ones, and orders by lines on standard input.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

use crate::clock;
use crate::error::FaultsError;
use crate::impair::{Impairment, Switch};

/// How the switch is started.
#[derive(clap::Args, Clone, Debug)]
pub struct ImpairArguments {
    /// The interfaces that are its ports, with a comma between; each is up and nobody else's.
    #[arg(long, value_delimiter = ',', required = true)]
    pub ports: Vec<String>,
    /// What all chance follows from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Switches until its input ends, and prints what it did.
///
/// # Errors
/// If an interface can not be used, or an order is not understood.
pub fn run(arguments: &ImpairArguments) -> Result<(), FaultsError> {
    let ports = arguments.ports.iter().map(|name| open(name)).collect::<Result<Vec<_>, _>>()?;
    let mut switch = Switch::new(ports.len(), arguments.seed);
    let mut orders = Vec::new();
    let mut buffer = vec![0; MAX_FRAME];
    eprintln!("switching between {}", arguments.ports.join(", "));
    loop {
        let ready = wait(&ports, switch.poll_due())?;
        if ready.first().is_some_and(|ready| *ready) && !take_orders(&mut switch, &mut orders)? {
            break;
        }
        for (index, port) in ports.iter().enumerate() {
            if ready.get(index + 1).is_some_and(|ready| *ready) {
                take_frames(&mut switch, index, port, &mut buffer)?;
            }
        }
        while let Some((port, frame)) = switch.poll_frame(clock::now()) {
            if let Some(port) = ports.get(port) {
                put_frame(port, &frame)?;
            }
        }
    }
    eprintln!("{:?}", switch.counts());
    Ok(())
}

/// A socket that has all frames that come out of an interface, and puts frames into it.
fn open(name: &str) -> Result<OwnedFd, FaultsError> {
    let problem = |what: &str| format!("{what} {name}");
    // No address is made here: the system's list of interfaces has those of their packet sockets.
    let mut addresses = nix::ifaddrs::getifaddrs().map_err(FaultsError::io(problem("listing interfaces for")))?;
    let address: Option<LinkAddr> =
        addresses.find_map(|found| found.address.filter(|_| found.interface_name == name)?.as_link_addr().copied());
    let address = address.ok_or_else(|| FaultsError::Usage(format!("there is no interface {name}")))?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let opened = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll);
    let opened = opened.map_err(FaultsError::io(problem("a packet socket for")))?;
    bind(opened.as_raw_fd(), &address).map_err(FaultsError::io(problem("binding to")))?;
    // What does not fit is loss that nobody asked for. Forced, since it is above what the system grants.
    let enlarged = sockopt::set_socket_recv_buffer_size_force(&opened, BUFFER);
    enlarged.map_err(FaultsError::io(problem("a buffer for")))?;
    Ok(opened)
}

/// Waits for orders and frames, or until the next frame is due. The first answer is for orders.
fn wait(ports: &[OwnedFd], due: Option<u64>) -> Result<Vec<bool>, FaultsError> {
    let input = io::stdin();
    let orders = PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN);
    let mut fds: Vec<_> =
        std::iter::once(orders).chain(ports.iter().map(|port| PollFd::new(port, PollFlags::IN))).collect();
    let timeout = due.map(|due| Duration::from_nanos(due.saturating_sub(clock::now())));
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(error) => Err(FaultsError::io("poll")(error)),
    }
}

fn take_frames(switch: &mut Switch, index: usize, port: &OwnedFd, buffer: &mut [u8]) -> Result<(), FaultsError> {
    // Turns, so that no port starves the others or holds up what is due.
    for _ in 0..64 {
        match recv(port, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((taken, _)) => switch.handle_frame(clock::now(), index, buffer.get(..taken).unwrap_or_default()),
            // An interface that goes down says so once.
            Err(Errno::AGAIN | Errno::NETDOWN | Errno::INTR) => break,
            Err(error) => return Err(FaultsError::io("receiving a frame")(error)),
        }
    }
    Ok(())
}

/// What an interface does not take is lost, as on any switch.
fn put_frame(port: &OwnedFd, frame: &[u8]) -> Result<(), FaultsError> {
    match send(port, frame, SendFlags::DONTWAIT) {
        Ok(_) | Err(Errno::AGAIN | Errno::NETDOWN | Errno::NOBUFS | Errno::INTR | Errno::NXIO) => Ok(()),
        Err(Errno::MSGSIZE) => Err(FaultsError::Usage(format!(
            "a frame of {} bytes: set gso_max_segs 1 on the hosts' interfaces, or they leave segmenting to us",
            frame.len()
        ))),
        Err(error) => Err(FaultsError::io("sending a frame")(error)),
    }
}

/// Reads what is there of the orders. Returns whether more may come.
fn take_orders(switch: &mut Switch, orders: &mut Vec<u8>) -> Result<bool, FaultsError> {
    let mut buffer = [0; 4_096];
    let taken = rustix::io::read(io::stdin(), &mut buffer).map_err(FaultsError::io("reading orders"))?;
    orders.extend_from_slice(buffer.get(..taken).unwrap_or_default());
    while let Some(end) = orders.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = orders.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        obey(switch, line.trim()).ok_or_else(|| FaultsError::Usage(format!("not an order: {line:?}")))?;
    }
    Ok(taken > 0)
}

/// Does what a line says: `link FROM TO NAME=VALUE..`, `cut FROM TO`, `join FROM TO`. Ports are counted from 0; `*` is all.
/// Values are chances; of `delay` and `jitter` milliseconds. `None` if it is not understood.
#[must_use]
pub fn obey(switch: &mut Switch, line: &str) -> Option<()> {
    let mut words = line.split_whitespace();
    let order = words.next()?;
    let (from, to) = (ports(switch, words.next()?)?, ports(switch, words.next()?)?);
    let mut impairment = Impairment::default();
    for word in words {
        let (name, value) = word.split_once('=')?;
        set(&mut impairment, name, value)?;
    }
    for from in from {
        for to in to.clone() {
            match order {
                "link" => switch.impair(from, to, impairment),
                "cut" => switch.cut(from, to, true),
                "join" => switch.cut(from, to, false),
                _ => return None,
            }
        }
    }
    Some(())
}

fn ports(switch: &Switch, word: &str) -> Option<std::ops::Range<usize>> {
    if word == "*" {
        return Some(0..switch.ports());
    }
    let port: usize = word.parse().ok()?;
    (port < switch.ports()).then_some(port..port + 1)
}

fn set(impairment: &mut Impairment, name: &str, value: &str) -> Option<()> {
    let number: f64 = value.parse().ok()?;
    let chance = Some(number).filter(|number| (0.0..=1.0).contains(number));
    let time = || Some(clock::nanos(Duration::try_from_secs_f64(number / 1_000.0).ok()?));
    match name {
        "loss" => impairment.loss = chance?,
        "duplicate" => impairment.duplicate = chance?,
        "corrupt" => impairment.corrupt = chance?,
        "truncate" => impairment.truncate = chance?,
        "reorder" => impairment.reorder = chance?,
        "delay" => impairment.delay = time()?,
        "jitter" => impairment.jitter = time()?,
        "mend" => impairment.mend = number > 0.0,
        _ => return None,
    }
    Some(())
}

/// Longer than any frame that a cable here carries.
const MAX_FRAME: usize = 70_000;
const BUFFER: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_obeyed_and_others_refused() {
        let mut switch = Switch::new(3, 1);
        for good in
            ["link 0 1 loss=0.2 delay=5 jitter=1.5", "link * 2", "cut * *", "join 0 2", "link 2 0 mend=1 corrupt=1"]
        {
            assert_eq!(obey(&mut switch, good), Some(()), "{good}");
        }
        for bad in [
            "",
            "link",
            "link 0",
            "link 0 3",
            "cut 0 x",
            "loss 0 1",
            "link 0 1 loss=2",
            "link 0 1 delay",
            "link 0 1 x=1",
        ] {
            assert_eq!(obey(&mut switch, bad), None, "{bad}");
        }
    }

    #[test]
    fn an_order_has_its_effect() {
        let mut switch = Switch::new(2, 1);
        let frame = crate::frame::tests::frame(b"x");
        obey(&mut switch, "link 0 1 delay=5").unwrap();
        switch.handle_frame(0, 0, &frame);
        assert_eq!(switch.poll_due(), Some(5_000_000));
        assert!(switch.poll_frame(u64::MAX).is_some());
        obey(&mut switch, "cut * *").unwrap();
        switch.handle_frame(0, 0, &frame);
        assert_eq!(switch.poll_due(), None);
    }
}
