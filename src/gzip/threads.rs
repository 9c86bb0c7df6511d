//! Encoders on threads of their own, which give what the same ones give here.
//!
//! Where an encoder's blocks can be encoded each for itself, several threads do;
//! any other runs beside the caller on one. What is handed out lags behind what
//! was taken in, by two blocks for each thread or by [`PIECES`] writes, and is
//! complete at the end of a stream. Memory is about 4 MiB a thread.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use super::id::Blocks;
use super::{Encoder, EncoderId};

/// The most threads.
const MOST: usize = 4;
/// How many writes may wait for an encoder without blocks.
const PIECES: usize = 16;

/// What a thread is asked to do; each is answered by what it wrote.
enum Job {
    Write(Vec<u8>),
    Flush,
    Finish,
    Reset,
    Block { before: Vec<u8>, block: Vec<u8>, last: bool },
}

/// A thread that encodes.
struct Worker {
    jobs: Option<Sender<Job>>,
    answers: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts one, if there can be another thread.
    fn start(id: EncoderId) -> Option<Self> {
        let (jobs, work) = channel();
        let (answer, answers) = channel();
        let run = move || {
            let mut encoder = None;
            for job in work {
                if answer.send(do_job(id, &mut encoder, job)).is_err() {
                    break;
                }
            }
        };
        let thread = Builder::new().name(id.name().to_owned()).spawn(run).ok()?;
        Some(Self { jobs: Some(jobs), answers, thread: Some(thread) })
    }

    /// Goes on with the panic of a thread that has ended too early.
    fn fail(&mut self) {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, comes too late to matter.
            thread.join().ok();
        }
    }
}

fn do_job(id: EncoderId, encoder: &mut Option<Box<dyn Encoder>>, job: Job) -> Vec<u8> {
    let mut out = Vec::new();
    match job {
        Job::Block { before, block, last } => {
            id.encode_block(&before, &block, last, &mut out);
        }
        Job::Write(piece) => open(encoder, id).write(&piece, &mut out),
        Job::Flush => open(encoder, id).flush(&mut out),
        Job::Finish => open(encoder, id).finish(&mut out),
        Job::Reset => open(encoder, id).reset(),
    }
    out
}

fn open(encoder: &mut Option<Box<dyn Encoder>>, id: EncoderId) -> &mut Box<dyn Encoder> {
    encoder.get_or_insert_with(|| id.encoder())
}

/// An encoder that runs on other threads.
pub(super) struct Threaded {
    /// Jobs go to them in turns, so answers are taken in turns as well.
    workers: Vec<Worker>,
    /// Jobs that were not answered yet, and how many there may be.
    open: usize,
    most: usize,
    /// Which of the workers gets the next job.
    next: usize,
    /// How blocks are cut, if they can be.
    blocks: Option<Blocks>,
    /// The block that is being filled, and the end of the one before.
    block: Vec<u8>,
    before: Vec<u8>,
}

impl Threaded {
    /// The encoder `id` on up to `threads` threads, if there can be any.
    pub(super) fn new(id: EncoderId, threads: usize) -> Option<Self> {
        let blocks = id.blocks();
        let threads = if blocks.is_some() { threads.clamp(1, MOST) } else { 1 };
        let workers: Vec<_> = (0..threads).map_while(|_| Worker::start(id)).collect();
        if workers.is_empty() {
            return None;
        }
        let most = if blocks.is_some() { 2 * workers.len() } else { PIECES };
        let (block, before) = (Vec::new(), Vec::new());
        Some(Self { workers, open: 0, most, next: 0, blocks, block, before })
    }

    /// Gives out a job, and takes in the answers that are there.
    fn submit(&mut self, job: Job, out: &mut Vec<u8>) {
        while self.open >= self.most {
            self.wait(out);
        }
        let worker = &mut self.workers[self.next];
        if worker.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            worker.fail();
        }
        self.next = (self.next + 1) % self.workers.len();
        self.open += 1;
        while self.open > 0
            && let Ok(answer) = self.oldest().answers.try_recv()
        {
            out.extend_from_slice(&answer);
            self.open -= 1;
        }
    }

    /// The worker whose answer is the next.
    fn oldest(&mut self) -> &mut Worker {
        let count = self.workers.len();
        let at = (self.next + count - self.open % count) % count;
        &mut self.workers[at]
    }

    /// Waits for the answer to the oldest job.
    fn wait(&mut self, out: &mut Vec<u8>) {
        let worker = self.oldest();
        match worker.answers.recv() {
            Ok(answer) => out.extend_from_slice(&answer),
            Err(_) => worker.fail(),
        }
        self.open -= 1;
    }

    fn wait_for_all(&mut self, out: &mut Vec<u8>) {
        while self.open > 0 {
            self.wait(out);
        }
    }

    fn submit_block(&mut self, blocks: Blocks, last: bool, out: &mut Vec<u8>) {
        let block = std::mem::take(&mut self.block);
        let after = block[block.len().saturating_sub(blocks.before)..].to_vec();
        let before = std::mem::replace(&mut self.before, after);
        self.submit(Job::Block { before, block, last }, out);
    }
}

impl Encoder for Threaded {
    fn write(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        let Some(blocks) = self.blocks else {
            return self.submit(Job::Write(input.to_vec()), out);
        };
        while !input.is_empty() {
            if self.block.len() == blocks.length {
                self.submit_block(blocks, false, out);
            }
            let (now, rest) = input.split_at(input.len().min(blocks.length - self.block.len()));
            self.block.extend_from_slice(now);
            input = rest;
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if self.blocks.is_none() {
            self.submit(Job::Flush, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self.blocks {
            None => self.submit(Job::Finish, out),
            Some(blocks) => {
                if blocks.ends_short && self.block.len() == blocks.length {
                    self.submit_block(blocks, false, out);
                }
                self.submit_block(blocks, true, out);
            }
        }
        self.wait_for_all(out);
    }

    fn reset(&mut self) {
        self.wait_for_all(&mut Vec::new());
        self.block.clear();
        self.before.clear();
        if self.blocks.is_none() {
            self.submit(Job::Reset, &mut Vec::new());
        }
    }
}

impl fmt::Debug for Threaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Threaded({})", self.workers.len())
    }
}
