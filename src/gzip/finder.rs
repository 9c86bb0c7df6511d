//! What the match finders of klauspost's encoder share: the text, the tables of
//! positions, and the tokens.

use super::bits::narrow;
use super::text::{common, load32, load64, table};
use super::token::{MAX_MATCH, Token};

/// The farthest match, but for one case of level 1.
pub(super) const REACH: u32 = 32767;
/// Chunks shorter than this have no matches.
const SHORTEST: usize = 13;
/// No match starts closer to the end of a chunk.
const MARGIN: usize = 11;

const SLOTS: usize = 1 << 15;

/// A match finder: takes one chunk after the other, and remembers positions.
pub(super) trait Finder: std::fmt::Debug + Send {
    /// Appends the tokens of a chunk to `tokens`, or none if it has no match.
    fn find(&mut self, chunk: &Chunk<'_>, tokens: &mut Vec<Token>);

    /// Takes `less` off all positions; those under it are forgotten.
    fn rebase(&mut self, less: u32);
}

/// A chunk, and what stands before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'a> {
    /// All that can be reached, up to the end of the chunk.
    pub(super) text: &'a [u8],
    /// Where the chunk starts in it.
    pub(super) start: usize,
    /// The position of the first byte of `text`.
    pub(super) base: u32,
}

impl Chunk<'_> {
    /// Behind the last place where a match may start, unless there is none.
    pub(super) fn limit(&self) -> Option<usize> {
        let length = self.text.len() - self.start;
        (length >= SHORTEST).then(|| self.text.len() - MARGIN)
    }

    /// The position of a place.
    #[inline]
    pub(super) fn position(&self, at: usize) -> u32 {
        self.base + narrow(at)
    }

    /// The place of a position, if it is within reach of the place `at`.
    #[inline]
    pub(super) fn near(&self, at: usize, candidate: u32) -> Option<usize> {
        self.within(REACH, at, candidate)
    }

    /// The place of a position, if it is at most `reach` before the place `at`.
    #[inline]
    pub(super) fn within(&self, reach: u32, at: usize, candidate: u32) -> Option<usize> {
        let distance = self.position(at).wrapping_sub(candidate);
        if distance <= reach { at.checked_sub(distance as usize) } else { None }
    }

    /// Whether the four bytes at two places are equal.
    #[inline]
    pub(super) fn same(&self, one: usize, other: usize) -> bool {
        load32(self.text, one) == load32(self.text, other)
    }

    /// The place of a position that is near `at` and has the same four bytes.
    #[inline]
    pub(super) fn equal(&self, at: usize, candidate: u32) -> Option<usize> {
        self.near(at, candidate).filter(|from| self.same(at, *from))
    }

    /// How long the match of `at` with `from` is, to the end of the chunk.
    #[inline]
    pub(super) fn common(&self, at: usize, from: usize) -> usize {
        common(self.text, from, at, self.text.len())
    }

    /// The same, up to the longest match.
    #[inline]
    pub(super) fn common_capped(&self, at: usize, from: usize) -> usize {
        common(self.text, from, at, MAX_MATCH)
    }

    /// How far the match of `at` with `from` goes back, to `written` at most.
    #[inline]
    pub(super) fn common_before(&self, at: usize, from: usize, written: usize) -> usize {
        let back = from.min(at - written);
        let pairs = (1..=back).take_while(|&back| self.text[at - back] == self.text[from - back]);
        pairs.count()
    }

    /// Appends the bytes between two places as literals.
    pub(super) fn literals(&self, from: usize, to: usize, tokens: &mut Vec<Token>) {
        tokens.extend(self.text[from..to].iter().map(|byte| Token::literal(*byte)));
    }

    /// Ends a chunk: what is left as literals, if there were matches at all.
    pub(super) fn finish(&self, written: usize, tokens: &mut Vec<Token>) {
        if !tokens.is_empty() {
            self.literals(written, self.text.len(), tokens);
        }
    }

    /// The hash of four bytes.
    #[inline]
    pub(super) fn hash4(&self, at: usize) -> usize {
        hash4(load32(self.text, at))
    }

    /// The hash of five bytes.
    #[inline]
    pub(super) fn hash5(&self, at: usize) -> usize {
        ((load64(self.text, at) << 24).wrapping_mul(889_523_592_379) >> 49 & 0x7fff) as usize
    }

    /// The hash of seven bytes.
    #[inline]
    pub(super) fn hash7(&self, at: usize) -> usize {
        hash7(load64(self.text, at))
    }
}

