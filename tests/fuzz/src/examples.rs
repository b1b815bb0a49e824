//! The examples' decoders.

use bytes::BytesMut;
use tcp_demux::Framing;
use tcp_demux::file::File;

pub(crate) use http_gateway::fuzzing::{frame as gateway_frame, frames as gateway_frame_beginnings};
pub(crate) use tcp_demux::fuzzing::{
    order as demux_order, orders as demux_order_beginnings, proxy_header as demux_proxy,
    proxy_headers as demux_proxy_beginnings,
};

/// How a stream is cut, where its first read ends, and the stream. In however many reads it comes, the messages are the same.
pub(crate) fn demux_framing(bytes: &[u8]) -> bool {
    let [kind, first, stream @ ..] = bytes else { return false };
    let framing = &framings()[usize::from(*kind) % 4];
    let at = usize::from(*first).min(stream.len());
    let whole = cut(framing, &[stream]);
    assert_eq!(whole, cut(framing, &[&stream[..at], &stream[at..]]), "{framing:?}");
    assert!(whole.0.iter().all(|message| message.len() <= LIMIT), "{framing:?}");
    !whole.0.is_empty()
}

pub(crate) fn demux_framing_beginnings() -> Vec<Vec<u8>> {
    [
        &b"\0\x05a line\r\nanother\n\nlast"[..],
        b"\x01\x01\0\x02ab\0\0\0\x01c",
        b"\x02\x05\0\0\0\x03abc\0\0\0\0",
        b"\x03\x03one--two---",
    ]
    .map(<[u8]>::to_vec)
    .into()
}

fn framings() -> [Framing; 4] {
    let delimiter = Framing::Delimiter("--".into());
    [Framing::Lines, Framing::LengthPrefixed16, Framing::LengthPrefixed32, delimiter]
}

/// The messages, what is left at the end, and whether one was too long.
fn cut(framing: &Framing, reads: &[&[u8]]) -> (Vec<Vec<u8>>, Option<Vec<u8>>, bool) {
    let (mut read, mut searched, mut messages) = (BytesMut::new(), 0, Vec::new());
    for bytes in reads {
        read.extend_from_slice(bytes);
        loop {
            match framing.decode(&mut read, &mut searched, LIMIT) {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(_) => return (messages, None, true),
            }
        }
    }
    (messages, framing.finish(read).map(|rest| rest.to_vec()), false)
}

/// The file `config.toml`, and the text of a framing in it.
pub(crate) fn demux_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match File::parse(text) {
        Ok(file) => file.config().is_ok(),
        Err(problem) => {
            assert!(problem.starts_with("line ") && problem.lines().count() == 1, "{problem}");
            false
        }
    }
}

pub(crate) fn demux_file_beginnings() -> Vec<Vec<u8>> {
    let text = "[server]\nhost = \"127.0.0.1\"\nport = 7999\nframing = \"delimiter:\\\\r\\\\n\"\nproxy_protocol = true\n\
        [[listener]]\nport = 8000\nframing = \"lines\"\n[management_server]\nport = 8001\n[limits]\n";
    vec![text.as_bytes().to_vec(), b"[[upstream]]\nhost = \"127.0.0.1\"\nport = 1\n".to_vec()]
}

const LIMIT: usize = 64;
