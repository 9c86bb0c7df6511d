//! Which encoder made a stream: all that can have made it run beside the
//! decoder, and each is dropped at the first byte that it would have written
//! otherwise. Whatever is left at the end has reproduced every byte.
//!
//! One pass, no going back. Holds the compressed bytes that some encoder has not
//! come to yet, and at the start about 1 MiB for each encoder that is tried;
//! wrong ones rarely live longer than the first block.

use std::io::{self, Read};

use super::member::{TRAILER, candidates, header_length};
use super::replay::{MOST_BYTES, Member, Replay, usual_trailer};
use super::{Encoder, EncoderId};
use crate::codec::{BadStream, Crc32, Inflated, Inflater};

/// How much is read, and how much inflated, at a time.
const PIECE: usize = 64 << 10;

/// An encoder that is further behind has not made the stream.
const FARTHEST: usize = 4 << 20;

/// What the name of an encoder and the like may take of a replay.
const NAME_ROOM: usize = 128;

/// How bodies end that were flushed before: the rest of an empty stored block,
/// and an empty last block, stored or fixed.
const FLUSHED_ENDS: [&[u8]; 2] =
    [&[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff], &[0, 0, 0xff, 0xff, 3, 0]];

/// After this much content, an encoder that is rare is given up for another one
/// that is right as well: two of them take twice the time.
const PATIENCE: u64 = 4 << 20;

/// A decoder of raw DEFLATE (RFC 1951).
pub trait Inflate {
    /// Starts anew: what follows is another stream.
    fn reset(&mut self);

    /// Decodes from the start of `input` into `output`, as far as either goes.
    /// Never takes in bytes behind the end of the stream.
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Inflated, BadStream>;
}

