//! Compressing layers and archives on their way out.
//!
//! gzip is what pgzip makes of it, as skopeo and Podman use it, by an encoder of
//! our own: the same bytes give the same stream for ever, and blocks are encoded
//! in parallel. zstd is the library's, and may change with its version.

use std::io::{self, Write};
use std::thread;

use crate::codec::{Crc32, ZstdWriter};
use crate::gzip::{EncoderId, PGZIP_BEFORE, PGZIP_BLOCK};

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

/// Compresses into one gzip member, in blocks, as many at a time as there are
/// processors.
#[derive(Debug)]
pub(super) struct GzipWriter<W> {
    out: W,
    encoder: EncoderId,
    /// The end of the block before, then blocks that wait.
    waiting: Vec<u8>,
    /// How much of it was encoded already.
    before: usize,
    blocks: usize,
    crc: Crc32,
    length: u64,
}

impl<W: Write> GzipWriter<W> {
    fn new(mut out: W) -> io::Result<Self> {
        let encoder = EncoderId::named(ENCODER);
        let encoder = encoder.ok_or_else(|| io::Error::other("there is no gzip encoder"))?;
        out.write_all(&HEADER)?;
        let blocks = thread::available_parallelism().map_or(1, usize::from);
        let (waiting, before) = (Vec::with_capacity(PGZIP_BEFORE + blocks * PGZIP_BLOCK), 0);
        Ok(Self { out, encoder, waiting, before, blocks, crc: Crc32::default(), length: 0 })
    }

    /// Encodes the blocks that wait. The last one of a stream is never full.
    fn encode(&mut self, last: bool) -> io::Result<()> {
        let (encoder, all, start) = (self.encoder, &self.waiting, self.before);
        let mut blocks: Vec<&[u8]> = all[start..].chunks_exact(PGZIP_BLOCK).collect();
        let rest = all[start..].chunks_exact(PGZIP_BLOCK).remainder();
        let full = blocks.len();
        if last {
            blocks.push(rest);
        }
        let encoded: Vec<Vec<u8>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..blocks.len())
                .map(|at| {
                    let (from, block) = (start + at * PGZIP_BLOCK, blocks[at]);
                    let before = &all[from.saturating_sub(PGZIP_BEFORE)..from];
                    scope.spawn(move || {
                        let mut out = Vec::new();
                        encoder.encode_block(before, block, last && at == full, &mut out);
                        out
                    })
                })
                .collect();
            let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
            ended.collect::<Result<_, _>>().map_err(|_| io::Error::other("a gzip worker ended"))
        })?;
        for block in &encoded {
            self.out.write_all(block)?;
        }
        let end = start + full * PGZIP_BLOCK;
        let kept = end.min(PGZIP_BEFORE);
        self.waiting.drain(..end - kept);
        self.before = kept;
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.encode(true)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        // The length modulo 2^32.
        self.out.write_all(&self.length.to_le_bytes()[..4])?;
        Ok(self.out)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.before + self.blocks * PGZIP_BLOCK - self.waiting.len();
        let now = &bytes[..bytes.len().min(room)];
        self.crc.update(now);
        self.length += now.len() as u64;
        self.waiting.extend_from_slice(now);
        if now.len() == room {
            self.encode(false)?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

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
        for length in [0, 1, PGZIP_BLOCK - 1, PGZIP_BLOCK, 5 * PGZIP_BLOCK, 5 * PGZIP_BLOCK + 77] {
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
            assert!(found == gzip(&text, PGZIP_BLOCK + 1), "{length}");
        }
    }
}
