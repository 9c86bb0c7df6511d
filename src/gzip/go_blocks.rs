//! How Go up to 1.26 chooses the kind of a block and writes it.

use super::bits::BitWriter;
use super::block::{Codes, DynamicHeader, fixed_size, put_fixed_header, stored_size};
use super::token::{Counts, END, Token, write_tokens};

/// The longest content of a stored block.
const MOST_STORED: usize = 0xffff;

/// Writes a block in the smallest of the three ways. `source` is its content,
/// where that is still known.
pub(super) fn put_smallest(bits: &mut BitWriter, tokens: &[Token], source: Option<&[u8]>) {
    let mut counts = Counts::of_tokens(tokens);
    counts.literals[END] = 1;
    let (literals, distances) = counts.trim();
    let codes = Codes::for_counts(&counts);
    let header = DynamicHeader::new(&codes, literals, distances);
    let dynamic = header.size + codes.cost(&counts) + counts.extra();
    let fixed = fixed_size(&counts);
    if let Some(source) = source
        && source.len() <= MOST_STORED
        && stored_size(source.len()) < dynamic.min(fixed)
    {
        bits.stored(source, false);
    } else if dynamic < fixed {
        header.put(bits, false);
        put_all(bits, tokens, &codes);
    } else {
        put_fixed_header(bits, false);
        put_all(bits, tokens, &Codes::fixed());
    }
}

/// Writes a block as a dynamic one unless that saves less than a sixteenth.
pub(super) fn put_dynamic_or_stored(bits: &mut BitWriter, tokens: &[Token], source: &[u8]) {
    let mut counts = Counts::of_tokens(tokens);
    counts.literals[END] = 1;
    let (literals, distances) = counts.trim();
    let codes = Codes::for_counts(&counts);
    let header = DynamicHeader::new(&codes, literals, distances);
    // What follows the symbols is left out, as the encoder does.
    let dynamic = header.size + codes.cost(&counts);
    if is_worth(dynamic, source) {
        header.put(bits, false);
        put_all(bits, tokens, &codes);
    } else {
        bits.stored(source, false);
    }
}

/// Writes a block of literals only, or a stored one.
pub(super) fn put_literals_or_stored(bits: &mut BitWriter, source: &[u8]) {
    let mut counts = Counts::of_bytes(source);
    counts.literals[END] = 1;
    let (literals, distances) = counts.trim();
    let codes = Codes::for_counts(&counts);
    let header = DynamicHeader::new(&codes, literals, distances);
    if is_worth(header.size + codes.cost(&counts), source) {
        header.put(bits, false);
        for byte in source {
            codes.literals.put(bits, usize::from(*byte));
        }
        codes.put_end(bits);
    } else {
        bits.stored(source, false);
    }
}

/// Whether `size` bits are enough less than those of a stored block.
fn is_worth(size: u64, source: &[u8]) -> bool {
    stored_size(source.len()) >= size + (size >> 4)
}

fn put_all(bits: &mut BitWriter, tokens: &[Token], codes: &Codes) {
    write_tokens(bits, tokens, &codes.literals, &codes.distances);
    codes.put_end(bits);
}
