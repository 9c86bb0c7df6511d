//! One frame: chunks in, stored bytes out, and back.
//!
//! A frame that was encoded has been decoded again and compared before anyone
//! sees it; a frame that is decoded has had its payload and every chunk checked
//! against their ids by the caller's directory.

use super::format::{
    BaseRun, Codec, FRAME_CHUNKS_MAX, FRAME_RAW_MAX, FrameHeader, FrameKind, PREFIX_MAX, len32,
};
use super::tables::FrameEntry;
use crate::codec::{Compressor, Decompressor, ZstdError};
use crate::digest::Id;
use crate::varint::Malformed;

/// Why a frame can't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Its header is damaged.
    #[error("the frame is malformed")]
    Header(#[from] Malformed),
    /// Its payload has another hash than the header says.
    #[error("the frame is damaged: expected payload {expected}, found {found}", expected = expected.short(), found = found.short())]
    Payload {
        /// What the header says.
        expected: Id,
        /// What the payload has.
        found: Id,
    },
    /// The compression library refused it.
    #[error(transparent)]
    Zstd(#[from] ZstdError),
    /// What was compressed didn't decompress to the same bytes.
    #[error(
        "compressing and decompressing gave other bytes; this memory or processor can't be trusted"
    )]
    Unfaithful,
}

/// The most base runs that a frame is given: far below what the format allows.
const RUNS_MAX: usize = 16_384;

/// Chunks that wait to be compressed together.
#[derive(Debug, Default)]
pub struct RawFrame {
    /// The chunks, one after the other.
    pub raw: Vec<u8>,
    /// Of each chunk, in bytes.
    pub lengths: Vec<u32>,
    /// Of each chunk.
    pub ids: Vec<Id>,
    /// What the frame is compressed against; empty for nothing.
    pub base: Base,
    /// Whether most likely it can't be compressed, so that this is to be tried with
    /// a part of it first.
    pub opaque: bool,
}

/// Chunks that a frame is compressed against.
#[derive(Debug, Default)]
pub struct Base {
    /// Which they are.
    pub runs: Vec<BaseRun>,
    /// Their bytes together.
    pub length: usize,
    /// The depth of a frame that stands on them; 0 where there are none.
    pub depth: u8,
}

impl Base {
    /// Whether `length` more bytes fit.
    pub fn has_room(&self, length: usize) -> bool {
        self.length + length <= PREFIX_MAX as usize && self.runs.len() < RUNS_MAX
    }

    /// Adds a chunk of a directory, of so many bytes.
    pub fn push(&mut self, directory: Id, position: u32, length: usize) {
        self.length += length;
        match self.runs.last_mut() {
            Some(run) if run.directory == Some(directory) && run.first + run.count == position => {
                run.count += 1;
            }
            _ => self.runs.push(BaseRun { directory: Some(directory), first: position, count: 1 }),
        }
    }
}

impl RawFrame {
    /// Whether a chunk of `length` bytes still fits.
    pub fn has_room(&self, length: usize) -> bool {
        self.raw.len() + length <= FRAME_RAW_MAX as usize
            && self.ids.len() < FRAME_CHUNKS_MAX as usize
    }

    /// Adds a chunk.
    pub fn push(&mut self, id: Id, chunk: &[u8]) {
        self.raw.extend_from_slice(chunk);
        self.lengths.push(len32(chunk.len()));
        self.ids.push(id);
    }

