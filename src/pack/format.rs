//! The bytes of pack and frame headers (docs/FORMAT.md sections 4.1 and 4.2).
//!
//! Encodes what writers need and decodes with every limit checked. It assumes
//! nothing of the bytes that it decodes.

use crate::digest::Id;
use crate::varint::{self, Cursor, Malformed, in_memory};

/// Bytes of a pack header without features.
const HEADER: usize = 24;
/// The largest decoded payload of a frame.
pub const FRAME_RAW_MAX: u32 = 4 << 20;
/// The largest payload of a frame as it is stored.
pub const FRAME_STORED_MAX: u32 = 8 << 20;
/// The largest frame header.
pub const FRAME_HEADER_MAX: u32 = 1 << 20;
/// The largest chunk of content.
const CONTENT_CHUNK_MAX: u32 = 256 << 10;
/// The largest chunk of anything else.
const METADATA_CHUNK_MAX: u32 = 1 << 20;
/// The most chunks in a frame.
pub const FRAME_CHUNKS_MAX: u32 = 1 << 16;
/// The largest prefix of a frame.
pub const PREFIX_MAX: u32 = 4 << 20;
/// How deep frames may stand on each other.
pub const DEPTH_MAX: u8 = 2;
/// Bytes of a frame header before its variable part.
const FRAME_FIXED: usize = 60;
const FRAME_HASH: usize = 16;
const BASE_DIRECTORIES_MAX: u32 = 1024;
const BASE_RUNS_MAX: u32 = 1 << 16;
const FEATURES_MAX: u32 = 4096;

const PACK_MAGIC: &[u8; 8] = b"ORLOPACK";
const FRAME_MAGIC: &[u8; 8] = b"ORLFRAME";
const VERSION: u16 = 1;

/// What a pack holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PackKind {
    /// Content of files.
    Data,
    /// Recipes, sections and directories.
    Metadata,
}

impl PackKind {
    /// The number of this kind in the format.
    pub fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Metadata => 2,
        }
    }
}

/// What the chunks of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Content of files.
    Content,
    /// Recipes.
    Recipes,
    /// Sections.
    Sections,
    /// Directories whose pack is gone.
    Directories,
}

impl FrameKind {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Content => 1,
            Self::Recipes => 2,
            Self::Sections => 3,
            Self::Directories => 4,
        }
    }

    pub(super) fn from_code(code: u8) -> Result<Self, Malformed> {
        match code {
            1 => Ok(Self::Content),
            2 => Ok(Self::Recipes),
            3 => Ok(Self::Sections),
            4 => Ok(Self::Directories),
            _ => Err(Malformed::Other("a frame is of a kind that this program doesn't know")),
        }
    }

    /// The largest chunk in such frames.
    fn chunk_max(self) -> u32 {
        match self {
            Self::Content => CONTENT_CHUNK_MAX,
            Self::Recipes | Self::Sections | Self::Directories => METADATA_CHUNK_MAX,
        }
    }

    /// The kind of pack that such frames stand in.
    pub fn pack(self) -> PackKind {
        match self {
            Self::Content => PackKind::Data,
            Self::Recipes | Self::Sections | Self::Directories => PackKind::Metadata,
        }
    }
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Stored,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Stored => 0,
            Self::Zstd => 1,
        }
    }

    pub(super) fn from_code(code: u8) -> Result<Self, Malformed> {
        match code {
            0 => Ok(Self::Stored),
            1 => Ok(Self::Zstd),
            _ => Err(Malformed::Other("a frame has a codec that this program doesn't know")),
        }
    }
}

/// The line of a pack that was compressed as hard as it can be.
const OPTIMIZED: &str = "c optimized";

/// What the feature list of a pack says. Whoever doesn't know it can read the pack as
/// any other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackFeatures {
    /// Whether it was compressed as hard as it can be.
    pub optimized: bool,
    /// The generation of garbage collection that it was made in, which keeps its name
    /// apart from that of a pack with the same chunks that is about to be removed.
    pub generation: Option<u64>,
}

/// The header of a pack of this kind.
pub fn pack_header(kind: PackKind, has: PackFeatures) -> Vec<u8> {
    let optimized = has.optimized.then(|| format!("{OPTIMIZED}\n"));
    let generation = has.generation.map(|number| format!("c generation-{number}\n"));
    let features: String = optimized.into_iter().chain(generation).collect();
    let mut out = PACK_MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[kind.code(), 0]);
    out.extend_from_slice(&len32(features.len()).to_le_bytes());
    out.extend_from_slice(features.as_bytes());
    let hash = Id::of(&out);
    out.extend_from_slice(&hash.as_bytes()[..8]);
    debug_assert_eq!(out.len(), HEADER + features.len());
    out
}