#[inline]
fn hash4(bytes: u32) -> usize {
    (bytes.wrapping_mul(2_654_435_761) >> 17) as usize
}

#[inline]
fn hash7(bytes: u64) -> usize {
    ((bytes << 8).wrapping_mul(58_295_818_150_454_627) >> 49 & 0x7fff) as usize
}

/// Appends a match of any length from 4 on, in pieces that no encoder could be
/// unable to write.
pub(super) fn put_match(mut length: usize, distance: usize, tokens: &mut Vec<Token>) {
    while length > 0 {
        let part = match length {
            262.. => MAX_MATCH,
            259..=261 => 255,
            _ => length,
        };
        tokens.push(Token::copy(part, distance));
        length -= part;
    }
}

/// A match that begins at `at` and repeats what is at `from`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    pub(super) at: usize,
    pub(super) from: usize,
}

/// The tables of levels 5 and 6.
#[derive(Debug)]
pub(super) struct Tables {
    /// For each hash of four bytes the last position.
    pub(super) short: Box<[u32; SLOTS]>,
    /// For each hash of seven bytes the last two positions, the last first.
    pub(super) long: Box<[[u32; 2]; SLOTS]>,
}

impl Tables {
    /// Empty tables.
    pub(super) fn new() -> Self {
        Self { short: table(), long: table() }
    }

    /// Puts a place into the table of four bytes.
    #[inline]
    pub(super) fn put_short(&mut self, chunk: &Chunk<'_>, at: usize) {
        self.short[chunk.hash4(at)] = chunk.position(at);
    }

    /// Puts a place into the table of seven bytes.
    #[inline]
    pub(super) fn put_long(&mut self, chunk: &Chunk<'_>, at: usize) {
        let slot = &mut self.long[chunk.hash7(at)];
        *slot = [chunk.position(at), slot[0]];
    }

    /// Puts a place into both.
    #[inline]
    pub(super) fn put(&mut self, chunk: &Chunk<'_>, at: usize) {
        // Of one load: eight bytes are there wherever this is called.
        let bytes = load64(chunk.text, at);
        let here = chunk.position(at);
        self.short[hash4((bytes & 0xffff_ffff) as u32)] = here;
        let slot = &mut self.long[hash7(bytes)];
        *slot = [here, slot[0]];
    }

    /// Puts every second place from `from` to `to` into both, and those between
    /// into the table of seven bytes.
    #[inline]
    pub(super) fn put_all(&mut self, chunk: &Chunk<'_>, from: usize, to: usize) {
        let Some(text) = chunk.text.get(from..(to + 7).min(chunk.text.len())) else { return };
        let mut here = chunk.position(from);
        for bytes in text.windows(8).step_by(2).filter_map(<[u8]>::first_chunk) {
            let bytes = u64::from_le_bytes(*bytes);
            self.short[hash4((bytes & 0xffff_ffff) as u32)] = here;
            let slot = &mut self.long[hash7(bytes)];
            *slot = [here, slot[0]];
            let slot = &mut self.long[hash7(bytes >> 8)];
            *slot = [here + 1, slot[0]];
            here += 2;
        }
    }

    /// Takes `less` off all positions.
    pub(super) fn rebase(&mut self, less: u32) {
        let long = self.long.iter_mut().flatten();
        self.short.iter_mut().chain(long).for_each(|slot| *slot = slot.saturating_sub(less));
    }
}
