//! pgzip's framing: blocks of 1 MiB that are encoded each for itself, with the
//! last 16 KiB of the block before as a dictionary.

use super::Encoder;
use super::chunked::Chunked;

/// The bytes of a block.
pub(super) const PGZIP_BLOCK: usize = 1 << 20;
/// How much of the block before is needed to encode one.
pub(super) const PGZIP_BEFORE: usize = 16 << 10;

/// An encoder of one stream.
#[derive(Debug)]
pub(super) struct Pgzip {
    encoder: Chunked,
    /// How much of the block there is.
    filled: usize,
}

impl Pgzip {
    /// Encodes blocks with `encoder`.
    pub(super) fn new(encoder: Chunked) -> Self {
        Self { encoder, filled: 0 }
    }
}

impl Encoder for Pgzip {
    fn write(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            let (now, rest) = input.split_at(input.len().min(PGZIP_BLOCK - self.filled));
            self.encoder.push(now);
            self.filled += now.len();
            input = rest;
            if self.filled == PGZIP_BLOCK {
                self.encoder.sync();
                let before = self.encoder.last_bytes(PGZIP_BEFORE).to_vec();
                self.encoder.restart(&before);
                self.filled = 0;
            }
        }
        self.encoder.bits().drain(out);
    }

    /// Does nothing: what a flush does to the blocks isn't known.
    fn flush(&mut self, _: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.encoder.sync();
        self.encoder.end();
        self.encoder.bits().drain(out);
    }

    fn reset(&mut self) {
        self.encoder.reset();
        self.filled = 0;
    }
}

/// Encodes one block of a stream with `encoder`, a new one.
pub(super) fn encode_block(
    mut encoder: Chunked,
    before: &[u8],
    block: &[u8],
    last: bool,
    out: &mut Vec<u8>,
) {
    encoder.restart(before);
    encoder.push(block);
    encoder.sync();
    if last {
        encoder.end();
    }
    encoder.bits().drain(out);
}