/// What a pack header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// What the pack holds.
    pub kind: PackKind,
    /// Whether it was compressed as hard as it can be.
    pub optimized: bool,
    /// Bytes of the header.
    pub length: usize,
}

/// What a pack header says that stops us from reading on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Damaged, or no pack.
    #[error("the pack header is damaged")]
    Malformed(#[from] Malformed),
    /// Made by a newer program.
    #[error("the pack needs `{0}`, which this program doesn't know")]
    Unsupported(String),
}

/// Checks the first bytes of a pack, of which at least 24 or all are given.
pub fn check_pack_header(bytes: &[u8]) -> Result<PackHeader, HeaderError> {
    let mut cursor = Cursor::new(bytes);
    if &cursor.array()? != PACK_MAGIC {
        return Err(Malformed::Other("it doesn't begin as a pack does").into());
    }
    let (version, kind, cipher, features) =
        (cursor.u16()?, cursor.u8()?, cursor.u8()?, cursor.u32()?);
    if version != VERSION {
        return Err(HeaderError::Unsupported(format!("pack version {version}")));
    }
    if features > FEATURES_MAX {
        let limit = FEATURES_MAX.into();
        return Err(Malformed::OverLimit { what: "the feature list", limit }.into());
    }
    let features = cursor.take(in_memory(features))?;
    let length = bytes.len() - cursor.rest().len();
    if cursor.array::<8>()? != Id::of(&bytes[..length]).as_bytes()[..8] {
        return Err(Malformed::Other("its hash is wrong").into());
    }
    if cipher != 0 {
        return Err(HeaderError::Unsupported(format!("cipher {cipher}")));
    }
    let mut optimized = false;
    for line in String::from_utf8_lossy(features).lines() {
        if let Some(name) = line.strip_prefix("x ") {
            return Err(HeaderError::Unsupported(name.to_owned()));
        }
        optimized |= line == OPTIMIZED;
    }
    let kind = match kind {
        1 => PackKind::Data,
        2 => PackKind::Metadata,
        _ => return Err(HeaderError::Unsupported(format!("pack kind {kind}"))),
    };
    Ok(PackHeader { kind, optimized, length: length + 8 })
}

/// Chunks of one directory that a frame uses as its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseRun {
    /// The directory; `None` for that of the frame's own pack.
    pub directory: Option<Id>,
    /// Position of the first chunk.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The header of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the chunks are.
    pub kind: FrameKind,
    /// How the payload is stored.
    pub codec: Codec,
    /// How many frames must be decoded before this one, one upon the other.
    pub depth: u8,
    /// Bytes of payload.
    pub stored_len: u32,
    /// Bytes of the decoded payload.
    pub raw_len: u32,
    /// Of the payload as stored.
    pub payload: Id,
    /// The prefix.
    pub bases: Vec<BaseRun>,
    /// Of each chunk, in bytes.
    pub lengths: Vec<u32>,
}

