//! zlib's deflate with its usual memory, and GNU gzip's, of which it was made:
//! levels 1 to 9.
//!
//! Both follow chains of positions in a window that moves by halves, as Go's
//! encoder does, but hash three bytes and end blocks elsewhere. The output of
//! zlib can depend on how its input was cut into writes where a match that is
//! exactly as far as allowed stands at the place where the window moves; this
//! is what writes that fill the window give.

use std::ops::Range;

use super::Encoder;
use super::bits::{BitWriter, narrow};
use super::text::{common, forget, load32, table};
use super::token::{MAX_MATCH, Token};
use super::zlib_blocks::{put_block, rough_size};

/// The window, and how far it moves when it is full.
const WINDOW: usize = 2 * MOVE;
const MOVE: usize = 32768;
/// What is read behind the window at most.
const MARGIN: usize = 8;
/// While more input may follow, this much must be in sight to go on.
const AHEAD: usize = 262;
/// The farthest match, and where the window moves if nothing more is in sight.
const REACH: usize = MOVE - AHEAD;
const FULL: usize = MOVE + REACH;
/// The shortest match, and with lazy matching the farthest one of that length.
const MIN_MATCH: usize = 3;
const MIN_MATCH_REACH: usize = 4096;
/// The bytes that a preset dictionary has at most.
pub(super) const DICTIONARY: usize = MOVE;

const HASH_BITS: u32 = 15;
/// How many places are looked at to see that a search is in vain.
const GLANCES: u32 = 24;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    Zlib,
    GnuGzip,
}

/// What a level is about.
#[derive(Debug, Clone, Copy)]
struct Level {
    /// After a match this long only a quarter of the chain is looked at.
    good: usize,
    /// Matches shorter than this one make it look for a longer one a byte later.
    /// Without lazy matching: the longest match whose inside is remembered.
    lazy: usize,
    /// A match this long ends the search.
    nice: usize,
    /// How many earlier positions are looked at.
    chain: usize,
}

const fn level(good: usize, lazy: usize, nice: usize, chain: usize) -> Level {
    Level { good, lazy, nice, chain }
}

/// Levels 1 to 9.
const LEVELS: [Level; 9] = [
    level(4, 4, 8, 4),
    level(4, 5, 16, 8),
    level(4, 6, 32, 32),
    level(4, 4, 16, 16),
    level(8, 16, 32, 32),
    level(8, 16, 128, 128),
    level(8, 32, 128, 256),
    level(32, 128, 258, 1024),
    level(32, 258, 258, 4096),
];

/// A match that was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    length: usize,
    distance: usize,
}

/// Nothing was found: shorter than any match.
const NOTHING: Found = Found { length: MIN_MATCH - 1, distance: 0 };

/// The hash of the lowest three of four bytes.
#[inline]
fn hash(bytes: u32) -> usize {
    ((bytes << 10 ^ bytes >> 3 & 0x1fe0 ^ bytes >> 16 & 0xff) & 0x7fff) as usize
}

/// An encoder of one of the levels 1 to 9.
#[derive(Debug)]
pub(super) struct Zlib {
    maker: Maker,
    level: Level,
    /// Levels from 4 on match lazily.
    lazy: bool,
    /// Whether blocks may end where that seems to pay: GNU gzip from level 3 on.
    guesses: bool,
    window: Box<[u8; WINDOW + MARGIN]>,
    /// How much of the window is filled.
    filled: usize,
    /// Where the next token but the pending one starts in the window.
    at: usize,
    /// For each hash its last place in the window, and for each of the last
    /// places the one before it; 0 for none.
    head: Box<[u16; 1 << HASH_BITS]>,
    previous: Box<[u16; MOVE]>,
    /// The last places of a dictionary, which are remembered once three bytes
    /// are there.
    waiting: Range<usize>,
    found: Found,
    /// Whether the byte before `at` is still to be written.
    pending: bool,
    tokens: Vec<Token>,
    /// The most tokens of a block.
    most: usize,
    /// A rough size of the matches of the block, and their number.
    rough: (u64, u64),
    /// Where the block starts in the window, or before it.
    block: i64,
    pub(super) bits: BitWriter,
}

impl Zlib {
    /// An encoder of `level`, from 1 to 9.
    pub(super) fn new(maker: Maker, level: u8) -> Self {
        let level = level.clamp(1, 9);
        let most = if maker == Maker::Zlib { 16383 } else { 32767 };
        Self {
            maker,
            level: LEVELS[usize::from(level - 1)],
            lazy: level >= 4,
            guesses: maker == Maker::GnuGzip && level >= 3,
            window: table(),
            filled: 0,
            at: 0,
            head: table(),
            previous: table(),
            waiting: 0..0,
            found: NOTHING,
            pending: false,
            tokens: Vec::with_capacity(most),
            most,
            rough: (0, 0),
            block: 0,
            bits: BitWriter::default(),
        }
    }

