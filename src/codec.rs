//! Compression: zstd for frames, raw DEFLATE piece by piece, and gzip, zstd,
//! bzip2 and xz for whole inputs.
//!
//! Owns the crates for all of them. Every decoder is bounded: by the length that
//! the caller expects, or by a window of 128 MiB at most.

mod inputs;
mod writers;

use std::fmt;

use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, get_error_name};

pub use inputs::{BadStream, Compression, Crc32, Inflated, Inflater, expand};
pub use writers::{Expander, ZstdWriter};

/// The largest window, as a power of two, that a frame may ask of its decoder.
pub const FRAME_WINDOW_LOG: u32 = 23;

/// The largest window of a whole input in zstd: 128 MiB, what `--long` makes.
const WINDOW_LOG_MAX: u32 = 27;

/// The most memory, in KiB, that an xz input may ask for: a dictionary of 128
/// MiB, twice what any preset has, and what else the decoder needs.
const XZ_MEMORY_KIB: u32 = (128 << 10) + 256;

/// A zstd frame that can't be made or read.
#[derive(Debug, thiserror::Error)]
#[error("zstd: {0}")]
pub struct ZstdError(&'static str);

fn zstd_error(code: usize) -> ZstdError {
    ZstdError(get_error_name(code))
}

/// zstd levels for frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// Without a prefix.
    pub plain: i32,
    /// With a prefix: nearly all is one long match, which levels under 5 miss.
    pub delta: i32,
    /// Whether a look at a few places will do where content is like its prefix.
    pub quick: bool,
}

impl Levels {
    /// The levels that go with one for new content.
    pub fn for_content(plain: i32) -> Self {
        Self { plain, delta: plain.max(6) + 1, quick: true }
    }

    /// The hardest that pays: the levels above take more memory and time, and made
    /// nothing more than 0.1 % smaller.
    pub fn hardest() -> Self {
        Self { plain: HARDEST, delta: HARDEST, quick: false }
    }
}

const HARDEST: i32 = 19;

/// The most memory that a compressor of [`Levels::hardest`] takes, in bytes: two
/// contexts (a hash table of 16 MiB each, and a tree of 32 MiB for a frame, 64 with
/// its prefix), what both are made from and what comes out, and some to spare.
pub const HARDEST_MEMORY: u64 = 160 << 20;

/// Compresses frames, one after the other.
pub struct Compressor {
    context: CCtx<'static>,
    levels: Levels,
    /// A prefix and the content after it.
    both: Vec<u8>,
    /// What a frame was decompressed to.
    again: Vec<u8>,
}

/// A delta against alike content that is at most one in so many bytes of what it
/// holds is kept: a better search could hardly make it smaller.
const ALIKE_WORTH: usize = 200;

impl Compressor {
    /// A compressor for frames.
    pub fn new(levels: Levels) -> Result<Self, ZstdError> {
        let mut context = CCtx::create();
        set(&mut context, levels.plain)?;
        Ok(Self { context, levels, both: Vec::new(), again: Vec::new() })
    }

    /// Compresses `raw` into one frame, with `prefix` as the raw content that
    /// stands before it (empty for none).
    pub fn compress(&mut self, raw: &[u8], prefix: &[u8]) -> Result<Vec<u8>, ZstdError> {
        if prefix.is_empty() {
            let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(raw.len()));
            self.context.compress2(&mut out, raw).map_err(zstd_error)?;
            return Ok(out);
        }
        // Where the content follows its prefix in memory, zstd takes both as
        // one and is a third faster.
        self.both.clear();
        self.both.extend_from_slice(prefix);
        self.both.extend_from_slice(raw);
        let both = self.both.split_at(prefix.len());
        if self.levels.quick && alike(raw, prefix) {
            let out = compress_delta(both, self.levels.delta, true)?;
            if out.len() * ALIKE_WORTH <= raw.len() {
                return Ok(out);
            }
        }
        compress_delta(both, self.levels.delta, false)
    }

    /// Whether a frame decompresses to `raw`.
    pub fn gives(&mut self, frame: &[u8], raw: &[u8], prefix: &[u8]) -> Result<bool, ZstdError> {
        self.again.clear();
        self.again.reserve(raw.len());
        decompress_into(&mut self.again, frame, raw.len(), prefix)?;
        Ok(self.again == raw)
    }
}

/// Whether nearly all of the content stands at the same place in its prefix.
fn alike(raw: &[u8], prefix: &[u8]) -> bool {
    const PIECE: usize = 64;
    let pairs = raw.chunks_exact(PIECE).zip(prefix.chunks_exact(PIECE));
    let same = pairs.filter(|(one, other)| one == other).count() * PIECE;
    same * 10 >= raw.len() * 9
}