    /// Whether no chunk is in it.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A frame as it is stored.
#[derive(Debug)]
pub struct EncodedFrame {
    /// Header and payload.
    pub bytes: Vec<u8>,
    /// Its row in the frame table; offset and first position are filled in by
    /// the pack.
    pub entry: FrameEntry,
    /// Of each chunk, in bytes.
    pub lengths: Vec<u32>,
    /// Of each chunk.
    pub ids: Vec<Id>,
}

impl EncodedFrame {
    /// The frame with this header, whose chunks have these ids; `bytes` is the
    /// header and the payload.
    fn new(header: FrameHeader, bytes: Vec<u8>, ids: Vec<Id>) -> Self {
        let entry = FrameEntry {
            offset: 0,
            header_len: len32(bytes.len()) - header.stored_len,
            stored_len: header.stored_len,
            raw_len: header.raw_len,
            first: 0,
            count: len32(ids.len()),
            kind: header.kind,
            codec: header.codec,
            depth: header.depth,
        };
        Self { bytes, entry, lengths: header.lengths, ids }
    }
}

/// A frame that was read, with all that it is made from.
#[derive(Debug)]
pub struct StoredFrame {
    /// Its header.
    pub header: FrameHeader,
    /// Header and payload as they are stored.
    pub bytes: Vec<u8>,
    /// What its bases are.
    pub prefix: Vec<u8>,
    /// Its chunks, one after the other.
    pub raw: Vec<u8>,
}

/// A frame with a base is only worth having if it is this much smaller, in
/// percent of one without.
const WORTH_PERCENT: usize = 90;

/// A frame this much smaller than its content, in percent, is taken as worth
/// its base without a comparison.
const PLAINLY_WORTH_PERCENT: usize = 25;

/// How much of what most likely can't be compressed is tried, ...
const TRIED: usize = 128 << 10;
/// ... and how much smaller it must become for the rest to be, in percent.
const TRIED_PERCENT: usize = 97;

/// Finds the bytes of base chunks; `None` where they can't be read.
pub type FindBase = dyn Fn(&[BaseRun]) -> Option<Vec<u8>> + Send + Sync;

/// Compresses a frame, proves that it comes back, and puts its header before it.
/// A base that can't be read is none.
pub fn encode(
    kind: FrameKind,
    frame: RawFrame,
    compressor: &mut Compressor,
    find_base: &FindBase,
) -> Result<EncodedFrame, FrameError> {
    let found = if frame.base.depth == 0 { None } else { find_base(&frame.base.runs) };
    let (base, prefix) = found.map(|prefix| (frame.base, prefix)).unwrap_or_default();
    let worth_it = !frame.opaque || pays(&frame.raw, compressor)?;
    let (compressed, base) = if worth_it {
        compress(&frame.raw, base, &prefix, compressor)?
    } else {
        (Vec::new(), Base::default())
    };
    // Without the base, if that was found not to pay.
    let prefix = if base.depth == 0 { &[][..] } else { &prefix };
    let (codec, payload, base) = if worth_it && compressed.len() < frame.raw.len() {
        if !compressor.gives(&compressed, &frame.raw, prefix)? {
            return Err(FrameError::Unfaithful);
        }
        (Codec::Zstd, compressed.as_slice(), base)
    } else {
        (Codec::Stored, frame.raw.as_slice(), Base::default())
    };
    let header = FrameHeader {
        kind,
        codec,
        depth: base.depth,
        stored_len: len32(payload.len()),
        raw_len: len32(frame.raw.len()),
        payload: Id::of(payload),
        bases: base.runs,
        lengths: frame.lengths,
    };
    let mut bytes = header.encode();
    bytes.extend_from_slice(payload);
    Ok(EncodedFrame::new(header, bytes, frame.ids))
}

/// Compresses a frame again, with the chunks, the bases and so the depth that it
/// has: whatever stands on it goes on to. One that doesn't become smaller keeps its
/// bytes. `ids` are those of its chunks.
pub fn encode_again(
    frame: StoredFrame,
    ids: Vec<Id>,
    compressor: &mut Compressor,
) -> Result<EncodedFrame, FrameError> {
    let StoredFrame { header, bytes, prefix, raw } = frame;
    if header.codec == Codec::Stored && !pays(&raw, compressor)? {
        return Ok(EncodedFrame::new(header, bytes, ids));
    }
    let payload = compressor.compress(&raw, &prefix)?;
    if len32(payload.len()) >= header.stored_len {
        return Ok(EncodedFrame::new(header, bytes, ids));
    }
    if !compressor.gives(&payload, &raw, &prefix)? {
        return Err(FrameError::Unfaithful);
    }
    let (stored_len, id) = (len32(payload.len()), Id::of(&payload));
    let header = FrameHeader { codec: Codec::Zstd, stored_len, payload: id, ..header };
    let mut bytes = header.encode();
    bytes.extend_from_slice(&payload);
    Ok(EncodedFrame::new(header, bytes, ids))
}

/// Whether a part of this can be compressed.
fn pays(raw: &[u8], compressor: &mut Compressor) -> Result<bool, ZstdError> {
    let part = &raw[..raw.len().min(TRIED)];
    Ok(compressor.compress(part, &[])?.len() * 100 <= part.len() * TRIED_PERCENT)
}

/// Compresses against the base, or without one where that is hardly larger.
fn compress(
    raw: &[u8],
    base: Base,
    prefix: &[u8],
    compressor: &mut Compressor,
) -> Result<(Vec<u8>, Base), ZstdError> {
    let delta = compressor.compress(raw, prefix)?;
    if base.depth == 0 || delta.len() * 100 <= raw.len() * PLAINLY_WORTH_PERCENT {
        return Ok((delta, base));
    }
    let plain = compressor.compress(raw, &[])?;
    if delta.len() * 100 <= plain.len() * WORTH_PERCENT {
        Ok((delta, base))
    } else {
        Ok((plain, Base::default()))
    }
}

/// Decodes the payload of a frame. `prefix` is what its bases are.
pub fn decode(header: &FrameHeader, payload: &[u8], prefix: &[u8]) -> Result<Vec<u8>, FrameError> {
    let found = Id::of(payload);
    if found != header.payload {
        return Err(FrameError::Payload { expected: header.payload, found });
    }
    let length = header.raw_len as usize;
    match header.codec {
        Codec::Stored if payload.len() == length => Ok(payload.to_vec()),
        Codec::Stored => Err(Malformed::Other("a stored payload has another length").into()),
        Codec::Zstd => Ok(Decompressor::decompress(payload, length, prefix)?),
    }
}
