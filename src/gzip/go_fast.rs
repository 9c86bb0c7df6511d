//! Level 1 of Go's encoder up to Go 1.26: one remembered position per hash, and
//! one block for each 65,535 bytes.

use super::Encoder;
use super::bits::{BitWriter, narrow};
use super::go_blocks::{put_dynamic_or_stored, put_literals_or_stored};
use super::text::{common, load32, table};
use super::token::{MAX_MATCH, Token};

/// The bytes of a block.
const CHUNK: usize = 65535;
/// The farthest match.
const REACH: usize = 32768;
/// A last block up to this length is stored, ...
const STORED: usize = 16;
/// ... and one under this has no matches.
const NO_MATCHES: usize = 128;
/// No match starts closer to the end of a block.
const MARGIN: usize = 15;

const HASH_BITS: u32 = 14;
/// Positions start here, so that 0 is out of reach of all of them.
const FIRST: u32 = 65536;
/// From here on positions are counted anew.
const REBASE: u32 = 1 << 31;

/// An encoder of level 1.
#[derive(Debug)]
pub(super) struct GoFast {
    /// What a match can reach, then the block.
    buffer: Vec<u8>,
    /// Where the block starts in it.
    start: usize,
    /// The position of the buffer's first byte.
    base: u32,
    last: Box<[u32; 1 << HASH_BITS]>,
    tokens: Vec<Token>,
    bits: BitWriter,
    rebase_at: u32,
}

impl GoFast {
    /// A new encoder.
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::with_capacity(REACH + CHUNK),
            start: 0,
            base: FIRST,
            last: table(),
            tokens: Vec::with_capacity(CHUNK),
            bits: BitWriter::default(),
            rebase_at: REBASE,
        }
    }

    fn hash(&self, at: usize) -> usize {
        (load32(&self.buffer, at).wrapping_mul(0x1E35_A7BD) >> (32 - HASH_BITS)) as usize
    }

    /// Remembers the place `at`; returns the last one of its hash, if that has
    /// the same four bytes and is near enough.
    #[inline]
    fn exchange(&mut self, at: usize) -> Option<usize> {
        let hash = self.hash(at);
        let here = self.base + narrow(at);
        let distance = (here - std::mem::replace(&mut self.last[hash], here)) as usize;
        let from = at.checked_sub(distance).filter(|_| distance <= REACH)?;
        (load32(&self.buffer, from) == load32(&self.buffer, at)).then_some(from)
    }

    /// Finds the next match from `from` on and before `limit`.
    fn find(&mut self, from: usize, limit: usize) -> Option<(usize, usize)> {
        let (mut skip, mut next) = (32, from);
        loop {
            let at = next;
            let step = skip >> 5;
            next = at + step;
            skip += step;
            if next > limit {
                return None;
            }
            if let Some(candidate) = self.exchange(at) {
                return Some((at, candidate));
            }
        }
    }

    fn tokenize(&mut self) {
        let (end, limit) = (self.buffer.len(), self.buffer.len() - MARGIN);
        let (mut next, mut written) = (self.start, self.start);
        'matches: while let Some((mut at, mut from)) = self.find(next, limit) {
            self.literals(written, at);
            loop {
                let cap = (end - at).min(MAX_MATCH);
                let length = 4 + common(&self.buffer, from + 4, at + 4, cap - 4);
                self.tokens.push(Token::copy(length, at - from));
                at += length;
                written = at;
                if at >= limit {
                    break 'matches;
                }
                let before = self.hash(at - 1);
                self.last[before] = self.base + narrow(at - 1);
                let Some(candidate) = self.exchange(at) else { break };
                from = candidate;
            }
            next = at + 1;
        }
        self.literals(written, end);
    }

    fn literals(&mut self, from: usize, to: usize) {
        self.tokens.extend(self.buffer[from..to].iter().map(|byte| Token::literal(*byte)));
    }

    /// Writes the block that is in the buffer.
    fn end_block(&mut self) {
        let length = self.buffer.len() - self.start;
        if length == 0 {
            return;
        }
        if length >= NO_MATCHES {
            self.tokenize();
        }
        let source = &self.buffer[self.start..];
        if length <= STORED {
            self.bits.stored(source, false);
        } else if length < NO_MATCHES || self.tokens.len() > length - (length >> 4) {
            put_literals_or_stored(&mut self.bits, source);
        } else {
            put_dynamic_or_stored(&mut self.bits, &self.tokens, source);
        }
        self.tokens.clear();

        let gone = self.buffer.len().saturating_sub(REACH);
        self.buffer.drain(..gone);
        self.start = self.buffer.len();
        self.go_on(gone);
    }

    /// Counts positions from `count` further on, or anew where they get too large.
    fn go_on(&mut self, count: usize) {
        self.base += narrow(count);
        if self.base >= self.rebase_at {
            let less = self.base - FIRST;
            self.base = FIRST;
            self.last.iter_mut().for_each(|slot| *slot = slot.saturating_sub(less));
        }
    }
}

impl Encoder for GoFast {
    fn write(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            let part = input.len().min(self.start + CHUNK - self.buffer.len());
            let (now, rest) = input.split_at(part);
            self.buffer.extend_from_slice(now);
            input = rest;
            if self.buffer.len() == self.start + CHUNK {
                self.end_block();
            }
        }
        self.bits.drain(out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.end_block();
        self.bits.stored(&[], false);
        self.bits.drain(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_block();
        self.bits.stored(&[], true);
        self.bits.drain(out);
    }

    fn reset(&mut self) {
        // All positions that are remembered are before the buffer then.
        self.go_on(self.buffer.len());
        self.buffer.clear();
        self.start = 0;
        self.bits = BitWriter::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs;
    use super::*;

    #[test]
    fn counting_positions_anew_changes_nothing() {
        let input = inputs::mixed(1 << 20);
        let [often, never] = [1 << 17, REBASE].map(|rebase_at| {
            let mut go = GoFast { rebase_at, ..GoFast::new() };
            let mut out = Vec::new();
            go.write(&input, &mut out);
            go.finish(&mut out);
            out
        });
        assert!(often == never);
    }
}