/// Compresses the second of two parts that lie side by side, with the first as its
/// prefix. Where both are `alike`, a look at a few places finds what they share:
/// most of the time would go into noting all places of the prefix.
fn compress_delta(
    (prefix, raw): (&[u8], &[u8]),
    level: i32,
    alike: bool,
) -> Result<Vec<u8>, ZstdError> {
    // Of its own, since it must not outlive the prefix.
    let mut context = CCtx::create();
    set(&mut context, if alike { 1 } else { level })?;
    // No larger than needed, since zstd's tables grow with it.
    let length = prefix.len() + raw.len();
    let log = (usize::BITS - length.leading_zeros()).clamp(10, FRAME_WINDOW_LOG);
    context.set_parameter(CParameter::WindowLog(log)).map_err(zstd_error)?;
    if alike {
        for parameter in [CParameter::HashLog(log - 2), CParameter::MinMatch(6)] {
            context.set_parameter(parameter).map_err(zstd_error)?;
        }
    }
    context.ref_prefix(prefix).map_err(zstd_error)?;
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(raw.len()));
    context.compress2(&mut out, raw).map_err(zstd_error)?;
    Ok(out)
}

fn set(context: &mut CCtx<'_>, level: i32) -> Result<(), ZstdError> {
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter).map_err(zstd_error)?;
    }
    Ok(())
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor")
    }
}

/// Decompresses frames, one after the other.
pub struct Decompressor;

impl Decompressor {
    /// Decompresses one frame of exactly `length` bytes, with `prefix` as the
    /// raw content that stands before it (empty for none).
    pub fn decompress(frame: &[u8], length: usize, prefix: &[u8]) -> Result<Vec<u8>, ZstdError> {
        let mut out = Vec::with_capacity(length);
        decompress_into(&mut out, frame, length, prefix)?;
        Ok(out)
    }
}

/// Decompresses into an empty buffer that has room for `length`.
fn decompress_into(
    out: &mut Vec<u8>,
    frame: &[u8],
    length: usize,
    prefix: &[u8],
) -> Result<(), ZstdError> {
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(FRAME_WINDOW_LOG)).map_err(zstd_error)?;
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(zstd_error)?;
    }
    // Several frames, and those that are skipped, would be taken as well.
    if zstd::zstd_safe::find_frame_compressed_size(frame).map_err(zstd_error)? != frame.len() {
        return Err(ZstdError("the frame is followed by other bytes"));
    }
    let count = context.decompress(out, frame).map_err(zstd_error)?;
    if count != length {
        return Err(ZstdError("the frame has another length than its header says"));
    }
    Ok(())
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that don't compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut state: u64 = 1;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn deltas_come_back_and_are_small_however_content_moved() {
        let old = noise(256 << 10);
        let mut edited = old.clone();
        for byte in edited.iter_mut().step_by(8 << 10) {
            *byte ^= 1;
        }
        let moved = [b"new".as_slice(), &edited].concat();
        let mostly_new = [&old[..16 << 10], &noise(300 << 10)[256 << 10..]].concat();
        let cases = [(&edited, true), (&moved, false), (&mostly_new, false)];
        let mut compressor = Compressor::new(Levels::for_content(6)).unwrap();
        for (content, is_alike) in cases {
            assert_eq!(alike(content, &old), is_alike);
            let frame = compressor.compress(content, &old).unwrap();
            assert!(compressor.gives(&frame, content, &old).unwrap());
            assert!(!compressor.gives(&frame, &old, &old).unwrap_or(false));
            assert_eq!(&Decompressor::decompress(&frame, content.len(), &old).unwrap(), content);
        }
        let frame = compressor.compress(&edited, &old).unwrap();
        assert!(frame.len() * ALIKE_WORTH <= edited.len(), "{}", frame.len());
        let frame = compressor.compress(&moved, &old).unwrap();
        assert!(frame.len() * ALIKE_WORTH <= moved.len(), "{}", frame.len());
    }

    #[test]
    fn what_is_alike_only_in_place_gets_the_better_search() {
        // Equal in place but for every tenth piece, and those stand elsewhere.
        let old = noise(256 << 10);
        let mut shuffled = old.clone();
        let pieces = old.len() / 64;
        for at in (0..pieces).step_by(11) {
            let from = (at * 7 + 5) % (pieces - 1) * 64 + 3;
            shuffled[at * 64..][..64].copy_from_slice(&old[from..][..64]);
        }
        assert!(alike(&shuffled, &old));
        let mut compressor = Compressor::new(Levels::for_content(6)).unwrap();
        let frame = compressor.compress(&shuffled, &old).unwrap();
        let both = [&old[..], &shuffled].concat();
        let full = compress_delta(both.split_at(old.len()), 7, false).unwrap();
        assert_eq!(frame, full);
        assert!(compressor.gives(&frame, &shuffled, &old).unwrap());
    }

    #[test]
    fn a_payload_is_one_frame() {
        let mut compressor = Compressor::new(Levels::for_content(3)).unwrap();
        let mut frame = |raw: &[u8]| compressor.compress(raw, &[]).unwrap();
        let (one, two) = (frame(b"one"), frame(b"two"));
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, b'x'];
        let decompress = |frames: &[&[u8]], length| {
            Decompressor::decompress(&frames.concat(), length, &[]).map_err(|error| error.0)
        };
        let refused = Err("the frame is followed by other bytes");
        assert_eq!(decompress(&[&one], 3), Ok(b"one".to_vec()));
        assert_eq!(decompress(&[&one, &two], 6), refused);
        assert_eq!(decompress(&[&one, &skipped], 3), refused);
        assert_eq!(decompress(&[&skipped, &one], 3), refused);
        assert!(decompress(&[&skipped], 1).is_err());
        assert!(decompress(&[], 1).is_err());
    }
}
