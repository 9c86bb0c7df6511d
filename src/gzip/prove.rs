//! Which encoder made a stream: some that can have made it run beside the
//! decoder, and each is dropped at the first byte that it would have written
//! otherwise. Whatever is left at the end has reproduced every byte.
//!
//! The likeliest encoders go first. The first MiB of the content is kept, or up
//! to eight that compress well, and less likely ones are tried on them when nothing else is left; wrong
//! ones rarely live longer than the first block. What stays alive longer than
//! the trial and proves wrong then is not replaced.
//!
//! One pass, no going back in the input. Holds the compressed bytes that some
//! encoder has not come to yet, the trial, and about 1 MiB for each encoder.

use std::io::{self, Read};

use super::member::{TRAILER, header_length, tiers};
use super::replay::{MOST_BYTES, Member, Replay, usual_trailer};
use super::{Encoder, EncoderId};
use crate::codec::{BadStream, Crc32, Inflated, Inflater};

/// How much is read, and how much inflated, at a time.
const PIECE: usize = 64 << 10;

/// An encoder that is further behind has not made the stream.
const FARTHEST: usize = 12 << 20;

/// What the name of an encoder and the like may take of a replay.
const NAME_ROOM: usize = 128;

/// How bodies end that were flushed before: the rest of an empty stored block,
/// and an empty last block, stored or fixed.
const FLUSHED_ENDS: [&[u8]; 2] =
    [&[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff], &[0, 0, 0xff, 0xff, 3, 0]];

/// After this much content, an encoder that is rare is given up for another one
/// that is right as well: two of them take twice the time.
const PATIENCE: u64 = 4 << 20;

/// How much content is kept for encoders that are tried later, ...
const TRIAL: usize = 1 << 20;
/// ... and how much while it is of fewer compressed bytes than tell them apart.
const LONGEST_TRIAL: usize = 8 << 20;
const TELLING: usize = 64 << 10;

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
    prove_on(0, input, inflater, content)
}

