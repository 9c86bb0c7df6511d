//! Streams of klauspost's encoder and of Go's from 1.27 on: chunks of 65,535
//! bytes, of which the last before a flush or the end is treated differently.

use super::Encoder;
use super::bits::{BitWriter, narrow};
use super::finder::{Chunk, Finder};
use super::open_block::{Sizes, Writer};
use super::token::Token;

/// The bytes of a chunk.
const CHUNK: usize = 65535;
/// What is kept before a chunk.
const REACH: usize = 32768;
/// A last chunk up to this length is stored, ...
const STORED: usize = 32;
/// ... and one under this has no matches.
const NO_MATCHES: usize = 128;

/// Positions start here, so that 0 is out of reach of all of them.
const FIRST: u32 = 65536;
/// From here on positions are counted anew.
const REBASE: u32 = 1 << 31;

/// An encoder of one stream.
#[derive(Debug)]
pub(super) struct Chunked {
    finder: Box<dyn Finder>,
    writer: Writer,
    sizes: Sizes,
    /// What a match can reach, then the chunk.
    buffer: Vec<u8>,
    /// Where the chunk starts in it.
    start: usize,
    /// The position of the buffer's first byte.
    base: u32,
    tokens: Vec<Token>,
    rebase_at: u32,
}

impl Chunked {
    /// An encoder with that match finder and that writer.
    pub(super) fn new(finder: Box<dyn Finder>, sizes: Sizes) -> Self {
        Self {
            finder,
            writer: Writer::new(sizes),
            sizes,
            buffer: Vec::with_capacity(REACH + CHUNK),
            start: 0,
            base: FIRST,
            tokens: Vec::with_capacity(CHUNK),
            rebase_at: REBASE,
        }
    }

    /// Starts again, after a flush, with `dictionary` as what stands before.
    pub(super) fn restart(&mut self, dictionary: &[u8]) {
        let bits = std::mem::take(&mut self.writer.bits);
        self.writer = Writer::new(self.sizes);
        self.writer.bits = bits;
        // All positions that are remembered are before the buffer then.
        self.go_on(self.buffer.len());
        self.start = 0;
        self.buffer.clear();
        self.buffer.extend_from_slice(dictionary);
        if !dictionary.is_empty() {
            self.find();
            self.tokens.clear();
            self.advance();
        }
    }

    /// The last `count` bytes that were taken in, or all that are there.
    pub(super) fn last_bytes(&self, count: usize) -> &[u8] {
        &self.buffer[self.buffer.len().saturating_sub(count)..]
    }

    /// Takes in bytes. A full chunk waits for what follows it.
    pub(super) fn push(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            if self.buffer.len() == self.start + CHUNK {
                self.end_chunk(false);
            }
            let part = input.len().min(self.start + CHUNK - self.buffer.len());
            let (now, rest) = input.split_at(part);
            self.buffer.extend_from_slice(now);
            input = rest;
        }
    }

    /// Makes all that was taken in readable.
    pub(super) fn sync(&mut self) {
        self.end_chunk(true);
        self.writer.flush();
    }

    /// Ends the stream.
    pub(super) fn end(&mut self) {
        self.end_chunk(true);
        self.writer.end();
    }

    /// What was written.
    pub(super) fn bits(&mut self) -> &mut BitWriter {
        &mut self.writer.bits
    }

    fn find(&mut self) {
        let chunk = Chunk { text: &self.buffer, start: self.start, base: self.base };
        self.finder.find(&chunk, &mut self.tokens);
    }

    fn end_chunk(&mut self, sync: bool) {
        let length = self.buffer.len() - self.start;
        if length == 0 {
            return;
        }
        if length >= NO_MATCHES {
            self.find();
        }
        let source = &self.buffer[self.start..];
        if length <= STORED || (length >= NO_MATCHES && self.tokens.is_empty()) {
            self.writer.stored(source);
        } else if length < NO_MATCHES || self.tokens.len() > length - (length >> 4) {
            self.writer.literals(source, sync);
        } else {
            self.writer.tokens(&self.tokens, source, sync);
        }
        self.tokens.clear();
        self.advance();
    }

    /// Makes the chunk a part of what stands before the next one.
    fn advance(&mut self) {
        let gone = self.buffer.len().saturating_sub(REACH);
        self.buffer.drain(..gone);
        self.start = self.buffer.len();
        self.go_on(gone);
    }

    /// Counts positions from `count` further on, or anew where they get too large.
    fn go_on(&mut self, count: usize) {
        self.base += narrow(count);
        if self.base >= self.rebase_at {
            self.finder.rebase(self.base - FIRST);
            self.base = FIRST;
        }
    }
}

impl Encoder for Chunked {
    fn write(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.push(input);
        self.bits().drain(out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.sync();
        self.bits().drain(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.end();
        self.bits().drain(out);
    }

    fn reset(&mut self) {
        *self.bits() = BitWriter::default();
        self.restart(&[]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::level1::Level1;
    use super::super::level5::Level5;
    use super::super::level6::Level6;
    use super::super::tests::inputs;
    use super::*;

    fn finder(level: u8) -> Box<dyn Finder> {
        match level {
            1 => Box::new(Level1::new()),
            5 => Box::new(Level5::new(2)),
            _ => Box::new(Level6::new(2)),
        }
    }

    #[test]
    fn counting_positions_anew_changes_nothing() {
        let input = inputs::mixed(1 << 20);
        let sizes = Sizes { trimmed: true, end_counts: true };
        for level in [1, 5, 6] {
            let [often, never] = [1 << 17, REBASE].map(|rebase_at| {
                let mut encoder = Chunked { rebase_at, ..Chunked::new(finder(level), sizes) };
                let mut out = Vec::new();
                encoder.write(&input, &mut out);
                encoder.finish(&mut out);
                out
            });
            assert!(often == never, "level {level}");
        }
    }
}