    /// Starts again with `dictionary`, of at most [`DICTIONARY`] bytes, as what
    /// stands before. What was written stays.
    pub(super) fn restart(&mut self, dictionary: &[u8]) {
        self.head.fill(0);
        let length = dictionary.len().min(DICTIONARY);
        self.window[..length].copy_from_slice(&dictionary[dictionary.len() - length..]);
        self.filled = length;
        self.at = length;
        self.block = i64::from(narrow(length));
        self.found = NOTHING;
        self.pending = false;
        self.tokens.clear();
        self.rough = (0, 0);
        let whole = length.saturating_sub(MIN_MATCH - 1);
        for at in 0..whole {
            self.insert(at);
        }
        self.waiting = whole..length;
    }

    /// The last `count` bytes that were taken in, or all that are there.
    pub(super) fn last_bytes(&self, count: usize) -> &[u8] {
        &self.window[self.filled.saturating_sub(count)..self.filled]
    }

    /// Takes in bytes.
    pub(super) fn push(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            if self.filled == WINDOW {
                self.work(AHEAD);
                self.shift();
            }
            let (now, rest) = input.split_at(input.len().min(WINDOW - self.filled));
            self.window[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            input = rest;
        }
    }

    /// Works off what is in the window, while at least `ahead` bytes are in sight.
    fn work(&mut self, ahead: usize) {
        for at in std::mem::take(&mut self.waiting) {
            self.insert(at);
        }
        while self.filled - self.at >= ahead {
            if self.lazy { self.step_lazily() } else { self.step_greedily() }
        }
    }

    /// Makes tokens of all that was taken in.
    fn work_off(&mut self) {
        self.work(AHEAD);
        match self.maker {
            Maker::Zlib => {
                while self.filled > self.at {
                    if self.at >= FULL {
                        self.shift();
                    }
                    if self.lazy { self.step_lazily() } else { self.step_greedily() }
                }
            }
            Maker::GnuGzip => {
                if self.at >= FULL {
                    self.shift();
                }
                self.window[self.filled..self.filled + MIN_MATCH - 1].fill(0);
                self.work(1);
            }
        }
        if std::mem::take(&mut self.pending) {
            self.tokens.push(Token::literal(self.window[self.at - 1]));
        }
        self.found = NOTHING;
    }

    /// Makes all that was taken in readable, up to the last byte that is complete.
    pub(super) fn end_blocks(&mut self) {
        self.work_off();
        if !self.tokens.is_empty() {
            self.end_block(false);
        }
    }

    /// Ends the stream.
    pub(super) fn end(&mut self) {
        self.work_off();
        self.end_block(true);
    }

    /// Moves the window.
    fn shift(&mut self) {
        self.window.copy_within(MOVE..WINDOW, 0);
        self.filled -= MOVE;
        self.at -= MOVE;
        self.block -= i64::from(narrow(MOVE));
        forget(&mut self.head[..]);
        forget(&mut self.previous[..]);
    }

    /// Remembers the place `at`, if three bytes are left there; returns the last
    /// one with its hash.
    #[inline]
    fn insert(&mut self, at: usize) -> usize {
        if self.maker == Maker::Zlib && self.filled < at + MIN_MATCH {
            return 0;
        }
        let hash = hash(load32(&self.window[..], at));
        let here = (narrow(at) & 0xffff) as u16;
        let last = std::mem::replace(&mut self.head[hash], here);
        self.previous[at % MOVE] = last;
        usize::from(last)
    }

    /// The best match at `at` that is longer than `floor`, from `candidate` on.
    fn search(&self, candidate: usize, floor: usize) -> Found {
        let (window, at) = (&self.window[..], self.at);
        let ahead = self.filled - at;
        if candidate == 0 || at - candidate > REACH {
            return NOTHING;
        }
        // GNU gzip looks at what happens to stand behind the end.
        let (cap, nice) = match self.maker {
            Maker::Zlib => (ahead.min(MAX_MATCH), self.level.nice.min(ahead)),
            Maker::GnuGzip if at > WINDOW - AHEAD => return NOTHING,
            Maker::GnuGzip => (MAX_MATCH, self.level.nice),
        };
        if floor >= cap {
            return NOTHING;
        }
        let low = at.saturating_sub(REACH);
        if floor > MIN_MATCH && self.is_hopeless(candidate, low, floor) {
            return NOTHING;
        }
        let mut tries = self.level.chain;
        if floor >= self.level.good {
            tries >>= 2;
        }
        let mut best = Found { length: floor, distance: 0 };
        let first = load32(window, at) & 0xff_ffff;
        // The last bytes of a match that is longer than the best one.
        let end = |at: usize, length: usize| match length.checked_sub(3) {
            Some(from) => load32(window, at + from),
            None => load32(window, at) & 0xff_ffff,
        };
        let mut tail = end(at, best.length);
        let mut from = candidate;
        loop {
            let next = usize::from(self.previous[from % MOVE]);
            if end(from, best.length) == tail && load32(window, from) & 0xff_ffff == first {
                let length = 3 + common(window, from + 3, at + 3, cap - 3);
                if length > best.length {
                    best = Found { length, distance: at - from };
                    if length >= nice || next > low && self.is_hopeless(next, low, length) {
                        break;
                    }
                    tail = end(at, length);
                }
            }
            from = next;
            tries -= 1;
            if from <= low || tries == 0 {
                break;
            }
        }
        if best.distance == 0 {
            return NOTHING;
        }
        Found { length: best.length.min(ahead), ..best }
    }

