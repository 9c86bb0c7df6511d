//! Literals and matches, and the symbols of DEFLATE that stand for them.

use super::bits::{BitWriter, narrow};
use super::huffman::Code;

/// The longest match.
pub(super) const MAX_MATCH: usize = 258;
/// The symbol that ends a block.
pub(super) const END: usize = 256;
/// Literal and length symbols, with the two that only the fixed code has.
pub(super) const LITERALS: usize = 288;
/// Literal and length symbols that can occur.
pub(super) const USED_LITERALS: usize = 286;
/// Distance symbols.
pub(super) const DISTANCES: usize = 30;

/// Codes for literals, lengths and the end of a block.
pub(super) type LiteralCode = Code<LITERALS>;
/// Codes for distances.
pub(super) type DistanceCode = Code<DISTANCES>;

/// One literal or one match: a literal is its byte; a match has the top bit,
/// its length less 3 from bit 16 and its distance less 1 in the low 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token(u32);

const MATCH: u32 = 1 << 31;

impl Token {
    /// One byte as it is.
    #[inline]
    pub(super) fn literal(byte: u8) -> Self {
        Self(u32::from(byte))
    }

    /// A match of 3 to 258 bytes, from 1 to 32,768 bytes back.
    #[inline]
    pub(super) fn copy(length: usize, distance: usize) -> Self {
        debug_assert!((3..=MAX_MATCH).contains(&length) && (1..=32768).contains(&distance));
        let length = narrow(length - 3);
        let distance = narrow(distance - 1);
        Self(MATCH | length << 16 | distance)
    }

    #[inline]
    fn parts(self) -> Parts {
        if self.0 & MATCH == 0 {
            return Parts::Literal((self.0 & 0xff) as usize);
        }
        Parts::Match { length: ((self.0 >> 16) & 0xff) as usize, distance: self.0 & 0x7fff }
    }
}

/// A token taken apart, with the offsets that it holds.
enum Parts {
    Literal(usize),
    Match { length: usize, distance: u32 },
}

/// The bits that follow each length symbol.
const LENGTH_EXTRA: [u32; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// For each length less 3: its symbol less 257, and the shortest length less 3
/// of that symbol.
const LENGTH_SYMBOLS: [(u8, u8); 256] = {
    let mut table = [(28, 255); 256];
    let (mut symbol, mut first) = (0_u8, 0_usize);
    while symbol < 28 {
        let end = first + (1 << LENGTH_EXTRA[symbol as usize]);
        let mut at = first;
        while at < end && at < 255 {
            table[at] = (symbol, (first as u64 & 0xff) as u8);
            at += 1;
        }
        first = end;
        symbol += 1;
    }
    table
};

/// The bits that follow a distance symbol.
#[inline]
fn distance_extra(symbol: usize) -> u32 {
    if symbol < 4 { 0 } else { narrow(symbol / 2 - 1) }
}

/// The symbol of a distance less 1.
#[inline]
fn distance_symbol(distance: u32) -> usize {
    if distance < 4 {
        return distance as usize;
    }
    let top = distance.ilog2();
    (2 * top + ((distance >> (top - 1)) & 1)) as usize
}

/// How often each symbol of a block occurs.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) literals: [u32; LITERALS],
    pub(super) distances: [u32; DISTANCES],
}

impl Counts {
    /// No symbols.
    pub(super) fn none() -> Self {
        Self { literals: [0; LITERALS], distances: [0; DISTANCES] }
    }

    /// Those of `tokens`; the end of the block isn't among them.
    pub(super) fn of_tokens(tokens: &[Token]) -> Self {
        let mut counts = Self::none();
        for token in tokens {
            match token.parts() {
                Parts::Literal(byte) => counts.literals[byte] += 1,
                Parts::Match { length, distance } => {
                    counts.literals[END + 1 + usize::from(LENGTH_SYMBOLS[length].0)] += 1;
                    counts.distances[distance_symbol(distance)] += 1;
                }
            }
        }
        counts
    }

    /// Those of `bytes` as literals.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let mut counts = Self::none();
        for byte in bytes {
            counts.literals[usize::from(*byte)] += 1;
        }
        counts
    }

    /// The bits that follow the length symbols.
    pub(super) fn length_extra(&self) -> u64 {
        let lengths = self.literals[END + 1..].iter().zip(&LENGTH_EXTRA);
        lengths.map(|(&count, &extra)| u64::from(count) * u64::from(extra)).sum()
    }

    /// The bits that follow the distance symbols.
    pub(super) fn distance_extra(&self) -> u64 {
        let distances = self.distances.iter().enumerate();
        distances.map(|(at, &count)| u64::from(count) * u64::from(distance_extra(at))).sum()
    }

    /// The bits that follow all symbols.
    pub(super) fn extra(&self) -> u64 {
        self.length_extra() + self.distance_extra()
    }

    /// How many matches there are.
    pub(super) fn matches(&self) -> u32 {
        self.distances.iter().sum()
    }

    /// How many literal and length symbols, and how many distance symbols, a
    /// header must name. Without distances, one is counted that doesn't occur.
    pub(super) fn trim(&mut self) -> (usize, usize) {
        if self.distances.iter().all(|count| *count == 0) {
            self.distances[0] = 1;
        }
        let last = |counts: &[u32]| counts.iter().rposition(|count| *count > 0).unwrap_or(0);
        (last(&self.literals).max(END) + 1, last(&self.distances) + 1)
    }
}

/// Writes `tokens`, each of whose symbols has a code.
pub(super) fn write_tokens(
    bits: &mut BitWriter,
    tokens: &[Token],
    literals: &LiteralCode,
    distances: &DistanceCode,
) {
    let mut room = bits.room(tokens.len());
    for token in tokens {
        match token.parts() {
            Parts::Literal(byte) => {
                let (code, count) = literals.get(byte);
                room.put(code.into(), count);
            }
            Parts::Match { length, distance } => {
                let (symbol, first) = LENGTH_SYMBOLS[length];
                let (code, count) = literals.get(END + 1 + usize::from(symbol));
                let more = narrow(length - usize::from(first));
                let first = u64::from(code | more << count);
                let before = count + LENGTH_EXTRA[usize::from(symbol)];
                let symbol = distance_symbol(distance);
                let (code, count) = distances.get(symbol);
                let extra = distance_extra(symbol);
                let second = u64::from(code | (distance & ((1 << extra) - 1)) << count);
                room.put(first | second << before, before + count + extra);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_those_of_the_standard() {
        let length = |length: usize| 257 + usize::from(LENGTH_SYMBOLS[length - 3].0);
        let lengths = [3, 10, 11, 12, 13, 18, 19, 114, 115, 226, 227, 257, 258];
        let symbols = [257, 264, 265, 265, 266, 268, 269, 279, 280, 283, 284, 284, 285];
        assert_eq!(lengths.map(length), symbols);
        let distances = [1, 4, 5, 6, 7, 8, 9, 12, 13, 24576, 24577, 32768];
        let symbols = [0, 3, 4, 4, 5, 5, 6, 6, 7, 28, 29, 29];
        assert_eq!(distances.map(|distance| distance_symbol(distance - 1)), symbols);
        assert_eq!([3, 4, 6, 29].map(distance_extra), [0, 1, 2, 13]);
    }

    #[test]
    fn a_block_without_distances_announces_one() {
        let mut counts = Counts::of_bytes(b"ab");
        counts.literals[END] = 1;
        assert_eq!(counts.trim(), (257, 1));
        assert_eq!(counts.matches(), 1);
    }
}
