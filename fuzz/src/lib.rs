//! What the fuzz targets share: decisions read from the front of an input, and
//! larger things made of them.
//!
//! Every input is good for something: where its bytes end, zeros follow, so that
//! no input is thrown away for being too short. The same input always gives the
//! same run.

pub mod documents;
pub mod gzip;
pub mod memory;
pub mod split;
pub mod store;
pub mod tar;

use std::io::{self, Read};

/// Reads decisions from the front of an input, and zeros behind its end.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    rest: &'a [u8],
}

impl<'a> Plan<'a> {
    /// Begins at the first byte.
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next bytes, as far as there are any.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// So many bytes as the next byte says.
    pub fn short(&mut self) -> &'a [u8] {
        let count = self.u8();
        self.take(count.into())
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Whether the next byte is odd.
    pub fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let number = if end <= 256 { self.u8().into() } else { self.u32() as usize };
        number % end
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}

/// Lengths that are near what parsers count by.
const LENGTHS: [usize; 16] =
    [1, 2, 3, 7, 63, 256, 511, 512, 513, 1000, 4096, 10_000, 32_768, 65_537, 300_000, 1 << 20];

/// `bytes` in pieces, of lengths that `plan` says.
pub fn pieces<'b>(bytes: &'b [u8], plan: &mut Plan<'_>) -> Vec<&'b [u8]> {
    let cuts = plan.take(4);
    let mut at = 0;
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let cut = cuts.get(at % 4).copied().unwrap_or(u8::MAX);
        // One short piece after the other takes too long where there is much.
        let length = LENGTHS[usize::from(cut % 16)].max(bytes.len() / 256).min(rest.len());
        let (piece, later) = rest.split_at(length);
        pieces.push(piece);
        rest = later;
        at += 1;
    }
    pieces
}

/// A reader that hands out pieces.
#[derive(Debug)]
pub struct InPieces<T> {
    pieces: std::collections::VecDeque<T>,
    at: usize,
}

impl<T> InPieces<T> {
    /// Hands out these.
    pub fn new(pieces: impl IntoIterator<Item = T>) -> Self {
        Self { pieces: pieces.into_iter().collect(), at: 0 }
    }
}

impl<T: AsRef<[u8]>> Read for InPieces<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.pieces.front() {
            let rest = &piece.as_ref()[self.at..];
            if rest.is_empty() {
                self.pieces.pop_front();
                self.at = 0;
                continue;
            }
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.at += count;
            return Ok(count);
        }
        Ok(0)
    }
}

/// How much content there is to be at most: seldom as much as `largest`, since
/// that takes its time.
pub fn room(plan: &mut Plan<'_>, largest: usize) -> usize {
    let room = match plan.u8() {
        0..150 => 3_000,
        150..220 => 20_000,
        220..250 => 100_000,
        _ => largest,
    };
    room.min(largest)
}

/// Content of at most `most` bytes, much longer than what says it: literal
/// bytes, runs, noise, words, and copies of what came before.
pub fn expand(plan: &mut Plan<'_>, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let segments = plan.below(24);
    for _ in 0..segments {
        let kind = plan.u8();
        let length = match kind >> 4 {
            0..8 => usize::from(plan.u8()),
            8..13 => usize::from(plan.u16()),
            13..15 => usize::from(plan.u16()) * 4,
            _ => usize::from(plan.u16()) * 16,
        };
        let length = length.min(most - out.len());
        match kind & 7 {
            0 | 1 => {
                let literal = plan.take(length.min(256));
                out.extend_from_slice(literal);
            }
            2 => out.resize(out.len() + length, plan.u8()),
            3 => {
                let mut state = u64::from(plan.u16()) | 1 << 40;
                for _ in 0..length {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    out.push((state >> 24) as u8);
                }
            }
            4 => {
                let words = [b"the ".as_slice(), b"usr/", b"lib/", b"share/", b"0000644\0", b"\n"];
                let mut state = u32::from(plan.u16()) | 1;
                let end = out.len() + length;
                while out.len() < end {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    out.extend_from_slice(words[(state >> 24) as usize % words.len()]);
                }
                out.truncate(end);
            }
            5 | 6 if !out.is_empty() => {
                let distance = 1 + plan.below(65_536.min(out.len()));
                for _ in 0..length {
                    out.push(out[out.len() - distance]);
                }
            }
            _ => {
                // Few values, so that matches are short and many.
                let (mask, mut state) = (plan.u8() | 1, plan.u32() | 1);
                for _ in 0..length {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    out.push((state >> 24) as u8 & mask);
                }
            }
        }
    }
    out
}

/// Changes a few bytes, as `plan` says; true if anything is different.
pub fn mutate(bytes: &mut Vec<u8>, plan: &mut Plan<'_>) -> bool {
    let before = bytes.clone();
    for _ in 0..plan.below(8) {
        let kind = plan.u8();
        if bytes.is_empty() {
            break;
        }
        // From the front or from the end, where the structure is.
        let distance = if kind & 8 == 0 { plan.u8().into() } else { usize::from(plan.u16()) };
        let at = distance % bytes.len();
        let at = if kind & 16 == 0 { at } else { bytes.len() - 1 - at };
        match kind & 7 {
            0 | 1 => bytes[at] = plan.u8(),
            2 => bytes[at] ^= 1 << (plan.u8() & 7),
            3 => bytes.truncate(at),
            4 => {
                let more = plan.short();
                bytes.splice(at..at, more.iter().copied());
            }
            5 => {
                let end = (at + usize::from(plan.u8())).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let new = plan.short();
                let end = (at + new.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&new[..end - at]);
            }
            _ => {
                let end = (at + usize::from(plan.u16())).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
        }
    }
    *bytes != before
}