    /// Whether it is sure that no match at `at` is longer than `length`, from
    /// `candidate` on: its last three bytes would have to be among the places that
    /// have their hash, which are mostly far fewer than the candidates.
    fn is_hopeless(&self, candidate: usize, low: usize, length: usize) -> bool {
        let (window, at) = (&self.window[..], self.at);
        let offset = length - 2;
        // Places behind `at` are not remembered yet, nor all before it without
        // lazy matching.
        if at - candidate < offset || !self.lazy {
            return false;
        }
        let three = |at: usize| load32(window, at) & 0xff_ffff;
        let (first, last) = (three(at), three(at + offset));
        let mut place = usize::from(self.head[hash(last)]);
        for _ in 0..GLANCES {
            if place < low + offset {
                return true;
            }
            if place - offset <= candidate && three(place) == last && three(place - offset) == first
            {
                return false;
            }
            place = usize::from(self.previous[place % MOVE]);
        }
        false
    }

    fn step_lazily(&mut self) {
        let candidate = self.insert(self.at);
        let old = std::mem::replace(&mut self.found, NOTHING);
        if old.length < self.level.lazy {
            // Only a longer match than the old one changes anything.
            let found = self.search(candidate, old.length);
            if found.length > MIN_MATCH || found.distance <= MIN_MATCH_REACH {
                self.found = found;
            }
        }
        if old.length >= MIN_MATCH && self.found.length <= old.length {
            let full = self.put(Token::copy(old.length, old.distance));
            let end = self.at + old.length - 1;
            for inside in self.at + 1..end {
                self.insert(inside);
            }
            self.at = end;
            self.pending = false;
            self.found = NOTHING;
            if full {
                self.end_block(false);
            }
        } else {
            if self.pending && self.put(Token::literal(self.window[self.at - 1])) {
                self.end_block(false);
            }
            self.pending = true;
            self.at += 1;
        }
    }

    fn step_greedily(&mut self) {
        let candidate = self.insert(self.at);
        let found = self.search(candidate, NOTHING.length);
        let full = if found.length >= MIN_MATCH {
            let full = self.put(Token::copy(found.length, found.distance));
            let end = self.at + found.length;
            let seen = self.maker == Maker::GnuGzip || self.filled >= end + MIN_MATCH;
            if found.length <= self.level.lazy && seen {
                for inside in self.at + 1..end {
                    self.insert(inside);
                }
            }
            self.at = end;
            full
        } else {
            let full = self.put(Token::literal(self.window[self.at]));
            self.at += 1;
            full
        };
        if full {
            self.end_block(false);
        }
    }

    /// Takes in a token, before `at` moves behind it; returns whether it is the
    /// last one of its block.
    #[inline]
    fn put(&mut self, token: Token) -> bool {
        self.tokens.push(token);
        let count = self.tokens.len();
        count == self.most || self.guesses && count.is_multiple_of(4096) && self.seems_to_pay()
    }

    /// Whether the block, which has grown by 4,096 tokens, is worth ending here.
    fn seems_to_pay(&mut self) -> bool {
        let count = self.tokens.len();
        let (size, matches) = rough_size(&self.tokens[count - 4096..]);
        self.rough = (self.rough.0 + size, self.rough.1 + matches);
        let out = (8 * count as u64 + self.rough.0) >> 3;
        let content = i64::from(narrow(self.at)) - self.block;
        self.rough.1 < count as u64 / 2 && out < content.unsigned_abs() / 2
    }

    fn end_block(&mut self, last: bool) {
        let start = usize::try_from(self.block).ok();
        let source = start.map(|start| &self.window[start..self.at]);
        put_block(&mut self.bits, &self.tokens, source, last);
        self.tokens.clear();
        self.rough = (0, 0);
        self.block = i64::from(narrow(self.at));
    }
}

impl Encoder for Zlib {
    fn write(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.push(input);
        self.bits.drain(out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.end_blocks();
        self.bits.stored(&[], false);
        self.bits.drain(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.end();
        self.bits.drain(out);
    }

    fn reset(&mut self) {
        self.bits = BitWriter::default();
        self.window.fill(0);
        self.restart(&[]);
    }
}
