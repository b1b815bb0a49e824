//! Hears from the kernel that an interface or an address came, went or changed: rtnetlink(7), RFC 3549.
//!
//! What changed is not read: whoever hears of it looks at everything, by the same code that looks where nothing is heard.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// A socket that becomes readable when the network of this host changes.
#[derive(Debug)]
pub(super) struct Watch(OwnedFd);

impl Watch {
    /// Begins to listen. Some sandboxes do not allow it.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, LINKS | IPV4_ADDRESSES | IPV6_ADDRESSES))?;
        Ok(Self(socket))
    }

    /// Forgets what was heard; true if that was anything. More than fits into the socket is a change too.
    pub(super) fn clear(&self) -> io::Result<bool> {
        let mut heard = false;
        loop {
            // Shorter than any notice; the rest of each is dropped.
            match recv(&self.0, &mut [0; 16], RecvFlags::empty()) {
                Ok(_) | Err(Errno::NOBUFS) => heard = true,
                Err(Errno::AGAIN) => return Ok(heard),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The groups `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of rtnetlink(7).
const LINKS: u32 = 1;
const IPV4_ADDRESSES: u32 = 0x10;
const IPV6_ADDRESSES: u32 = 0x100;
