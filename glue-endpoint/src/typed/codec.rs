//! How values become bytes, and bytes values.

use std::fmt;
use std::io::Cursor;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How values become bytes, and bytes values. An application may bring its own.
pub trait Codec {
    /// The type of the topics that bear its payloads: endpoints that differ in it exchange no messages on a topic.
    const TYPE_NAME: &'static str;

    /// Appends a value to `out`. After an error what was appended means nothing.
    ///
    /// # Errors
    /// [`CodecError`] for a value that has no such form, such as a map with keys that are no text in JSON.
    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads a value, which must be all that there is.
    ///
    /// # Errors
    /// [`CodecError`] tells what is wrong, and where.
    fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError>;
}

/// What a [`Codec`] could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError {
    /// Bytes of the payload that were read when it failed, if that is known.
    pub offset: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "at byte {offset}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for CodecError {}

/// JSON, in UTF-8. The topic's type is `json`.
///
/// What Go's `encoding/json` writes reads back, and the other way round, with two exceptions that both sides must heed: Go writes
/// `[]byte` as base64 text, serde writes `Vec<u8>` as an array of numbers; and a float that is no number, which Go refuses to
/// write, is null here.
#[derive(Clone, Copy, Debug)]
pub struct Json;

/// MessagePack, with structs as maps by the names of their fields, as the reference's `msgpack` package for Go has them. The
/// topic's type is `msgpack`.
#[derive(Clone, Copy, Debug)]
pub struct MessagePack;

impl Codec for Json {
    const TYPE_NAME: &'static str = "json";

    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer(out, value).map_err(|error| CodecError { offset: None, reason: error.to_string() })
    }

    fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(payload)
            .map_err(|error| CodecError { offset: offset(payload, &error), reason: error.to_string() })
    }
}

impl Codec for MessagePack {
    const TYPE_NAME: &'static str = "msgpack";

    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        rmp_serde::encode::write_named(out, value)
            .map_err(|error| CodecError { offset: None, reason: error.to_string() })
    }

    fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError> {
        let mut reader = rmp_serde::Deserializer::new(Cursor::new(payload));
        reader.set_max_depth(MAX_DEPTH);
        let value = T::deserialize(&mut reader);
        let offset = usize::try_from(reader.position()).unwrap_or(payload.len());
        match value {
            Ok(value) if offset == payload.len() => Ok(value),
            Ok(_) => Err(CodecError { offset: Some(offset), reason: "bytes after the value".to_owned() }),
            Err(error) => Err(CodecError { offset: Some(offset), reason: error.to_string() }),
        }
    }
}

/// Where in the payload; serde_json tells lines, and columns in bytes from 1.
fn offset(payload: &[u8], error: &serde_json::Error) -> Option<usize> {
    let lines_before = error.line().checked_sub(1)?;
    let ends = payload.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let line = if lines_before == 0 { 0 } else { ends.take(lines_before).last()? };
    Some((line + error.column()).min(payload.len()))
}

/// Values nest no deeper, as in serde_json: the stack is not for a peer to fill.
const MAX_DEPTH: usize = 128;
