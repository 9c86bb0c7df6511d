//! Compression: zstd for frames, gzip and zstd for whole inputs.
//!
//! Owns the zstd and flate2 crates. Every decoder is bounded: by the length
//! that the caller expects, or by a window of `WINDOW_LOG_MAX`.

use std::fmt;
use std::io::{self, BufRead, Read};

use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, get_error_name};

/// The largest window, as a power of two, that a frame may ask of its decoder.
pub const FRAME_WINDOW_LOG: u32 = 23;

/// The largest window of a whole input in zstd: 128 MiB, what `--long` makes.
const WINDOW_LOG_MAX: u32 = 27;

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
}

impl Levels {
    /// The levels that go with one for new content.
    pub fn for_content(plain: i32) -> Self {
        Self { plain, delta: plain.max(6) + 1 }
    }
}

/// Compresses frames, one after the other.
pub struct Compressor {
    context: CCtx<'static>,
    levels: Levels,
}

impl Compressor {
    /// A compressor for frames.
    pub fn new(levels: Levels) -> Result<Self, ZstdError> {
        let mut context = CCtx::create();
        set(&mut context, levels.plain)?;
        Ok(Self { context, levels })
    }

    /// Compresses `raw` into one frame, with `prefix` as the raw content that
    /// stands before it (empty for none).
    pub fn compress(&mut self, raw: &[u8], prefix: &[u8]) -> Result<Vec<u8>, ZstdError> {
        let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(raw.len()));
        if prefix.is_empty() {
            self.context.compress2(&mut out, raw).map_err(zstd_error)?;
        } else {
            // Where the content follows its prefix in memory, zstd takes both as
            // one and is a third faster.
            let both = [prefix, raw].concat();
            let (prefix, raw) = both.split_at(prefix.len());
            // Of its own, since it must not outlive the prefix.
            let mut context = CCtx::create();
            set(&mut context, self.levels.delta)?;
            // No larger than needed, since zstd's tables grow with it.
            let log = (usize::BITS - both.len().leading_zeros()).clamp(10, FRAME_WINDOW_LOG);
            context.set_parameter(CParameter::WindowLog(log)).map_err(zstd_error)?;
            context.ref_prefix(prefix).map_err(zstd_error)?;
            context.compress2(&mut out, raw).map_err(zstd_error)?;
        }
        Ok(out)
    }
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
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(FRAME_WINDOW_LOG)).map_err(zstd_error)?;
        if !prefix.is_empty() {
            context.ref_prefix(prefix).map_err(zstd_error)?;
        }
        // Several frames, and those that are skipped, would be taken as well.
        if zstd::zstd_safe::find_frame_compressed_size(frame).map_err(zstd_error)? != frame.len() {
            return Err(ZstdError("the frame is followed by other bytes"));
        }
        let mut out = Vec::with_capacity(length);
        let count = context.decompress(&mut out, frame).map_err(zstd_error)?;
        if count != length {
            return Err(ZstdError("the frame has another length than its header says"));
        }
        Ok(out)
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
    }
}

/// Reads the decompressed bytes of a gzip input, of one or several members.
pub fn gzip_reader<'a>(input: impl BufRead + 'a) -> Box<dyn Read + 'a> {
    Box::new(flate2::bufread::MultiGzDecoder::new(input))
}

/// Reads the decompressed bytes of a zstd input, of one or several frames.
pub fn zstd_reader<'a>(input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(Box::new(decoder))
}

#[cfg(test)]
mod tests {
    use super::*;

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