impl FrameHeader {
    /// The header in its stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FRAME_MAGIC.to_vec();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.stored_len.to_le_bytes());
        out.extend_from_slice(&self.raw_len.to_le_bytes());
        out.extend_from_slice(&len32(self.lengths.len()).to_le_bytes());
        out.extend_from_slice(&[self.kind.code(), self.codec.code(), 0, self.depth]);
        out.extend_from_slice(self.payload.as_bytes());
        let mut directories: Vec<Id> = self.bases.iter().filter_map(|run| run.directory).collect();
        directories.sort_unstable();
        directories.dedup();
        varint::put(&mut out, directories.len() as u64);
        for directory in &directories {
            out.extend_from_slice(directory.as_bytes());
        }
        varint::put(&mut out, self.bases.len() as u64);
        for run in &self.bases {
            let directory = run.directory.and_then(|id| directories.binary_search(&id).ok());
            varint::put(&mut out, directory.map_or(0, |at| at as u64 + 1));
            varint::put(&mut out, run.first.into());
            varint::put(&mut out, run.count.into());
        }
        for length in &self.lengths {
            varint::put(&mut out, (*length).into());
        }
        let length = len32(out.len() + FRAME_HASH);
        out[8..12].copy_from_slice(&length.to_le_bytes());
        let hash = Id::of(&out);
        out.extend_from_slice(&hash.as_bytes()[..FRAME_HASH]);
        out
    }

    /// Reads a header that `bytes` holds, from magic to hash.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if &cursor.array()? != FRAME_MAGIC {
            return Err(Malformed::Other("a frame doesn't begin as it should"));
        }
        let hashed = bytes.len().checked_sub(FRAME_HASH).ok_or(Malformed::TooShort)?;
        if in_memory(cursor.u32()?) != bytes.len()
            || Id::of(&bytes[..hashed]).as_bytes()[..FRAME_HASH] != bytes[hashed..]
        {
            return Err(Malformed::Other("the hash or length of a frame header is wrong"));
        }
        let stored_len = limited(cursor.u32()?, "the payload of a frame", FRAME_STORED_MAX)?;
        let raw_len = limited(cursor.u32()?, "the content of a frame", FRAME_RAW_MAX)?;
        let count = limited(cursor.u32()?, "the chunks of a frame", FRAME_CHUNKS_MAX)?;
        let kind = FrameKind::from_code(cursor.u8()?)?;
        let codec = Codec::from_code(cursor.u8()?)?;
        let (cipher, depth) = (cursor.u8()?, cursor.u8()?);
        if cipher != 0 {
            return Err(Malformed::Other("a frame has a cipher that this program doesn't know"));
        }
        let depth_limit = Malformed::OverLimit { what: "the depth of a frame", limit: 2 };
        if depth > DEPTH_MAX {
            return Err(depth_limit);
        }
        let payload = Id::from_bytes(cursor.array()?);
        let bases = decode_bases(&mut cursor)?;
        let mut lengths = Vec::with_capacity(in_memory(count));
        for _ in 0..count {
            lengths.push(cursor.count("the length of a chunk", raw_len)?);
        }
        let total: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if total != u64::from(raw_len) || lengths.contains(&0) || longest > kind.chunk_max() {
            return Err(Malformed::Other("the chunks of a frame don't add up to it"));
        }
        if bases.is_empty() != (depth == 0) || (codec == Codec::Stored && depth > 0) || count == 0 {
            return Err(Malformed::Other("the fields of a frame header contradict each other"));
        }
        if cursor.rest().len() != FRAME_HASH {
            return Err(Malformed::Other("a frame header has bytes too many"));
        }
        Ok(Self { kind, codec, depth, stored_len, raw_len, payload, bases, lengths })
    }

    /// The length of the header that begins with these bytes (12 or more), if
    /// they are the start of a frame.
    pub fn peek_length(bytes: &[u8]) -> Option<u32> {
        let mut cursor = Cursor::new(bytes);
        (&cursor.array().ok()? == FRAME_MAGIC).then_some(())?;
        let length = cursor.u32().ok()?;
        (length <= FRAME_HEADER_MAX && in_memory(length) >= FRAME_FIXED).then_some(length)
    }
}

fn decode_bases(cursor: &mut Cursor<'_>) -> Result<Vec<BaseRun>, Malformed> {
    let count = cursor.count("the base directories of a frame", BASE_DIRECTORIES_MAX)?;
    let mut directories = Vec::new();
    for _ in 0..count {
        directories.push(Id::from_bytes(cursor.array()?));
    }
    let count = cursor.count("the base runs of a frame", BASE_RUNS_MAX)?;
    let mut runs = Vec::new();
    for _ in 0..count {
        let directory =
            match cursor.count("a base directory", BASE_DIRECTORIES_MAX)? {
                0 => None,
                number => Some(*directories.get(in_memory(number) - 1).ok_or(Malformed::Other(
                    "a frame names a base directory that it doesn't list",
                ))?),
            };
        let first = cursor.count("a position", u32::MAX)?;
        let count = cursor.count("a count of chunks", u32::MAX)?;
        runs.push(BaseRun { directory, first, count });
    }
    Ok(runs)
}

/// A value, if it is within its limit.
pub(super) fn limited(value: u32, what: &'static str, limit: u32) -> Result<u32, Malformed> {
    if value <= limit { Ok(value) } else { Err(Malformed::OverLimit { what, limit: limit.into() }) }
}

/// A length in memory as the format's `u32`; lengths here are bounded far
/// below.
pub fn len32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
