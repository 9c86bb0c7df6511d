//! Content-defined cutting: FastCDC with normalisation, as docs/FORMAT.md
//! section 8 fixes it. The cut points are part of the format.
//!
//! [`Cutter`] takes one content at a time, in pieces of any size, and hands out
//! its chunks in order. It holds at most two chunks of the largest size.

use std::sync::LazyLock;

/// Contents up to this length are one chunk.
pub const WHOLE: usize = 128 << 10;
/// No chunk of a longer content is shorter than this, but its last.
pub const MIN: usize = 16 << 10;
/// Where the test becomes easier to pass.
pub const AVERAGE: usize = 64 << 10;
/// No chunk is longer.
pub const MAX: usize = 256 << 10;

/// Of the state, this many top bits must be 0 up to `AVERAGE`, ...
const STRICT_BITS: u32 = 18;
/// ... and this many after it.
const EASY_BITS: u32 = 14;

static GEAR: LazyLock<[u64; 256]> = LazyLock::new(|| {
    let mut gear = [0; 256];
    for (byte, value) in (0..=255u8).zip(gear.iter_mut()) {
        let seed = [b"orlop gear ".as_slice(), &[byte]].concat();
        *value = crate::digest::Id::of(&seed).key().cast_unsigned();
    }
    gear
});

/// The length of the first chunk of `bytes`, which go on after that unless they
/// are shorter than `MAX`.
fn cut(bytes: &[u8]) -> usize {
    let gear = &*GEAR;
    let end = bytes.len().min(MAX);
    let middle = end.min(AVERAGE);
    let mut state: u64 = 0;
    let mut at = MIN.min(end);
    for &byte in &bytes[at..middle] {
        state = (state << 1).wrapping_add(gear[usize::from(byte)]);
        at += 1;
        if state >> (64 - STRICT_BITS) == 0 {
            return at;
        }
    }
    for &byte in &bytes[at..end] {
        state = (state << 1).wrapping_add(gear[usize::from(byte)]);
        at += 1;
        if state >> (64 - EASY_BITS) == 0 {
            return at;
        }
    }
    end
}

/// Cuts one content after the other.
#[derive(Debug, Default)]
pub struct Cutter {
    buffer: Vec<u8>,
    /// Of the content, if that is known.
    length: Option<u64>,
    /// Whether the content is known to be longer than `WHOLE`.
    long: bool,
}

impl Cutter {
    /// Starts a content of `length` bytes, if that is known.
    pub fn begin(&mut self, length: Option<u64>) {
        self.buffer.clear();
        self.length = length;
        self.long = length.is_some_and(|length| length > WHOLE as u64);
    }

    /// Takes in the next bytes of the content; calls `emit` for each chunk that
    /// is complete.
    pub fn push<E>(
        &mut self,
        mut bytes: &[u8],
        mut emit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            // What can be told from these bytes alone isn't copied.
            if self.buffer.is_empty() {
                if !self.long && self.length == Some(bytes.len() as u64) {
                    return emit(bytes);
                }
                while self.long && bytes.len() >= MAX {
                    let (chunk, rest) = bytes.split_at(cut(bytes));
                    emit(chunk)?;
                    bytes = rest;
                }
            }
            let room = 2 * MAX - self.buffer.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            self.long |= self.buffer.len() > WHOLE;
            let mut start = 0;
            while self.long && self.buffer.len() - start >= MAX {
                let length = cut(&self.buffer[start..]);
                emit(&self.buffer[start..start + length])?;
                start += length;
            }
            self.buffer.drain(..start);
        }
        Ok(())
    }

    /// Ends the content; calls `emit` for the chunks that remain.
    pub fn finish<E>(&mut self, mut emit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let length = if self.long { cut(rest) } else { rest.len() };
            emit(&rest[..length])?;
            rest = &rest[length..];
        }
        self.buffer.clear();
        Ok(())
    }
}

/// The chunk lengths of one content; for tests and vectors.
pub fn lengths(content: &[u8]) -> Vec<usize> {
    let mut cutter = Cutter::default();
    let mut lengths = Vec::new();
    let mut emit = |chunk: &[u8]| {
        lengths.push(chunk.len());
        Ok::<(), std::convert::Infallible>(())
    };
    cutter.begin(Some(content.len() as u64));
    let Ok(()) = cutter.push(content, &mut emit);
    let Ok(()) = cutter.finish(&mut emit);
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random and never change.
    fn noise(length: usize) -> Vec<u8> {
        let mut state: u64 = 1;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn small_contents_are_whole_and_zeros_are_cut_at_the_most() {
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&noise(WHOLE)), [WHOLE]);
        assert!(lengths(&noise(WHOLE + 1)).len() > 1);
        assert_eq!(lengths(&vec![0; 600 << 10]), [MAX, MAX, 88 << 10]);
    }

    #[test]
    fn pieces_do_not_matter() {
        let content = noise(2 << 20);
        let expected = lengths(&content);
        assert_eq!(expected.iter().sum::<usize>(), content.len());
        for piece in [1000, 65_536, 700_000] {
            for known in [Some(content.len() as u64), None] {
                let mut found = Vec::new();
                let mut emit = |chunk: &[u8]| {
                    found.push(chunk.len());
                    Ok::<(), ()>(())
                };
                let mut cutter = Cutter::default();
                cutter.begin(known);
                for part in content.chunks(piece) {
                    cutter.push(part, &mut emit).unwrap();
                }
                cutter.finish(&mut emit).unwrap();
                assert_eq!(found, expected, "piece {piece} known {known:?}");
            }
        }
    }

    #[test]
    fn golden_cut_points() {
        assert_eq!(GEAR[0], 16_382_352_926_394_593_012);
        let golden = [
            74_371, 68_864, 72_050, 87_744, 66_262, 69_381, 69_941, 92_856, 36_222, 84_966, 72_933,
            69_758, 55_805, 65_711, 61_712,
        ];
        assert_eq!(lengths(&noise(1 << 20)), golden);
    }
}
