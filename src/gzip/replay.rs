//! What a stream is made of besides its content, and how it is made again.

use std::fmt;

use super::member::TRAILER;
use super::{Encoder, EncoderId};
use crate::codec::Crc32;
use crate::varint::{self, Cursor, Malformed};

/// The most bytes that a replay may take.
pub(super) const MOST_BYTES: usize = 512 << 10;

/// Content that is longer is worth another thread.
const LARGE: u64 = 1 << 20;

/// The longest name of an encoder.
const LONGEST_NAME: u32 = 64;

/// What every header begins with; it is not kept.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Flags of a member, below the length of its header.
const FLUSHED: u64 = 1;
const SAME_HEADER: u64 = 2;
const OTHER_TRAILER: u64 = 4;
const FLAGS: u32 = 3;

/// One member of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its header as it is; `None` for that of the member before.
    pub header: Option<Vec<u8>>,
    /// The length of its content.
    pub length: u64,
    /// Whether it was flushed before its end.
    pub flushed: bool,
    /// Its trailer as it is; `None` if that is what the content says.
    pub trailer: Option<[u8; TRAILER]>,
}

impl Member {
    /// Appends it to stored bytes.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let header = self.header.as_deref().map(|bytes| &bytes[MAGIC.len().min(bytes.len())..]);
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(self.flushed, FLUSHED)
            | flag(header.is_none(), SAME_HEADER)
            | flag(self.trailer.is_some(), OTHER_TRAILER);
        varint::put(out, varint::len64(header.unwrap_or_default()) << FLAGS | flags);
        out.extend_from_slice(header.unwrap_or_default());
        varint::put(out, self.length);
        out.extend_from_slice(self.trailer.as_ref().map_or(&[], |trailer| trailer));
    }

    /// Reads one.
    fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let start = cursor.varint()?;
        let header = match start >> FLAGS {
            0 if start & SAME_HEADER != 0 => None,
            length if start & SAME_HEADER == 0 => {
                let length = usize::try_from(length).map_err(|_| Malformed::TooShort)?;
                Some([&MAGIC, cursor.take(length)?].concat())
            }
            _ => return Err(Malformed::Other("a header is both there and left out")),
        };
        let length = cursor.varint()?;
        let trailer = (start & OTHER_TRAILER != 0).then(|| cursor.array()).transpose()?;
        Ok(Self { header, length, flushed: start & FLUSHED != 0, trailer })
    }
}

/// The trailer that goes with content of that checksum.
pub(super) fn usual_trailer(crc: &Crc32) -> [u8; TRAILER] {
    let both = u64::from(crc.amount()) << 32 | u64::from(crc.sum());
    both.to_le_bytes()
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
            member.put(&mut out);
        }
        out
    }

    /// From what [`to_bytes`](Self::to_bytes) returned.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReplayError> {
        if bytes.len() > MOST_BYTES {
            let (what, limit) = ("the description of a gzip stream", MOST_BYTES as u64);
            return Err(Malformed::OverLimit { what, limit }.into());
        }
        let mut cursor = Cursor::new(bytes);
        let length = cursor.count("an encoder's name", LONGEST_NAME)?;
        let name = cursor.take(varint::in_memory(length))?;
        let version = cursor.count("an encoder's version", u32::MAX)?;
        let name = std::str::from_utf8(name)
            .map_err(|_| Malformed::Other("an encoder's name is no text"))?;
        let encoder = EncoderId::of_version(name, version)
            .ok_or_else(|| ReplayError::Unknown { name: name.to_owned(), version })?;

        let mut members = Vec::new();
        for _ in 0..cursor.count("members", u32::MAX)? {
            members.push(Member::take(&mut cursor)?);
        }
        if members.first().is_none_or(|first| first.header.is_none()) {
            return Err(Malformed::Other("the first member has no header").into());
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
    id: EncoderId,
    encoder: Box<dyn Encoder>,
    members: std::vec::IntoIter<Member>,
    /// The header of the last member that has one of its own.
    header: Vec<u8>,
    open: Option<Open>,
}

/// The member that is being written.
struct Open {
    /// How much of its content is missing.
    left: u64,
    flushed: bool,
    trailer: Option<[u8; TRAILER]>,
    crc: Crc32,
}

impl Rebuild {
    /// Starts to make the stream.
    pub fn new(replay: Replay) -> Self {
        let Replay { encoder: id, members } = replay;
        let (encoder, members) = (id.encoder(), members.into_iter());
        Self { id, encoder, members, header: Vec::new(), open: None }
    }

    /// The same, encoding on up to so many threads beside this one if the stream is
    /// large enough for that. What is written lags behind the content then.
    pub fn on_threads(replay: Replay, threads: usize) -> Self {
        let large = replay.members.iter().any(|member| member.length > LARGE);
        let encoder = large.then(|| replay.encoder.encoder_on(threads));
        let rebuild = Self::new(replay);
        Self { encoder: encoder.unwrap_or(rebuild.encoder), ..rebuild }
    }

    /// Takes in the next bytes of the content; appends what is complete to `out`.
    pub fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) -> Result<(), WrongLength> {
        while !content.is_empty() {
            let left = self.ready(out).ok_or(WrongLength)?;
            let part = usize::try_from(left).map_or(content.len(), |left| left.min(content.len()));
            let (now, rest) = content.split_at(part);
            self.encoder.write(now, out);
            if let Some(open) = &mut self.open {
                open.left -= varint::len64(now);
                if open.trailer.is_none() {
                    open.crc.update(now);
                }
            }
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

    /// Ends members that are complete; returns how much content the next one
    /// wants, unless there is none.
    fn ready(&mut self, out: &mut Vec<u8>) -> Option<u64> {
        loop {
            if let Some(Open { left, .. }) = self.open
                && left > 0
            {
                return Some(left);
            }
            if let Some(open) = self.open.take() {
                if open.flushed {
                    self.encoder.flush(out);
                }
                self.encoder.finish(out);
                out.extend(open.trailer.unwrap_or_else(|| usual_trailer(&open.crc)));
                self.encoder.reset();
            }
            let Member { header, length: left, flushed, trailer } = self.members.next()?;
            self.header = header.unwrap_or(std::mem::take(&mut self.header));
            out.extend_from_slice(&self.header);
            self.open = Some(Open { left, flushed, trailer, crc: Crc32::new() });
        }
    }
}

impl fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rebuild").field(&self.id).finish()
    }
}
