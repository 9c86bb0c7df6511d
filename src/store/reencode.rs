//! Blobs that are compressed again on worker threads, before their turn comes.
//!
//! They are begun in their order, as many at a time as there are workers. What a
//! worker has ready waits for whoever takes blobs in turn, up to a bound for all
//! together. A part of that is kept for the blob whose turn it is, so that this
//! one always goes on; a blob that no worker has begun is left to whoever wants
//! it. So nobody waits for ever, whatever is taken, and in whatever order.
//! Pieces are of one length and used again, so that memory stays in one piece.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::content::put;
use super::decoder::Decoder;
use super::prepared::{Prepared, Reader};
use super::{Result, StoreError};
use crate::digest::Digest;
use crate::pack::pipeline::PipelineError;

/// The length of a piece in bytes.
const PIECE: usize = 256 << 10;
/// The most pieces that wait to be taken: 32 MiB.
const READY: usize = 128;
/// How many of these are for the blob whose turn it is.
const READY_IN_TURN: usize = 16;

/// The blobs that are being read in their order.
#[derive(Debug)]
pub(super) struct Reencoding {
    jobs: Vec<Job>,
    /// A job for each stretch of the plan that has one.
    by_stretch: HashMap<usize, usize>,
    state: Mutex<State>,
    /// Something was put, taken, ended or stopped.
    changed: Condvar,
}

/// A blob to be compressed.
#[derive(Debug)]
struct Job {
    stretch: usize,
    prepared: Prepared,
}

#[derive(Debug)]
struct State {
    /// For each blob its stretches of the plan that nobody asked for yet.
    turns: HashMap<Digest, VecDeque<usize>>,
    /// By job.
    outputs: Vec<Output>,
    /// The job that is begun next.
    next: usize,
    /// The job whose turn it is.
    turn: Option<usize>,
    /// Pieces in all outputs.
    ready: usize,
    /// Pieces that were taken.
    spare: Vec<Vec<u8>>,
    stopped: bool,
}

/// What a worker has ready.
#[derive(Debug, Default)]
struct Output {
    /// Whether a worker has begun it, or nobody is to.
    begun: bool,
    pieces: VecDeque<Vec<u8>>,
    ended: Option<Result<()>>,
    /// Nobody takes it.
    dropped: bool,
}

impl Reencoding {
    /// For blobs in their order; some have to be compressed.
    pub(super) fn new(blobs: &[Digest], prepared: Vec<(usize, Prepared)>) -> Self {
        let mut turns: HashMap<Digest, VecDeque<usize>> = HashMap::new();
        for (stretch, digest) in blobs.iter().enumerate() {
            turns.entry(*digest).or_default().push_back(stretch);
        }
        let jobs = prepared.into_iter().map(|(stretch, prepared)| Job { stretch, prepared });
        let jobs: Vec<_> = jobs.collect();
        let by_stretch = jobs.iter().zip(0..).map(|(job, at)| (job.stretch, at)).collect();
        let outputs = jobs.iter().map(|_| Output::default()).collect();
        let (ready, spare) = (0, Vec::new());
        let state = State { turns, outputs, next: 0, turn: None, ready, spare, stopped: false };
        Self { jobs, by_stretch, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// How many blobs have to be compressed.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, state: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The stretch of the plan that a blob, which is asked for now, is.
    pub(super) fn turn_of(&self, digest: Digest) -> Option<usize> {
        self.lock().turns.get_mut(&digest)?.pop_front()
    }

    /// Writes a blob that a worker compresses, and returns its size. `None` where
    /// no worker does, and nobody is going to.
    pub(super) fn deliver(&self, stretch: usize, out: &mut dyn Write) -> Option<Result<u64>> {
        let at = *self.by_stretch.get(&stretch)?;
        {
            let mut state = self.lock();
            if !std::mem::replace(&mut state.outputs[at].begun, true) {
                return None;
            }
            state.turn = Some(at);
            self.changed.notify_all();
        }
        let size = self.jobs[at].prepared.size;
        Some(self.take_all(at, out).map(|()| size))
    }

    fn take_all(&self, at: usize, out: &mut dyn Write) -> Result<()> {
        while let Some(piece) = self.take(at)? {
            put(&piece, out).inspect_err(|_| self.drop_output(at))?;
            self.lock().spare.push(piece);
        }
        Ok(())
    }

    /// The next piece of a job, once it is there.
    fn take(&self, at: usize) -> Result<Option<Vec<u8>>> {
        let mut state = self.lock();
        loop {
            let output = &mut state.outputs[at];
            if let Some(piece) = output.pieces.pop_front() {
                state.ready -= 1;
                self.changed.notify_all();
                return Ok(Some(piece));
            }
            if let Some(ended) = output.ended.take() {
                return ended.map(|()| None);
            }
            state = self.wait(state);
        }
    }

    fn drop_output(&self, at: usize) {
        let mut state = self.lock();
        let output = &mut state.outputs[at];
        output.dropped = true;
        let pieces = std::mem::take(&mut output.pieces);
        state.ready -= pieces.len();
        self.changed.notify_all();
    }

    /// Ends the workers.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Compresses blobs until there are no more, or it is stopped.
    pub(super) fn work(&self, decoder: &Decoder, reader: &Reader) {
        while let Some(at) = self.begin() {
            let Job { stretch, prepared } = &self.jobs[at];
            let mut ending = Ending { queue: self, at, result: Err(PipelineError::Died.into()) };
            decoder.open(*stretch);
            let mut out = Pieces { queue: self, at, piece: Vec::new() };
            let copied = prepared.copy(&reader.of_stretch(*stretch), &mut out);
            ending.result = copied.and_then(|()| out.flush().map_err(StoreError::Output));
            decoder.close(*stretch);
        }
    }

    /// The next job that nobody has begun.
    fn begin(&self) -> Option<usize> {
        let mut state = self.lock();
        if state.stopped {
            return None;
        }
        let next = state.next;
        let left = state.outputs[next..].iter().position(|output| !output.begun);
        let at = left.map(|skip| next + skip);
        state.next = at.map_or(state.outputs.len(), |at| at + 1);
        if let Some(at) = at {
            state.outputs[at].begun = true;
        }
        at
    }

    /// Waits for room, and puts a piece there.
    fn put(&self, at: usize, piece: Vec<u8>) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            let output = &state.outputs[at];
            if state.stopped || output.dropped {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let in_turn = state.turn == Some(at) && output.pieces.len() < READY_IN_TURN;
            if in_turn || state.ready < READY - READY_IN_TURN {
                break;
            }
            state = self.wait(state);
        }
        state.ready += 1;
        state.outputs[at].pieces.push_back(piece);
        self.changed.notify_all();
        Ok(())
    }
}

/// Says how a job ended, however the worker does.
struct Ending<'q> {
    queue: &'q Reencoding,
    at: usize,
    result: Result<()>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Ok(()));
        self.queue.lock().outputs[self.at].ended = Some(result);
        self.queue.changed.notify_all();
    }
}

/// Where a worker writes.
struct Pieces<'q> {
    queue: &'q Reencoding,
    at: usize,
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece = self.queue.lock().spare.pop().unwrap_or_default();
            self.piece.clear();
            self.piece.reserve_exact(PIECE);
        }
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() { Ok(()) } else { self.queue.put(self.at, piece) }
    }
}
