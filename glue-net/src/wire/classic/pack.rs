//! MessagePack, written as the reference's library writes Go values: `int64` always in nine bytes, `int` in as few as
//! hold it, times as the shortest timestamp extension.

use std::fmt::Display;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::address::{Address, zone};
use super::nanos;
use super::stamp::unix_time;
use super::unpack::TIMESTAMP;
use crate::WallTime;

/// Appends values; the methods that take a key write it first.
pub(super) struct Pack<'a>(pub(super) &'a mut Vec<u8>);

impl Pack<'_> {
    /// A map's header; `pairs` keys with their values follow.
    pub(super) fn map(&mut self, pairs: u16) {
        match u8::try_from(pairs) {
            Ok(few @ 0..16) => self.0.push(0x80 | few),
            _ => self.put(0xde, pairs.to_be_bytes()),
        }
    }

    /// A key whose value the caller writes.
    pub(super) fn key(&mut self, key: &str) {
        self.put_str(key);
    }

    pub(super) fn nil(&mut self, key: &str) {
        self.key(key);
        self.0.push(0xc0);
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.0.push(if value { 0xc3 } else { 0xc2 });
    }

    pub(super) fn int64(&mut self, key: &str, value: i64) {
        self.key(key);
        self.put(0xd3, value.to_be_bytes());
    }

    pub(super) fn uint64(&mut self, key: &str, value: u64) {
        self.key(key);
        self.put(0xcf, value.to_be_bytes());
    }

    /// An integer in the shortest form; the reference's `int`.
    pub(super) fn int(&mut self, key: &str, value: i64) {
        self.key(key);
        if let Ok(value) = u64::try_from(value) {
            self.put_unsigned(value);
        } else {
            self.put_negative(value);
        }
    }

    pub(super) fn duration(&mut self, key: &str, value: Duration) {
        self.int64(key, nanos(value));
    }

    /// Never nil, which ends the reference's process.
    pub(super) fn time(&mut self, key: &str, value: WallTime) {
        self.key(key);
        let (seconds, nanos) = unix_time(value);
        match (u32::try_from(seconds), u64::try_from(seconds)) {
            (Ok(seconds), _) if nanos == 0 => {
                self.put(0xd6, TIMESTAMP.to_be_bytes());
                self.0.extend(seconds.to_be_bytes());
            }
            (_, Ok(seconds @ ..0x4_0000_0000)) => {
                self.put(0xd7, TIMESTAMP.to_be_bytes());
                self.0.extend((u64::from(nanos) << 34 | seconds).to_be_bytes());
            }
            _ => {
                self.put(0xc7, [12]);
                self.0.extend(TIMESTAMP.to_be_bytes());
                self.0.extend(nanos.to_be_bytes());
                self.0.extend(seconds.to_be_bytes());
            }
        }
    }

    pub(super) fn str(&mut self, key: &str, value: &str) {
        self.key(key);
        self.put_str(value);
    }

    pub(super) fn bin(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.put_bin_header(value.len());
        self.0.extend_from_slice(value);
    }

    /// An address as text; empty for none.
    pub(super) fn address(&mut self, key: &str, value: Option<SocketAddr>) {
        self.key(key);
        self.put_shown(Address(value), Self::put_str_header);
    }

    /// An address as the reference's address struct; nil for none.
    pub(super) fn addr(&mut self, key: &str, value: Option<SocketAddr>) {
        let Some(address) = value else { return self.nil(key) };
        self.key(key);
        self.map(3);
        self.key("IP");
        self.put_shown(address.ip(), Self::put_bin_header);
        self.int("Port", address.port().into());
        self.str("Zone", &zone(address));
    }

    fn put_str(&mut self, value: &str) {
        self.put_str_header(value.len());
        self.0.extend_from_slice(value.as_bytes());
    }

    /// Writes a text of unknown length, and then moves its header before it: no buffer besides.
    fn put_shown(&mut self, value: impl Display, put_header: fn(&mut Self, usize)) {
        let start = self.0.len();
        // Writing to a vector does not fail.
        let _ = write!(self.0, "{value}");
        let end = self.0.len();
        put_header(self, end - start);
        let header = self.0.len() - end;
        if let Some(written) = self.0.get_mut(start..) {
            written.rotate_right(header);
        }
    }

    fn put_str_header(&mut self, len: usize) {
        match u8::try_from(len) {
            Ok(short @ 0..32) => self.0.push(0xa0 | short),
            _ => self.put_len([0xd9, 0xda, 0xdb], len),
        }
    }

    fn put_bin_header(&mut self, len: usize) {
        self.put_len([0xc4, 0xc5, 0xc6], len);
    }

    /// A length after the marker of its width; a string of 4 GiB does not occur.
    fn put_len(&mut self, [of_8, of_16, of_32]: [u8; 3], len: usize) {
        if let Ok(len) = u8::try_from(len) {
            self.put(of_8, [len]);
        } else if let Ok(len) = u16::try_from(len) {
            self.put(of_16, len.to_be_bytes());
        } else {
            self.put(of_32, u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }

    fn put_unsigned(&mut self, value: u64) {
        if let Ok(value) = u8::try_from(value) {
            if value < 0x80 { self.0.push(value) } else { self.put(0xcc, [value]) }
        } else if let Ok(value) = u16::try_from(value) {
            self.put(0xcd, value.to_be_bytes());
        } else if let Ok(value) = u32::try_from(value) {
            self.put(0xce, value.to_be_bytes());
        } else {
            self.put(0xcf, value.to_be_bytes());
        }
    }

    fn put_negative(&mut self, value: i64) {
        if let Ok(value) = i8::try_from(value) {
            if value < -32 { self.put(0xd0, value.to_be_bytes()) } else { self.0.extend(value.to_be_bytes()) }
        } else if let Ok(value) = i16::try_from(value) {
            self.put(0xd1, value.to_be_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.put(0xd2, value.to_be_bytes());
        } else {
            self.put(0xd3, value.to_be_bytes());
        }
    }

    fn put<const N: usize>(&mut self, marker: u8, bytes: [u8; N]) {
        self.0.push(marker);
        self.0.extend_from_slice(&bytes);
    }
}
