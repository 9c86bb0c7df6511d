//! Inputs that are compressed as a whole, in any of the ways that people use; and
//! the parts of gzip that `gzip` needs.
//!
//! Every decoder is bounded in memory, whatever the input asks for.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::{WINDOW_LOG_MAX, XZ_MEMORY_KIB};

/// How bytes are compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// RFC 1952, of one or several members.
    Gzip,
    /// RFC 8878, of one or several frames, also skippable ones.
    Zstd,
    /// bzip2, of one or several streams.
    Bzip2,
    /// xz, of one or several streams.
    Xz,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Zstd, Self::Bzip2, Self::Xz];
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}

/// Reads the decompressed bytes of an input that is compressed in this way.
pub fn expand<'a>(
    compression: Compression,
    input: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Xz => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB))
        }
    })
}

/// Decodes raw DEFLATE (RFC 1951) piece by piece, one stream after the other.
#[derive(Debug)]
pub struct Inflater(flate2::Decompress);

/// What a call to [`Inflater::inflate`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inflated {
    /// How many bytes were taken in.
    pub consumed: usize,
    /// How many bytes were put out.
    pub produced: usize,
    /// Whether the stream has ended.
    pub ended: bool,
}

/// A stream that can't be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deflate stream is damaged")]
pub struct BadStream;

impl Inflater {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self(flate2::Decompress::new(false))
    }

    /// Starts anew: what follows is another stream.
    pub fn reset(&mut self) {
        self.0.reset(false);
    }

    /// Decodes from the start of `input` into `output`, as far as either goes.
    /// Never takes in bytes behind the end of the stream.
    pub fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Inflated, BadStream> {
        let (taken, put) = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(input, output, flate2::FlushDecompress::None);
        let ended = status.map_err(|_| BadStream)? == flate2::Status::StreamEnd;
        let count = |now: u64, before| usize::try_from(now - before).map_err(|_| BadStream);
        Ok(Inflated {
            consumed: count(self.0.total_in(), taken)?,
            produced: count(self.0.total_out(), put)?,
            ended,
        })
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

/// The checksum of gzip and zlib (CRC-32), and how many bytes it is of.
#[derive(Debug, Default)]
pub struct Crc32(flate2::Crc);

impl Crc32 {
    /// Of no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of what was taken in.
    pub fn sum(&self) -> u32 {
        self.0.sum()
    }

    /// The number of bytes that were taken in, in its lowest 32 bits.
    pub fn amount(&self) -> u32 {
        self.0.amount()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BZIP2: &[u8] = include_bytes!("../../tests/data/codec/two-streams.bz2");
    const XZ: &[u8] = include_bytes!("../../tests/data/codec/two-streams.xz");

    fn content() -> Vec<u8> {
        let lines = |from| (from..from + 2000).flat_map(|n| format!("{n}\n").into_bytes());
        lines(0).chain(lines(7000)).collect()
    }

    fn bzip2_reader(input: &[u8]) -> Box<dyn Read + '_> {
        expand(Compression::Bzip2, input).unwrap()
    }

    fn xz_reader(input: &[u8]) -> Box<dyn Read + '_> {
        expand(Compression::Xz, input).unwrap()
    }

    fn read(mut reader: impl Read) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        reader.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn inputs_of_several_streams_are_read_whole() {
        assert!(read(bzip2_reader(BZIP2)).unwrap() == content());
        assert!(read(xz_reader(XZ)).unwrap() == content());
    }

    #[test]
    fn inputs_that_end_too_early_are_errors() {
        for cut in [3, 20, BZIP2.len() / 2, BZIP2.len() - 1] {
            assert!(read(bzip2_reader(&BZIP2[..cut])).is_err(), "bzip2, {cut} bytes");
        }
        for cut in [3, 20, XZ.len() / 2 + 1, XZ.len() - 1] {
            assert!(read(xz_reader(&XZ[..cut])).is_err(), "xz, {cut} bytes");
        }
    }

    #[test]
    fn xz_may_not_ask_for_any_memory() {
        // The header of a block, with the code of the dictionary's size and a
        // checksum of its own.
        let with_dictionary = |code: u8| {
            let mut stream = XZ.to_vec();
            assert_eq!(stream[12..16], [2, 0, 0x21, 1]);
            stream[16] = code;
            let mut crc = Crc32::new();
            crc.update(&stream[12..20]);
            stream.splice(20..24, crc.sum().to_le_bytes());
            stream
        };
        assert!(read(xz_reader(&with_dictionary(30)[..])).is_ok(), "128 MiB");
        let error = read(xz_reader(&with_dictionary(31)[..])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "192 MiB");
    }

    proptest! {
        #[test]
        fn damaged_inputs_do_not_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            for (stream, is_xz) in [(BZIP2, false), (XZ, true)] {
                let mut stream = stream.to_vec();
                let at = at.index(stream.len());
                stream[at] = byte;
                let reader = if is_xz { xz_reader(&stream[..]) } else { bzip2_reader(&stream[..]) };
                if let Ok(out) = read(reader.take(1 << 20)) {
                    prop_assert!(out == content() || out.len() != content().len() || !is_xz);
                }
            }
        }
    }
}
