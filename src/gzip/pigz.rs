//! pigz's framing: blocks of 128 KiB that zlib encodes each for itself, with the
//! last 32 KiB of the block before as a dictionary.

use super::Encoder;
use super::bits::BitWriter;
use super::zlib::{DICTIONARY, Maker, Zlib};

/// The bytes of a block.
pub(super) const PIGZ_BLOCK: usize = 128 << 10;

/// An encoder of one stream.
#[derive(Debug)]
pub(super) struct Pigz {
    zlib: Zlib,
    /// How much of the block there is. A full one waits for what follows it.
    filled: usize,
}

impl Pigz {
    /// An encoder of that level, from 1 to 9.
    pub(super) fn new(level: u8) -> Self {
        Self { zlib: Zlib::new(Maker::Zlib, level), filled: 0 }
    }

    /// Encodes one block of a stream, as the first one that this encoder is for.
    pub(super) fn encode_block(
        mut self,
        before: &[u8],
        block: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) {
        self.zlib.restart(before);
        self.zlib.push(block);
        if last {
            self.zlib.end();
        } else {
            self.end_block(out);
        }
        self.zlib.bits.drain(out);
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        self.zlib.end_blocks();
        self.zlib.bits.drain(out);
        end_byte(&mut self.zlib.bits);
    }
}

impl Encoder for Pigz {
    fn write(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            if self.filled == PIGZ_BLOCK {
                self.end_block(out);
                let before = self.zlib.last_bytes(DICTIONARY).to_vec();
                self.zlib.restart(&before);
                self.filled = 0;
            }
            let (now, rest) = input.split_at(input.len().min(PIGZ_BLOCK - self.filled));
            self.zlib.push(now);
            self.filled += now.len();
            input = rest;
        }
        self.zlib.bits.drain(out);
    }

    /// Does nothing: what a flush does to the blocks isn't known.
    fn flush(&mut self, _: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.zlib.finish(out);
    }

    fn reset(&mut self) {
        self.zlib.reset();
        self.filled = 0;
    }
}

/// Ends a block on a byte: with empty fixed blocks of ten bits if they lead
/// there, with an empty stored one otherwise.
fn end_byte(bits: &mut BitWriter) {
    if bits.pending() % 2 == 1 {
        bits.stored(&[], false);
    }
    while !bits.pending().is_multiple_of(8) {
        bits.put(0b010, 10);
    }
}
