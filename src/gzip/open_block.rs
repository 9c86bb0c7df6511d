//! How klauspost's encoder, and Go's from 1.27 on, choose and write blocks: one
//! with a table of its own can stay open for what follows.
//!
//! Whether it does is decided with the help of an estimate in 32-bit floats,
//! which is part of what these encoders emit.

use super::bits::BitWriter;
use super::block::{
    Codes, DynamicHeader, fixed_size, put_empty_fixed_end, put_fixed_header, stored_size,
};
use super::token::{Counts, END, Token, USED_LITERALS, write_tokens};

/// Blocks of at least this many tokens are never fixed ones.
const NEVER_FIXED: usize = 250;
/// Up to this length, noise isn't looked for.
const SHORT: u64 = 1024;
/// What a header of literals alone is taken to cost, before one was made.
const USUAL_HEADER: u64 = 560;

/// In what the versions of the writer differ, for chunks that aren't the last
/// before a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Whether headers name no more symbols than are needed.
    pub(super) trimmed: bool,
    /// Whether the end of the block counts when an open block is weighed.
    pub(super) end_counts: bool,
}

/// Writes the blocks of one stream.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) bits: BitWriter,
    sizes: Sizes,
    /// The codes of the open block, or of the last one.
    codes: Codes,
    /// The bits of the header of the open block; 0 where none is open.
    open: u64,
    /// Whether the codes were made for literals only.
    pure: bool,
}

impl Writer {
    /// A writer at the start of a stream.
    pub(super) fn new(sizes: Sizes) -> Self {
        let codes = Codes::fixed();
        Self { bits: BitWriter::default(), sizes, codes, open: 0, pure: false }
    }

    /// Ends the open block, if there is one.
    fn close(&mut self) {
        if self.open > 0 {
            self.codes.put_end(&mut self.bits);
            self.open = 0;
        }
    }

    /// Ends the open block and puts an empty stored one after it.
    pub(super) fn flush(&mut self) {
        self.stored(&[]);
    }

    /// Ends the stream.
    pub(super) fn end(&mut self) {
        self.close();
        put_empty_fixed_end(&mut self.bits);
    }

    /// Writes `source` as it is.
    pub(super) fn stored(&mut self, source: &[u8]) {
        self.close();
        self.bits.stored(source, false);
    }

    /// Writes `tokens`, which stand for `source` and of which at least one is a
    /// match; `sync` where a flush or the end follows.
    pub(super) fn tokens(&mut self, tokens: &[Token], source: &[u8], sync: bool) {
        let mut counts = Counts::of_tokens(tokens);
        let count = tokens.len() + usize::from(sync);
        let stored = stored_size(source.len());
        counts.literals[END] = u32::from(sync);
        if self.open > 0 && (self.pure || !self.codes.covers(&counts)) {
            self.close();
        }
        counts.literals[END] = u32::from(sync || self.sizes.end_counts);
        let named = if sync || self.sizes.trimmed {
            counts.trim()
        } else {
            (USED_LITERALS, counts.distances.len())
        };

        if self.open > 0 {
            let size = self.weigh(&counts, count);
            if count < NEVER_FIXED {
                let fixed = fixed_size(&counts);
                if fixed + 7 < size {
                    return self.stored_or_fixed(stored <= size, tokens, source);
                }
            }
            if stored <= size {
                return self.stored(source);
            }
        }
        if self.open == 0 {
            counts.literals[END] = 1;
            let codes = Codes::for_counts(&counts);
            let header = DynamicHeader::new(&codes, named.0, named.1);
            if count < NEVER_FIXED {
                let fixed = fixed_size(&counts);
                if fixed <= header.size + codes.cost(&counts) + counts.extra() {
                    return self.stored_or_fixed(stored <= fixed, tokens, source);
                }
            }
            if stored <= header.size + codes.cost(&counts) + counts.extra() {
                return self.stored(source);
            }
            header.put(&mut self.bits, false);
            self.codes = codes;
            self.pure = false;
            self.open = header.size;
        }
        write_tokens(&mut self.bits, tokens, &self.codes.literals, &self.codes.distances);
        if sync {
            self.close();
        }
    }

