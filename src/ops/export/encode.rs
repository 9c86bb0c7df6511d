//! Compressing layers and archives on their way out.
//!
//! gzip is what pgzip makes of it, as skopeo and Podman use it, by an encoder of
//! our own: the same bytes give the same stream for ever, and blocks are encoded
//! in parallel. zstd is the library's, and may change with its version.

use std::fmt;
use std::io::{self, Write};
use std::thread;

use crate::codec::{Crc32, ZstdWriter};
use crate::gzip::{self, EncoderId};

const ENCODER: &str = "pgzip-b";
/// As pgzip writes it: no name, no time, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0x00, 0x09, 0x6e, 0x88, 0, 0xff];

/// The form of a layer, or of an archive as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it is.
    #[default]
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// Compresses what is written to it.
#[derive(Debug)]
pub(super) enum Encoder<W: Write> {
    Plain(W),
    Gzip(GzipWriter<W>),
    Zstd(ZstdWriter<W>),
}

impl<W: Write> Encoder<W> {
    /// Writes to `out` in that form.
    pub(super) fn new(form: Form, out: W) -> io::Result<Self> {
        Ok(match form {
            Form::Plain => Self::Plain(out),
            Form::Gzip => Self::Gzip(GzipWriter::new(out)?),
            Form::Zstd => Self::Zstd(ZstdWriter::new(out)?),
        })
    }

    /// Ends the stream.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(writer) => writer.finish(),
            Self::Zstd(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(writer) => writer.write(bytes),
            Self::Zstd(writer) => writer.write(bytes),
        }
    }

    /// Does nothing to a stream: a flush would change its bytes.
    fn flush(&mut self) -> io::Result<()> {
        if let Self::Plain(out) = self { out.flush() } else { Ok(()) }
    }
}

/// Compresses into one gzip member, on as many threads as there are processors.
pub(super) struct GzipWriter<W> {
    out: W,
    encoder: Box<dyn gzip::Encoder>,
    /// What is compressed and not written yet.
    ready: Vec<u8>,
    crc: Crc32,
}

impl<W: Write> GzipWriter<W> {
    fn new(mut out: W) -> io::Result<Self> {
        let encoder = EncoderId::named(ENCODER);
        let encoder = encoder.ok_or_else(|| io::Error::other("there is no gzip encoder"))?;
        out.write_all(&HEADER)?;
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let encoder = encoder.encoder_on(threads);
        Ok(Self { out, encoder, ready: Vec::new(), crc: Crc32::default() })
    }

    fn finish(mut self) -> io::Result<W> {
        self.encoder.finish(&mut self.ready);
        self.ready.extend_from_slice(&self.crc.sum().to_le_bytes());
        self.ready.extend_from_slice(&self.crc.amount().to_le_bytes());
        self.out.write_all(&self.ready)?;
        Ok(self.out)
    }
}

impl<W> fmt::Debug for GzipWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GzipWriter")
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc.update(bytes);
        self.encoder.write(bytes, &mut self.ready);
        self.out.write_all(&self.ready)?;
        self.ready.clear();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// pgzip's.
    const BLOCK: usize = 1 << 20;

    fn text(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"the quick brown fox "[(state >> 27) as usize % 20]
        };
        (0..length).map(|_| next()).collect()
    }

    fn gzip(text: &[u8], piece: usize) -> Vec<u8> {
        let mut writer = Encoder::new(Form::Gzip, Vec::new()).unwrap();
        text.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn gzip_is_what_the_encoder_makes_of_one_stream() {
        for length in [0, 1, BLOCK - 1, BLOCK, 5 * BLOCK, 5 * BLOCK + 77] {
            let text = text(length);
            let found = gzip(&text, 10_000);
            let mut encoder = EncoderId::named(ENCODER).unwrap().encoder();
            let mut expected = Vec::new();
            encoder.write(&text, &mut expected);
            encoder.finish(&mut expected);
            assert!(found[HEADER.len()..found.len() - 8] == expected, "{length}");
            let mut back = Vec::new();
            crate::codec::expand(crate::codec::Compression::Gzip, found.as_slice())
                .unwrap()
                .read_to_end(&mut back)
                .unwrap();
            assert!(back == text, "{length}");
            assert!(found == gzip(&text, BLOCK + 1), "{length}");
        }
    }
}
