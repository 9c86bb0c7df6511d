//! Levels 2 to 9 of Go's encoder up to Go 1.26: chains of positions in a window
//! that moves by halves, and blocks of a fixed number of tokens.
//!
//! The original's output can depend on how its input was cut into writes, in
//! places that were never met in a layer; this is what writes of 32 KiB give.

use super::Encoder;
use super::bits::{BitWriter, narrow};
use super::go_blocks::put_smallest;
use super::text::{common, load32, table};
use super::token::{MAX_MATCH, Token};

/// The window, and how far it moves when it is full.
const WINDOW: usize = 2 * MOVE;
const MOVE: usize = 32768;
/// The farthest match.
const REACH: usize = 32768;
/// While more input may follow, this much must be in sight to go on.
const AHEAD: usize = 262;
/// Tokens of a block.
const BLOCK: usize = 16384;
/// The shortest match, and the farthest one of that length.
const MIN_MATCH: usize = 4;
const MIN_MATCH_REACH: u32 = 4096;

const HASH_BITS: u32 = 17;
/// Positions start here, so that 0 is out of reach of all of them.
const FIRST: u32 = 65536;
/// From here on positions are counted anew.
const REBASE: u32 = 1 << 31;

/// What a level is about.
#[derive(Debug, Clone, Copy)]
struct Level {
    /// Matches shorter than this one make it look for a longer one a byte later;
    /// 0 for never.
    lazy: usize,
    /// A match this long ends the search.
    nice: usize,
    /// How many earlier positions are looked at.
    chain: usize,
    /// Without lazy matching: the longest match whose inside is remembered.
    inside: usize,
}

const fn greedy(nice: usize, chain: usize, inside: usize) -> Level {
    Level { lazy: 0, nice, chain, inside }
}

const fn lazy(lazy: usize, nice: usize, chain: usize) -> Level {
    Level { lazy, nice, chain, inside: 0 }
}

/// Levels 2 to 9.
const LEVELS: [Level; 8] = [
    greedy(16, 8, 5),
    greedy(32, 32, 6),
    lazy(4, 16, 16),
    lazy(16, 32, 32),
    lazy(16, 128, 128),
    lazy(32, 128, 256),
    lazy(128, 258, 1024),
    lazy(258, 258, 4096),
];

/// A match that was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    length: usize,
    distance: usize,
}

/// Nothing was found: shorter than any match.
const NOTHING: Found = Found { length: MIN_MATCH - 1, distance: 0 };

/// An encoder of one of the levels 2 to 9.
#[derive(Debug)]
pub(super) struct Go {
    level: Level,
    window: Box<[u8; WINDOW]>,
    /// How much of the window is filled.
    filled: usize,
    /// The position of the window's first byte.
    base: u32,
    /// Where the next token but the pending one starts in the window.
    at: usize,
    /// For each hash its last position, and for each of the last positions the
    /// one before it.
    head: Box<[u32; 1 << HASH_BITS]>,
    previous: Box<[u32; MOVE]>,
    found: Found,
    /// Whether the byte before `at` is still to be written.
    pending: bool,
    tokens: Vec<Token>,
    /// Where the block starts, while that is in the window.
    block: Option<usize>,
    bits: BitWriter,
    rebase_at: u32,
}

impl Go {
    /// An encoder of `level`, from 2 to 9.
    pub(super) fn new(level: u8) -> Self {
        Self {
            level: LEVELS[usize::from(level.clamp(2, 9) - 2)],
            window: table(),
            filled: 0,
            base: FIRST,
            at: 0,
            head: table(),
            previous: table(),
            found: NOTHING,
            pending: false,
            tokens: Vec::with_capacity(BLOCK),
            block: Some(0),
            bits: BitWriter::default(),
            rebase_at: REBASE,
        }
    }

    /// Works off what is in the window; while more may follow, only what is far
    /// enough from its end.
    fn work(&mut self, last: bool) {
        let ahead = if last { 1 } else { AHEAD };
        while self.filled - self.at >= ahead {
            if self.level.lazy > 0 { self.step_lazily() } else { self.step_greedily() }
        }
    }

    /// Writes all that was taken in.
    fn work_off(&mut self) {
        self.work(true);
        if std::mem::take(&mut self.pending) {
            self.tokens.push(Token::literal(self.window[self.at - 1]));
        }
        if !self.tokens.is_empty() {
            self.end_block();
        }
    }

    /// Moves the window.
    fn shift(&mut self) {
        self.window.copy_within(MOVE.., 0);
        self.filled -= MOVE;
        self.at -= MOVE;
        self.block = self.block.and_then(|block| block.checked_sub(MOVE));
        self.go_on(MOVE);
    }

    /// Counts positions from `count` further on, or anew where they get too large.
    fn go_on(&mut self, count: usize) {
        self.base += narrow(count);
        if self.base >= self.rebase_at {
            let less = self.base - FIRST;
            self.base = FIRST;
            for slot in self.head.iter_mut().chain(self.previous.iter_mut()) {
                *slot = slot.saturating_sub(less);
            }
        }
    }