    /// Closes the open block if a new one seems to be smaller; returns the size
    /// of the better way.
    fn weigh(&mut self, counts: &Counts, tokens: usize) -> u64 {
        let new = self.open + estimate(counts, tokens);
        let new = new + u64::from(self.codes.literals.lengths[END]) + (new >> 7);
        let reuse = self.codes.cost(counts) + counts.extra();
        if new < reuse {
            self.close();
        }
        new.min(reuse)
    }

    fn stored_or_fixed(&mut self, stored: bool, tokens: &[Token], source: &[u8]) {
        if stored {
            return self.stored(source);
        }
        self.close();
        put_fixed_header(&mut self.bits, false);
        let codes = Codes::fixed();
        write_tokens(&mut self.bits, tokens, &codes.literals, &codes.distances);
        codes.put_end(&mut self.bits);
    }

    /// Writes `source` as literals only; `sync` where a flush or the end follows.
    pub(super) fn literals(&mut self, source: &[u8], sync: bool) {
        let mut counts = Counts::of_bytes(source);
        let stored = stored_size(source.len());
        if is_noise(&counts, source.len() as u64) {
            return self.stored(source);
        }
        let bytes = counts.clone();
        counts.literals[END] = 1;
        let named = counts.trim();
        let codes = Codes::for_counts(&counts);
        let size = codes.literals.cost(&counts.literals);
        let size = size + if self.open > 0 { self.open } else { USUAL_HEADER };
        let size = size + (size >> 7);
        if stored <= size {
            return self.stored(source);
        }
        if self.open > 0 {
            let reusable = self.codes.literals.covers(&bytes.literals);
            if !reusable || size < self.codes.literals.cost(&bytes.literals) {
                self.close();
            }
        }
        if self.open == 0 {
            let header = DynamicHeader::new(&codes, named.0, named.1);
            header.put(&mut self.bits, false);
            self.codes = codes;
            self.pure = true;
            self.open = header.size;
        }
        for byte in source {
            self.codes.literals.put(&mut self.bits, usize::from(*byte));
        }
        if sync {
            self.close();
            self.pure = false;
        }
    }
}

/// Whether bytes are spread so evenly that no code can help.
fn is_noise(counts: &Counts, length: u64) -> bool {
    // The sum of (count - length / 256) squared, with all terms times 256.
    let squares = counts.literals[..256].iter().map(|&count| {
        let off = (u64::from(count) * 256).abs_diff(length);
        off * off
    });
    length > SHORT && squares.sum::<u64>() < 2 * length * 65536
}

/// What symbols of these frequencies would take with codes of their own.
#[expect(clippy::cast_precision_loss, reason = "counts are under 2^24")]
fn estimate(counts: &Counts, tokens: usize) -> u64 {
    let inverse = 1.0 / tokens as f32;
    let mut sum = 0.0;
    add_costs(&mut sum, &counts.literals[..END], inverse);
    sum += 15.0;
    add_costs(&mut sum, &counts.literals[END + 1..USED_LITERALS], inverse);
    // The dummy that stands where no distance occurs isn't met here: a block
    // that is weighed has a match.
    add_costs(&mut sum, &counts.distances, 1.0 / counts.matches() as f32);
    truncate(sum) + counts.extra()
}

/// Adds what each symbol of frequency `counts` would take; the order and the
/// precision of each step matter.
#[expect(clippy::cast_precision_loss, reason = "counts are under 2^24")]
fn add_costs(sum: &mut f32, counts: &[u32], inverse: f32) {
    for &count in counts.iter().filter(|count| **count > 0) {
        let count = count as f32;
        *sum += (-log2(count * inverse)).clamp(1.0, 15.0) * count;
    }
}

/// An approximation of the binary logarithm, for positive numbers.
fn log2(value: f32) -> f32 {
    let bits = value.to_bits();
    let exponent = f32::from(((bits >> 23) & 0xff) as u8) - 128.0;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    let curve = -0.344_848_43 * mantissa + 2.024_665_8;
    exponent + (curve * mantissa - 0.674_877_6)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is wanted")]
fn truncate(sum: f32) -> u64 {
    sum as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_nearly_one() {
        for value in [1.0_f32, 0.5, 0.3, 0.01, 1.0 / 65536.0] {
            assert!((log2(value) - value.log2()).abs() < 0.01, "{value}");
        }
    }
}