/// The same, encoding on up to so many threads beside this one. It takes in more
/// of a stream that no encoder makes then, by some MiB, before it fails.
pub fn prove_on(
    threads: usize,
    input: impl Read,
    inflater: &mut dyn Inflate,
    content: &mut dyn FnMut(&[u8]),
) -> Result<Replay, NoReplay> {
    let mut window = Window { input, bytes: Vec::new(), start: 0, base: 0, ended: false };
    let mut proof = Proof::new(threads);
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
    let found = proof.running.first().ok_or(NoReplay::OtherEncoder { nearest: None })?;
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

/// One step of decoding: where its member begins if it is the first one of that,
/// how much content it gave, and the end of the member if that has come.
#[derive(Clone, Copy)]
struct Step {
    begin: Option<u64>,
    length: usize,
    end: Option<End>,
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
    fn new(id: EncoderId, encoder: Box<dyn Encoder>) -> Self {
        Self { id, encoder, ahead: Vec::new(), at: 0 }
    }

    /// Lets the encoder take in what all have taken in so far; fails with the place
    /// of the first difference.
    fn catch_up<R>(&mut self, trial: &Trial, window: &Window<R>) -> Result<(), u64> {
        let mut rest = &trial.content[..];
        for step in &trial.steps {
            let (piece, after) = rest.split_at(step.length);
            rest = after;
            self.follow(*step, piece, window)?;
        }
        Ok(())
    }

    /// Lets the encoder go on; fails with the place of the first difference.
    fn follow<R>(&mut self, step: Step, piece: &[u8], window: &Window<R>) -> Result<(), u64> {
        if let Some(begin) = step.begin {
            self.at = begin;
        }
        self.encoder.write(piece, &mut self.ahead);
        let Some(End { place, flushed }) = step.end else { return self.compare(window) };
        if flushed {
            self.encoder.flush(&mut self.ahead);
        }
        self.encoder.finish(&mut self.ahead);
        let length = self.at + self.ahead.len() as u64;
        self.compare(window)?;
        if length != place {
            return Err(length.min(place));
        }
        self.encoder.reset();
        Ok(())
    }

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

/// The beginning of a stream, for encoders that were not tried yet.
#[derive(Default)]
struct Trial {
    content: Vec<u8>,
    steps: Vec<Step>,
    /// Groups of encoders, the likeliest last.
    untried: Vec<Vec<EncoderId>>,
}

/// The search over all members.
struct Proof {
    /// What is right so far.
    running: Vec<Candidate>,
    /// What was right for longest of those that were not.
    nearest: Option<(EncoderId, u64)>,
    /// Until it is over.
    trial: Option<Trial>,
    /// How many threads there may be from then on.
    threads: usize,
    output: Vec<u8>,
}

impl Proof {
    fn new(threads: usize) -> Self {
        let (running, trial) = (Vec::new(), Some(Trial::default()));
        Self { running, nearest: None, trial, threads, output: vec![0; PIECE] }
    }

    /// Goes through the body and the trailer of a member; what it returns lacks
    /// the header.
    fn member<R: Read>(
        &mut self,
        header: &[u8],
        window: &mut Window<R>,
        inflater: &mut dyn Inflate,
        content: &mut dyn FnMut(&[u8]),
    ) -> Result<Member, NoReplay> {
        let mut begin = Some(window.place());
        if let Some(trial) = &mut self.trial
            && trial.steps.is_empty()
        {
            trial.untried = tiers(header);
            trial.untried.reverse();
        }
        let mut output = std::mem::take(&mut self.output);
        let (mut length, mut crc) = (0, Crc32::new());
        loop {
            if window.rest().len() < PIECE && !window.ended {
                window.read()?;
            }
            let did = inflater.inflate(window.rest(), &mut output);
            let did = did.map_err(|_| NoReplay::Damaged)?;
            if did.consumed == 0 && did.produced == 0 && !did.ended {
                return Err(if window.ended { NoReplay::Truncated } else { NoReplay::Damaged });
            }
            window.start += did.consumed;
            length += did.produced as u64;
            let piece = &output[..did.produced];
            crc.update(piece);
            content(piece);

            let end = did.ended.then(|| window.end());
            let step = Step { begin: begin.take(), length: piece.len(), end };
            self.follow(step, piece, window)?;
            if length > PATIENCE && self.running.iter().any(|candidate| !candidate.id.is_rare()) {
                self.running.retain(|candidate| !candidate.id.is_rare());
            }
            if self.trial.is_none() {
                let oldest = self.running.iter().map(|candidate| candidate.at).min();
                window.drop_to(oldest.unwrap_or_default());
            }
            if let Some(End { flushed, .. }) = end {
                self.output = output;
                let trailer = window.trailer()?;
                let trailer = (trailer != usual_trailer(&crc)).then_some(trailer);
                return Ok(Member { header: None, length, flushed, trailer });
            }
        }
    }

    /// Lets all encoders go on, and tries others if none of them is left.
    fn follow<R>(&mut self, step: Step, piece: &[u8], window: &Window<R>) -> Result<(), NoReplay> {
        let far = (window.start.saturating_sub(FARTHEST)) as u64 + window.base;
        let nearest = &mut self.nearest;
        self.running.retain_mut(|candidate| {
            let result = candidate.follow(step, piece, window);
            let late = candidate.at < far && step.end.is_none();
            let different = result.err().or(late.then_some(candidate.at));
            note(nearest, candidate.id, different)
        });
        if let Some(mut trial) = self.trial.take() {
            trial.content.extend_from_slice(piece);
            trial.steps.push(step);
            while self.running.is_empty()
                && let Some(next) = trial.untried.pop()
            {
                for id in next {
                    let mut candidate = Candidate::new(id, id.encoder());
                    let result = candidate.catch_up(&trial, window);
                    if note(nearest, id, result.err()) {
                        self.running.push(candidate);
                    }
                }
            }
            let enough = if window.start > TELLING { TRIAL } else { LONGEST_TRIAL };
            if trial.content.len() <= enough && window.start <= FARTHEST {
                self.trial = Some(trial);
            } else if self.threads > 0 {
                self.move_to_threads(&trial, window);
            }
        }
        if self.running.is_empty() {
            return Err(NoReplay::OtherEncoder { nearest: self.nearest });
        }
        Ok(())
    }

    /// Starts what is right so far again, on threads of its own.
    fn move_to_threads<R>(&mut self, trial: &Trial, window: &Window<R>) {
        let (threads, nearest) = (self.threads, &mut self.nearest);
        self.running.retain_mut(|candidate| {
            let id = candidate.id;
            *candidate = Candidate::new(id, id.encoder_on(threads));
            note(nearest, id, candidate.catch_up(trial, window).err())
        });
    }
}

/// Whether an encoder made no difference; otherwise it may become the nearest.
fn note(nearest: &mut Option<(EncoderId, u64)>, id: EncoderId, different: Option<u64>) -> bool {
    if let Some(at) = different
        && nearest.is_none_or(|(_, other)| at > other)
    {
        *nearest = Some((id, at));
    }
    different.is_none()
}
