//! Headers of dynamic blocks, the fixed codes, and what blocks cost in bits.

use std::sync::LazyLock;

use super::bits::{BitWriter, narrow};
use super::huffman::{Code, LONGEST};
use super::token::{Counts, DISTANCES, DistanceCode, END, LITERALS, LiteralCode};

/// The order in which a header lists the lengths of its own code.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The longest code in the code of a header.
const LONGEST_OF_HEADER: usize = 7;

/// The codes of fixed blocks.
static FIXED: LazyLock<(LiteralCode, DistanceCode)> = LazyLock::new(|| {
    let mut literals = [8; LITERALS];
    literals[144..256].fill(9);
    literals[256..280].fill(7);
    (Code::from_lengths(literals), Code::from_lengths([5; DISTANCES]))
});

/// The codes of a block.
#[derive(Debug, Clone)]
pub(super) struct Codes {
    pub(super) literals: LiteralCode,
    pub(super) distances: DistanceCode,
}

impl Codes {
    /// The best ones for symbols of these frequencies.
    pub(super) fn for_counts(counts: &Counts) -> Self {
        Self {
            literals: Code::from_counts(&counts.literals, LONGEST),
            distances: Code::from_counts(&counts.distances, LONGEST),
        }
    }

    /// Those of fixed blocks.
    pub(super) fn fixed() -> Self {
        Self { literals: FIXED.0.clone(), distances: FIXED.1.clone() }
    }

    /// The bits that symbols of these frequencies take, without what follows them.
    pub(super) fn cost(&self, counts: &Counts) -> u64 {
        self.literals.cost(&counts.literals) + self.distances.cost(&counts.distances)
    }

    /// Whether every symbol that occurs has a code.
    pub(super) fn covers(&self, counts: &Counts) -> bool {
        self.literals.covers(&counts.literals) && self.distances.covers(&counts.distances)
    }

    /// Ends the block.
    pub(super) fn put_end(&self, bits: &mut BitWriter) {
        self.literals.put(bits, END);
    }
}

/// The bits of a fixed block with symbols of these frequencies.
pub(super) fn fixed_size(counts: &Counts) -> u64 {
    3 + FIXED.0.cost(&counts.literals) + FIXED.1.cost(&counts.distances) + counts.extra()
}

/// The bits of a stored block of `length` bytes, wherever it begins.
pub(super) fn stored_size(length: usize) -> u64 {
    8 * (length as u64 + 5)
}

/// Starts a fixed block.
pub(super) fn put_fixed_header(bits: &mut BitWriter, last: bool) {
    bits.put(0b010 | u32::from(last), 3);
}

/// Ends the stream with an empty fixed block.
pub(super) fn put_empty_fixed_end(bits: &mut BitWriter) {
    bits.put(0b011, 10);
    bits.align();
}

/// The header of a dynamic block.
#[derive(Debug)]
pub(super) struct DynamicHeader {
    literals: usize,
    distances: usize,
    /// Symbols of the header's code, with the value that follows each.
    runs: Vec<(u8, u8)>,
    code: Code<19>,
    /// How many lengths of the header's code are listed.
    listed: usize,
    /// Its length in bits, with the three that every block starts with.
    pub(super) size: u64,
}

impl DynamicHeader {
    /// The header of `codes`, naming that many symbols of each.
    pub(super) fn new(codes: &Codes, literals: usize, distances: usize) -> Self {
        let lengths =
            &[&codes.literals.lengths[..literals], &codes.distances.lengths[..distances]].concat();
        let mut runs = Vec::with_capacity(lengths.len());
        for run in lengths.chunk_by(|one, next| one == next) {
            put_run(&mut runs, run[0], run.len());
        }
        Self::assemble(literals, distances, runs, Code::from_counts)
    }

    /// The header of codes whose lengths are in `runs`; its own code is made by
    /// `make` from counts and a limit.
    pub(super) fn assemble(
        literals: usize,
        distances: usize,
        runs: Vec<(u8, u8)>,
        make: fn(&[u32; 19], usize) -> Code<19>,
    ) -> Self {
        let mut counts = [0_u32; 19];
        for (symbol, _) in &runs {
            counts[usize::from(*symbol)] += 1;
        }
        let code = make(&counts, LONGEST_OF_HEADER);
        let last = ORDER.iter().rposition(|symbol| code.lengths[*symbol] > 0).unwrap_or(0);
        let listed = (last + 1).max(4);
        let extra = 2 * counts[16] + 3 * counts[17] + 7 * counts[18];
        let size = 17 + 3 * listed as u64 + code.cost(&counts) + u64::from(extra);
        Self { literals, distances, runs, code, listed, size }
    }

    /// Writes it.
    pub(super) fn put(&self, bits: &mut BitWriter, last: bool) {
        bits.put(0b100 | u32::from(last), 3);
        bits.put(narrow(self.literals - 257), 5);
        bits.put(narrow(self.distances - 1), 5);
        bits.put(narrow(self.listed - 4), 4);
        for symbol in &ORDER[..self.listed] {
            bits.put(u32::from(self.code.lengths[*symbol]), 3);
        }
        for &(symbol, value) in &self.runs {
            self.code.put(bits, usize::from(symbol));
            let extra = match symbol {
                16 => 2,
                17 => 3,
                18 => 7,
                _ => 0,
            };
            bits.put(u32::from(value), extra);
        }
    }
}

/// Appends the symbols for `count` codes of one length.
fn put_run(runs: &mut Vec<(u8, u8)>, length: u8, mut count: usize) {
    let small = |count: usize, first: usize| (narrow(count - first) & 0x7f) as u8;
    if length > 0 {
        runs.push((length, 0));
        count -= 1;
        while count >= 3 {
            let part = count.min(6);
            runs.push((16, small(part, 3)));
            count -= part;
        }
    } else {
        while count >= 11 {
            let part = count.min(138);
            runs.push((18, small(part, 11)));
            count -= part;
        }
        if count >= 3 {
            runs.push((17, small(count, 3)));
            return;
        }
    }
    runs.resize(runs.len() + count, (length, 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(length: u8, count: usize) -> Vec<(u8, u8)> {
        let mut runs = Vec::new();
        put_run(&mut runs, length, count);
        runs
    }

    #[test]
    fn runs_are_cut_as_the_encoders_do() {
        assert_eq!(runs(7, 8), [(7, 0), (16, 3), (7, 0)]);
        assert_eq!(runs(0, 140), [(18, 127), (0, 0), (0, 0)]);
        assert_eq!(runs(0, 141), [(18, 127), (17, 0)]);
        assert_eq!(runs(0, 10), [(17, 7)]);
        assert_eq!(runs(3, 1), [(3, 0)]);
    }
}
