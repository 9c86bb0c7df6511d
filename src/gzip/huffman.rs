//! Prefix codes from frequencies, by package-merge with fixed rules for ties.
//!
//! Many codes are equally short; which one is made is part of what an encoder
//! emits, so the order of equal weights here must never change.

use super::bits::BitWriter;

/// The longest code of a literal, length or distance.
pub(super) const LONGEST: usize = 15;

/// The most symbols of an alphabet.
const MOST: usize = 288;

/// A prefix code over `N` symbols; a symbol of length 0 has none.
#[derive(Debug, Clone)]
pub(super) struct Code<const N: usize> {
    /// The length of each symbol's code, in bits.
    pub(super) lengths: [u8; N],
    /// The codes, first bit lowest.
    codes: [u16; N],
}

impl<const N: usize> Code<N> {
    /// The code for these frequencies with no length over `limit`.
    pub(super) fn from_counts(counts: &[u32; N], limit: usize) -> Self {
        let mut lengths = [0; N];
        fill_lengths(counts, limit, &mut lengths);
        Self::from_lengths(lengths)
    }

    /// The canonical code of these lengths (RFC 1951 section 3.2.2).
    pub(super) fn from_lengths(lengths: [u8; N]) -> Self {
        let mut first = [0_u16; LONGEST + 2];
        for &length in lengths.iter().filter(|length| **length > 0) {
            first[usize::from(length) + 1] += 1;
        }
        for length in 1..first.len() {
            first[length] = (first[length] + first[length - 1]) << 1;
        }
        let mut codes = [0; N];
        for (code, &length) in codes.iter_mut().zip(&lengths) {
            if length > 0 {
                let next = &mut first[usize::from(length)];
                *code = next.reverse_bits() >> (16 - u32::from(length));
                *next = next.wrapping_add(1);
            }
        }
        Self { lengths, codes }
    }

    /// Writes the code of `symbol`, which has one.
    #[inline]
    pub(super) fn put(&self, bits: &mut BitWriter, symbol: usize) {
        bits.put(u32::from(self.codes[symbol]), u32::from(self.lengths[symbol]));
    }

    /// The code of `symbol` and its length in bits.
    #[inline]
    pub(super) fn get(&self, symbol: usize) -> (u32, u32) {
        (u32::from(self.codes[symbol]), u32::from(self.lengths[symbol]))
    }

    /// The bits that symbols of these frequencies take.
    pub(super) fn cost(&self, counts: &[u32; N]) -> u64 {
        let both = counts.iter().zip(&self.lengths);
        both.map(|(&count, &length)| u64::from(count) * u64::from(length)).sum()
    }

    /// Whether every symbol that occurs has a code.
    pub(super) fn covers(&self, counts: &[u32; N]) -> bool {
        counts.iter().zip(&self.lengths).all(|(&count, &length)| count == 0 || length > 0)
    }
}

/// Sets the lengths of the symbols that occur; the others are 0 already.
fn fill_lengths(counts: &[u32], limit: usize, lengths: &mut [u8]) {
    let mut leaves: Vec<(u32, usize)> = Vec::with_capacity(counts.len());
    leaves.extend(counts.iter().enumerate().filter(|leaf| *leaf.1 > 0).map(|(at, n)| (*n, at)));
    let count = leaves.len();
    if count <= 2 {
        for (_, symbol) in leaves {
            lengths[symbol] = 1;
        }
        return;
    }
    leaves.sort_unstable();
    let rows = limit.min(count - 1);
    let kept = 2 * count - 2;

    // Of each row: which of its items are leaves. Weights are needed of one row only.
    let mut is_leaf = [[true; 2 * MOST]; LONGEST];
    let mut below: Vec<u32> = leaves.iter().map(|leaf| leaf.0).collect();
    let mut row: Vec<u32> = Vec::with_capacity(kept);
    for flags in &mut is_leaf[1..rows] {
        row.clear();
        let mut pairs = below.chunks_exact(2).map(|pair| pair[0] + pair[1]).peekable();
        let mut rest = leaves.iter().map(|leaf| leaf.0).peekable();
        for flag in &mut flags[..kept] {
            // A package goes before a leaf of the same weight.
            let package = match (pairs.peek(), rest.peek()) {
                (Some(package), Some(leaf)) => package <= leaf,
                (package, _) => package.is_some(),
            };
            *flag = !package;
            row.extend(if package { pairs.next() } else { rest.next() });
        }
        std::mem::swap(&mut row, &mut below);
    }

    let mut taken = kept;
    for flags in is_leaf[..rows].iter().rev() {
        let used = flags[..taken].iter().filter(|leaf| **leaf).count();
        for (_, symbol) in &leaves[..used] {
            lengths[*symbol] += 1;
        }
        taken = 2 * (taken - used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths<const N: usize>(counts: [u32; N], limit: usize) -> [u8; N] {
        Code::from_counts(&counts, limit).lengths
    }

    #[test]
    fn packages_go_before_leaves() {
        assert_eq!(lengths([1, 1, 1, 2], 15), [3, 3, 2, 1]);
    }

    #[test]
    fn few_symbols_get_one_bit() {
        assert_eq!(lengths([0, 0, 0], 15), [0, 0, 0]);
        assert_eq!(lengths([0, 7, 0], 15), [0, 1, 0]);
        assert_eq!(lengths([9, 0, 1], 15), [1, 0, 1]);
    }

    #[test]
    fn the_limit_holds_and_the_code_is_complete() {
        let mut counts = [0; 30];
        for (at, count) in counts.iter_mut().enumerate() {
            *count = 1 << (at / 2);
        }
        for limit in [5, 7, 15] {
            let lengths = lengths(counts, limit);
            assert!(lengths.iter().all(|length| usize::from(*length) <= limit));
            let sum: u32 = lengths.iter().map(|length| 1 << (15 - length)).sum();
            assert_eq!(sum, 1 << 15);
        }
    }

    #[test]
    fn codes_are_canonical() {
        let code = Code::from_lengths([2, 1, 3, 3]);
        let got: Vec<_> = (0..4).map(|symbol| code.get(symbol)).collect();
        assert_eq!(got, [(0b01, 2), (0, 1), (0b011, 3), (0b111, 3)]);
    }
}
