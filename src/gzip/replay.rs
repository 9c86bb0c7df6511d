//! What a stream is made of besides its content, and how it is made again.

use std::fmt;

use super::member::TRAILER;
use super::{Encoder, EncoderId};
use crate::varint::{self, Cursor, Malformed};

/// The most members that are kept of a stream, ...
pub(super) const MOST_MEMBERS: u32 = 1 << 18;
/// ... and the most bytes of their headers in all.
pub(super) const MOST_HEADERS: usize = 8 << 20;

/// The longest name of an encoder.
const LONGEST_NAME: u32 = 64;

/// One member of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its header as it is.
    pub header: Vec<u8>,
    /// The length of its content.
    pub length: u64,
    /// Whether it was flushed before its end.
    pub flushed: bool,
    /// Its trailer as it is.
    pub trailer: [u8; TRAILER],
}

/// All that is needed, besides its content, to make a stream again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// What encoded all its members; that it does was seen with this version of it.
    pub encoder: EncoderId,
    /// Its members, mostly one.
    pub members: Vec<Member>,
}

/// Stored bytes that are no replay, or one that can't be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The bytes don't hold one.
    #[error("the description of a gzip stream is damaged: {0}")]
    Malformed(#[from] Malformed),
    /// It is of an encoder, or of a version of one, that isn't there.
    #[error("this program has no gzip encoder {name}, version {version}")]
    Unknown {
        /// The encoder's name.
        name: String,
        /// Its version.
        version: u32,
    },
}

impl Replay {
    /// The length of the content of all members.
    pub fn content_length(&self) -> u64 {
        self.members.iter().fold(0, |sum, member| sum.saturating_add(member.length))
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut out, name) = (Vec::new(), self.encoder.name().as_bytes());
        varint::put(&mut out, varint::len64(name));
        out.extend_from_slice(name);
        varint::put(&mut out, self.encoder.version().into());
        varint::put(&mut out, self.members.len() as u64);
        for member in &self.members {
            let flushed = u64::from(member.flushed);
            varint::put(&mut out, varint::len64(&member.header) << 1 | flushed);
            out.extend_from_slice(&member.header);
            varint::put(&mut out, member.length);
            out.extend_from_slice(&member.trailer);
        }
        out
    }

    /// From what [`to_bytes`](Self::to_bytes) returned.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReplayError> {
        let mut cursor = Cursor::new(bytes);
        let length = cursor.count("an encoder's name", LONGEST_NAME)?;
        let name = cursor.take(varint::in_memory(length))?;
        let version = cursor.count("an encoder's version", u32::MAX)?;
        let name = std::str::from_utf8(name)
            .map_err(|_| Malformed::Other("an encoder's name is no text"))?;
        let encoder = EncoderId::of_version(name, version)
            .ok_or_else(|| ReplayError::Unknown { name: name.to_owned(), version })?;

        let (count, mut headers) = (cursor.count("members", MOST_MEMBERS)?, 0);
        let mut members = Vec::new();
        for _ in 0..count {
            let start = cursor.count("a header", u32::MAX)?;
            let (length, flushed) = (varint::in_memory(start >> 1), start & 1 == 1);
            headers += length;
            if headers > MOST_HEADERS {
                return Err(Malformed::Other("the headers are too long").into());
            }
            let header = cursor.take(length)?.to_vec();
            let (length, trailer) = (cursor.varint()?, cursor.array()?);
            members.push(Member { header, length, flushed, trailer });
        }
        if !cursor.is_empty() {
            return Err(Malformed::Other("there are bytes after the last member").into());
        }
        Ok(Self { encoder, members })
    }
}

/// More or less content than a replay tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content has another length than the gzip stream that it is of")]
pub struct WrongLength;

/// Makes a stream again, from its content in pieces of any size.
pub struct Rebuild {
    encoder: EncoderId,
    members: std::vec::IntoIter<Member>,
    open: Option<Open>,
}

/// The member that is being written.
struct Open {
    encoder: Box<dyn Encoder>,
    /// How much of its content is missing.
    left: u64,
    flushed: bool,
    trailer: [u8; TRAILER],
}

impl Rebuild {
    /// Starts to make the stream.
    pub fn new(replay: Replay) -> Self {
        Self { encoder: replay.encoder, members: replay.members.into_iter(), open: None }
    }

    /// Takes in the next bytes of the content; appends what is complete to `out`.
    pub fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) -> Result<(), WrongLength> {
        while !content.is_empty() {
            let open = self.ready(out).ok_or(WrongLength)?;
            let part = usize::try_from(open.left).map_or(content.len(), |n| n.min(content.len()));
            let (now, rest) = content.split_at(part);
            open.encoder.write(now, out);
            open.left -= varint::len64(now);
            content = rest;
        }
        Ok(())
    }

    /// Ends the stream.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), WrongLength> {
        match self.ready(out) {
            None => Ok(()),
            Some(_) => Err(WrongLength),
        }
    }

    /// Ends members that are complete; returns the one that wants content.
    fn ready(&mut self, out: &mut Vec<u8>) -> Option<&mut Open> {
        loop {
            match &mut self.open {
                Some(open) if open.left > 0 => break,
                Some(open) => {
                    if open.flushed {
                        open.encoder.flush(out);
                    }
                    open.encoder.finish(out);
                    out.extend_from_slice(&open.trailer);
                    self.open = None;
                }
                None => {
                    let Member { header, length: left, flushed, trailer } = self.members.next()?;
                    out.extend_from_slice(&header);
                    let encoder = self.encoder.encoder();
                    self.open = Some(Open { encoder, left, flushed, trailer });
                }
            }
        }
        self.open.as_mut()
    }
}

impl fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rebuild").field(&self.encoder).finish()
    }
}
