//! Levels 2 to 9 of Go's encoder up to Go 1.26: chains of positions in a window
//! that moves by halves, and blocks of a fixed number of tokens.
//!
//! The original's output can depend on how its input was cut into writes, in
//! places that were never met in a layer; this is what writes of 32 KiB give.

use super::Encoder;
use super::bits::{BitWriter, narrow};
use super::go_blocks::put_smallest;
use super::text::{common, forget, load32, table};
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
const MIN_MATCH_REACH: usize = 4096;

const HASH_BITS: u32 = 17;
/// How many places are looked at to see that a search is in vain.
const GLANCES: u32 = 8;

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
    /// Where the next token but the pending one starts in the window.
    at: usize,
    /// For each hash the last place in the window that has it, and for each of
    /// the last places the one before it; all counted from 1, and 0 for none.
    head: Box<[u16; 1 << HASH_BITS]>,
    previous: Box<[u16; MOVE]>,
    found: Found,
    /// Whether the byte before `at` is still to be written.
    pending: bool,
    tokens: Vec<Token>,
    /// Where the block starts, while that is in the window.
    block: Option<usize>,
    bits: BitWriter,
}

impl Go {
    /// An encoder of `level`, from 2 to 9.
    pub(super) fn new(level: u8) -> Self {
        Self {
            level: LEVELS[usize::from(level.clamp(2, 9) - 2)],
            window: table(),
            filled: 0,
            at: 0,
            head: table(),
            previous: table(),
            found: NOTHING,
            pending: false,
            tokens: Vec::with_capacity(BLOCK),
            block: Some(0),
            bits: BitWriter::default(),
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

    /// Moves the window, and all places in it.
    fn shift(&mut self) {
        self.window.copy_within(MOVE.., 0);
        self.filled -= MOVE;
        self.at -= MOVE;
        self.block = self.block.and_then(|block| block.checked_sub(MOVE));
        forget(&mut self.head[..]);
        forget(&mut self.previous[..]);
    }

    /// Remembers the place `at`, if four bytes are left there; returns the last
    /// one with its hash, counted from 1.
    #[inline]
    fn insert(&mut self, at: usize) -> usize {
        if self.filled < at + MIN_MATCH {
            return 0;
        }
        let hash = Self::hash(load32(&self.window[..], at));
        let here = (narrow(at + 1) & 0xffff) as u16;
        let last = std::mem::replace(&mut self.head[hash], here);
        self.previous[at % MOVE] = last;
        usize::from(last)
    }

    #[inline]
    fn hash(bytes: u32) -> usize {
        (bytes.swap_bytes().wrapping_mul(0x1E35_A7BD) >> (32 - HASH_BITS)) as usize
    }

    /// The best match at `at` that is longer than `floor`, from the place
    /// `candidate` on, which is counted from 1.
    fn search(&self, candidate: usize, floor: usize) -> Found {
        let (window, at) = (&self.window[..self.filled], self.at);
        let cap = (window.len() - at).min(MAX_MATCH);
        let nice = self.level.nice.min(cap);
        let low = at.saturating_sub(REACH) + 1;
        if floor >= cap || candidate < low {
            return NOTHING;
        }
        if floor > MIN_MATCH && self.is_hopeless(candidate, low, floor) {
            return NOTHING;
        }
        let mut best = Found { length: floor, distance: 0 };
        let first = load32(window, at);
        let mut tail = load32(window, at + floor - 3);
        let (mut candidate, mut tries) = (candidate, self.level.chain);
        while tries > 0 && candidate >= low {
            let from = candidate - 1;
            let next = usize::from(self.previous[from % MOVE]);
            if load32(window, from + best.length - 3) == tail && load32(window, from) == first {
                let length = 4 + common(window, from + 4, at + 4, cap - 4);
                let distance = at - from;
                if length > best.length && (length > MIN_MATCH || distance <= MIN_MATCH_REACH) {
                    best = Found { length, distance };
                    if length >= nice || next >= low && self.is_hopeless(next, low, length) {
                        break;
                    }
                    tail = load32(window, at + length - 3);
                }
            }
            // The slot of a place that far back is that of this one.
            if at - from == REACH {
                break;
            }
            candidate = next;
            tries -= 1;
        }
        if best.distance > 0 { best } else { NOTHING }
    }

    /// Whether it is sure that no match at `at` is longer than `length`, from
    /// `candidate` on: its last four bytes would have to be among the places that
    /// have their hash, which are mostly far fewer than the candidates.
    fn is_hopeless(&self, candidate: usize, low: usize, length: usize) -> bool {
        let (window, at) = (&self.window[..self.filled], self.at);
        let offset = length - 3;
        // Places behind `at` are not remembered yet, nor all before it without
        // lazy matching.
        if at + 1 - candidate < offset || self.level.lazy == 0 {
            return false;
        }
        let (first, last) = (load32(window, at), load32(window, at + offset));
        let mut place = usize::from(self.head[Self::hash(last)]);
        for _ in 0..GLANCES {
            if place < low + offset {
                return true;
            }
            if place - offset <= candidate
                && load32(window, place - 1) == last
                && load32(window, place - 1 - offset) == first
            {
                return false;
            }
            place = usize::from(self.previous[(place - 1) % MOVE]);
        }
        false
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
        self.head.fill(0);
        (self.filled, self.at) = (0, 0);
        (self.found, self.pending) = (NOTHING, false);
        self.tokens.clear();
        self.block = Some(0);
        self.bits = BitWriter::default();
    }
}