impl Inflate for Inflater {
    fn reset(&mut self) {
        Inflater::reset(self);
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Inflated, BadStream> {
        Inflater::inflate(self, input, output)
    }
}

/// Why a stream can't be made again.
#[derive(Debug, thiserror::Error)]
pub enum NoReplay {
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It doesn't begin as gzip does, or something else follows a member.
    #[error("not a gzip header at byte {0}")]
    NotGzip(u64),
    /// It can't be decoded.
    #[error("a damaged gzip stream")]
    Damaged,
    /// It ends inside a member.
    #[error("a gzip stream that ends too early")]
    Truncated,
    /// It has too many members, or too long headers, to be kept.
    #[error("a gzip stream of too many members")]
    TooManyMembers,
    /// No known encoder makes it.
    #[error("no known gzip encoder makes this stream{}", nearest_words(*.nearest))]
    OtherEncoder {
        /// The encoder that was right for longest, and the first byte of the
        /// stream that it would have written otherwise.
        nearest: Option<(EncoderId, u64)>,
    },
}

fn nearest_words(nearest: Option<(EncoderId, u64)>) -> String {
    nearest.map_or_else(String::new, |(id, at)| format!("; {id} differs from byte {at} on"))
}

/// Finds the encoder that makes the gzip stream `input`, and what must be kept
/// besides the content. The content is handed to `content` piece by piece, only
/// as far as some encoder is still right.
pub fn prove(
    input: impl Read,
    inflater: &mut dyn Inflate,
    content: &mut dyn FnMut(&[u8]),
) -> Result<Replay, NoReplay> {
    let mut window = Window { input, bytes: Vec::new(), start: 0, base: 0, ended: false };
    let mut proof = Proof { alive: None, nearest: None, output: vec![0; PIECE] };
    let (mut members, mut last, mut stored) = (Vec::new(), Vec::new(), Vec::new());
    while members.is_empty() || !window.at_end()? {
        let header = window.header()?;
        inflater.reset();
        let mut member = proof.member(&header, &mut window, inflater, content)?;
        if header != last {
            member.header = Some(header.clone());
            last = header;
        }
        member.put(&mut stored);
        if stored.len() > MOST_BYTES - NAME_ROOM {
            return Err(NoReplay::TooManyMembers);
        }
        members.push(member);
    }
    let found = proof.alive.unwrap_or_default();
    let found = found.first().ok_or(NoReplay::OtherEncoder { nearest: None })?;
    Ok(Replay { encoder: found.id, members })
}

/// The part of the stream that is still needed.
struct Window<R> {
    input: R,
    bytes: Vec<u8>,
    /// Where what isn't decoded yet starts in `bytes`.
    start: usize,
    /// The place of the first of `bytes` in the stream.
    base: u64,
    /// Whether all of the stream was read.
    ended: bool,
}

impl<R: Read> Window<R> {
    /// Reads on, unless at the end.
    fn read(&mut self) -> io::Result<()> {
        let piece = PIECE as u64;
        let count = self.input.by_ref().take(piece).read_to_end(&mut self.bytes)?;
        self.ended = count < PIECE;
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Where decoding has come to.
    fn place(&self) -> u64 {
        self.base + self.start as u64
    }

    /// The end of a body, which decoding has come to.
    fn end(&self) -> End {
        let body = &self.bytes[..self.start];
        let flushed = FLUSHED_ENDS.iter().any(|end| body.ends_with(end));
        End { place: self.place(), flushed }
    }

    /// Drops what stands before the place `to`, which is not behind the decoder.
    fn drop_to(&mut self, to: u64) {
        let count = usize::try_from(to.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let count = count.min(self.start);
        self.bytes.drain(..count);
        self.start -= count;
        self.base += count as u64;
    }

    fn at_end(&mut self) -> io::Result<bool> {
        if self.rest().is_empty() && !self.ended {
            self.read()?;
        }
        Ok(self.rest().is_empty())
    }

    fn header(&mut self) -> Result<Vec<u8>, NoReplay> {
        loop {
            let length = header_length(self.rest());
            match length.map_err(|_| NoReplay::NotGzip(self.place()))? {
                Some(length) => {
                    let header = self.rest()[..length].to_vec();
                    self.start += length;
                    return Ok(header);
                }
                None if self.ended => return Err(NoReplay::Truncated),
                None => self.read()?,
            }
        }
    }

    fn trailer(&mut self) -> Result<[u8; TRAILER], NoReplay> {
        if self.rest().len() < TRAILER && !self.ended {
            self.read()?;
        }
        let trailer = *self.rest().first_chunk().ok_or(NoReplay::Truncated)?;
        self.start += TRAILER;
        Ok(trailer)
    }
}

/// The end of a member's body.
#[derive(Clone, Copy)]
struct End {
    place: u64,
    /// Whether it looks like that of a stream that was flushed before.
    flushed: bool,
}

/// An encoder that was right so far.
struct Candidate {
    id: EncoderId,
    encoder: Box<dyn Encoder>,
    /// What it wrote and could not be compared yet.
    ahead: Vec<u8>,
    /// Where in the stream that begins.
    at: u64,
}

impl Candidate {
    /// Compares what was written with the stream; fails with the place of the
    /// first difference.
    fn compare<R>(&mut self, window: &Window<R>) -> Result<(), u64> {
        let from = usize::try_from(self.at - window.base).unwrap_or(usize::MAX);
        let there = window.bytes.get(from..).unwrap_or_default();
        let count = there.len().min(self.ahead.len());
        if there[..count] != self.ahead[..count] {
            let same = there.iter().zip(&self.ahead).take_while(|(one, other)| one == other);
            return Err(self.at + same.count() as u64);
        }
        self.ahead.drain(..count);
        self.at += count as u64;
        if window.ended && !self.ahead.is_empty() {
            return Err(self.at);
        }
        Ok(())
    }
}

/// The search over all members.
struct Proof {
    /// What is right so far; `None` before the first member.
    alive: Option<Vec<Candidate>>,
    /// What was right for longest of those that were not.
    nearest: Option<(EncoderId, u64)>,
    output: Vec<u8>,
}

impl Proof {
    /// Goes through the body and the trailer of a member; what it returns lacks
    /// the header.
    fn member<R: Read>(
        &mut self,
        header: &[u8],
        window: &mut Window<R>,
        inflater: &mut dyn Inflate,
        content: &mut dyn FnMut(&[u8]),
    ) -> Result<Member, NoReplay> {
        let at = window.place();
        let start = |id: EncoderId| Candidate { id, encoder: id.encoder(), ahead: Vec::new(), at };
        let fresh = || candidates(header).into_iter().map(start).collect();
        let mut running = self.alive.take().unwrap_or_else(fresh);
        for candidate in &mut running {
            candidate.at = at;
        }
        let (mut length, mut crc) = (0, Crc32::new());
        loop {
            if window.rest().len() < PIECE && !window.ended {
                window.read()?;
            }
            let step = inflater.inflate(window.rest(), &mut self.output);
            let step = step.map_err(|_| NoReplay::Damaged)?;
            if step.consumed == 0 && step.produced == 0 && !step.ended {
                return Err(if window.ended { NoReplay::Truncated } else { NoReplay::Damaged });
            }
            window.start += step.consumed;
            length += step.produced as u64;
            let piece = &self.output[..step.produced];
            crc.update(piece);
            content(piece);

            let end = step.ended.then(|| window.end());
            let far = window.start.saturating_sub(FARTHEST) as u64 + window.base;
            let nearest = &mut self.nearest;
            running.retain_mut(|candidate| {
                let different = check(candidate, piece, window, end, far).err();
                if let Some(at) = different
                    && nearest.is_none_or(|(_, other)| at > other)
                {
                    *nearest = Some((candidate.id, at));
                }
                different.is_none()
            });
            if length > PATIENCE && running.iter().any(|candidate| !candidate.id.is_rare()) {
                running.retain(|candidate| !candidate.id.is_rare());
            }
            let oldest = running.iter().map(|candidate| candidate.at).min();
            let Some(oldest) = oldest else {
                return Err(NoReplay::OtherEncoder { nearest: self.nearest });
            };
            window.drop_to(oldest);
            if let Some(End { flushed, .. }) = end {
                for candidate in &mut running {
                    candidate.encoder.reset();
                }
                self.alive = Some(running);
                let trailer = window.trailer()?;
                let trailer = (trailer != usual_trailer(&crc)).then_some(trailer);
                return Ok(Member { header: None, length, flushed, trailer });
            }
        }
    }
}

/// Lets an encoder go on; fails with the place of the first difference. `end` is
/// the end of the member's body, if it has come.
fn check<R>(
    candidate: &mut Candidate,
    piece: &[u8],
    window: &Window<R>,
    end: Option<End>,
    far: u64,
) -> Result<(), u64> {
    candidate.encoder.write(piece, &mut candidate.ahead);
    if let Some(End { place, flushed }) = end {
        if flushed {
            candidate.encoder.flush(&mut candidate.ahead);
        }
        candidate.encoder.finish(&mut candidate.ahead);
        let length = candidate.at + candidate.ahead.len() as u64;
        candidate.compare(window)?;
        return if length == place { Ok(()) } else { Err(length.min(place)) };
    }
    candidate.compare(window)?;
    if candidate.at < far { Err(candidate.at) } else { Ok(()) }
}