    /// Remembers the place `at`, if four bytes are left there; returns the last
    /// position with its hash.
    #[inline]
    fn insert(&mut self, at: usize) -> u32 {
        if self.filled < at + MIN_MATCH {
            return 0;
        }
        let bytes = load32(&self.window[..], at).swap_bytes();
        let hash = (bytes.wrapping_mul(0x1E35_A7BD) >> (32 - HASH_BITS)) as usize;
        let here = self.base + narrow(at);
        let last = std::mem::replace(&mut self.head[hash], here);
        self.previous[here as usize % MOVE] = last;
        last
    }

    /// The best match at `at` that is longer than `floor`, from `candidate` on.
    fn search(&self, candidate: u32, floor: usize) -> Found {
        let (window, at) = (&self.window[..self.filled], self.at);
        let cap = (window.len() - at).min(MAX_MATCH);
        let nice = self.level.nice.min(cap);
        let here = self.base + narrow(at);
        let low = self.base + narrow(at.saturating_sub(REACH));
        let mut best = Found { length: floor, distance: 0 };
        if floor >= cap {
            return NOTHING;
        }
        let first = load32(window, at);
        let mut tail = load32(window, at + floor - 3);
        let mut candidate = candidate;
        let mut tries = self.level.chain;
        while tries > 0 && candidate >= low {
            let from = (candidate - self.base) as usize;
            let distance = here - candidate;
            if load32(window, from + best.length - 3) == tail && load32(window, from) == first {
                let length = 4 + common(window, from + 4, at + 4, cap - 4);
                if length > best.length && (length > MIN_MATCH || distance <= MIN_MATCH_REACH) {
                    best = Found { length, distance: distance as usize };
                    if length >= nice {
                        break;
                    }
                    tail = load32(window, at + length - 3);
                }
            }
            // The slot of a position that far back is that of this one.
            if distance as usize == REACH {
                break;
            }
            candidate = self.previous[candidate as usize % MOVE];
            tries -= 1;
        }
        if best.distance > 0 { best } else { NOTHING }
    }

    fn step_lazily(&mut self) {
        let ahead = self.filled - self.at;
        let candidate = self.insert(self.at);
        let old = std::mem::replace(&mut self.found, NOTHING);
        if ahead > old.length && old.length < self.level.lazy {
            // Only a longer match than the old one changes anything.
            self.found = self.search(candidate, old.length);
        }
        if old.length >= MIN_MATCH && self.found.length <= old.length {
            let end = self.at + old.length - 1;
            for inside in self.at + 1..end {
                self.insert(inside);
            }
            self.at = end;
            self.pending = false;
            self.found = NOTHING;
            self.push(Token::copy(old.length, old.distance));
        } else {
            if self.pending {
                self.push(Token::literal(self.window[self.at - 1]));
            }
            self.pending = true;
            self.at += 1;
        }
    }

    fn step_greedily(&mut self) {
        let candidate = self.insert(self.at);
        let found = self.search(candidate, NOTHING.length);
        if found.length >= MIN_MATCH {
            let end = self.at + found.length;
            if found.length <= self.level.inside {
                for inside in self.at + 1..end {
                    self.insert(inside);
                }
            }
            self.at = end;
            self.push(Token::copy(found.length, found.distance));
        } else {
            let literal = Token::literal(self.window[self.at]);
            self.at += 1;
            self.push(literal);
        }
    }

    /// Takes in a token that ends at `at`, or for a pending literal that ends
    /// there; ends the block where it is full.
    fn push(&mut self, token: Token) {
        self.tokens.push(token);
        if self.tokens.len() == BLOCK {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        let source = self.block.map(|block| &self.window[block..self.at]);
        put_smallest(&mut self.bits, &self.tokens, source);
        self.tokens.clear();
        self.block = Some(self.at);
    }
}

impl Encoder for Go {
    fn write(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            if self.filled == WINDOW {
                self.work(false);
                self.shift();
            }
            let part = input.len().min(WINDOW - self.filled);
            let (now, rest) = input.split_at(part);
            self.window[self.filled..self.filled + part].copy_from_slice(now);
            self.filled += part;
            input = rest;
        }
        self.bits.drain(out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.work_off();
        self.bits.stored(&[], false);
        self.bits.drain(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.work_off();
        self.bits.stored(&[], true);
        self.bits.drain(out);
    }

    fn reset(&mut self) {
        // All positions that are remembered are before the window then.
        self.go_on(self.filled);
        (self.filled, self.at) = (0, 0);
        (self.found, self.pending) = (NOTHING, false);
        self.tokens.clear();
        self.block = Some(0);
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
        for level in [3, 6] {
            let [often, never] = [1 << 17, REBASE].map(|rebase_at| {
                let mut go = Go { rebase_at, ..Go::new(level) };
                let mut out = Vec::new();
                go.write(&input, &mut out);
                go.finish(&mut out);
                out
            });
            assert!(often == never, "level {level}");
        }
    }
}
