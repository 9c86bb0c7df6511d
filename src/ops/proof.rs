//! Finds, on threads of their own, which encoders made gzip streams.
//!
//! Proofs run in the order in which they were asked for, as many at a time as
//! there may be threads. Whoever stores the content meanwhile asks first whether
//! a proof is likely to succeed: encoders that are wrong mostly differ within
//! the first block. Dropping the prover ends them all.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::body::Body;
use crate::codec::Inflater;
use crate::gzip::{self, Replay};

/// An encoder that was right for so many bytes of content will be right to the end.
const LIKELY: u64 = 8 << 20;
/// More proofs at a time than this would take too much memory.
const WORKERS_MAX: usize = 4;
/// How many threads encode for one proof, where processors are left for that.
const ENCODERS: usize = 2;

/// Runs proofs.
#[derive(Debug)]
pub(super) struct Prover {
    jobs: Option<Sender<Job>>,
    shared: Arc<Common>,
    workers: Vec<JoinHandle<()>>,
}

/// What all workers share.
#[derive(Debug)]
struct Common {
    queue: Mutex<Receiver<Job>>,
    /// Proofs that haven't ended.
    open: AtomicUsize,
    /// All proofs are to end.
    ended: AtomicBool,
    processors: usize,
}

#[derive(Debug)]
struct Job {
    body: Body,
    proof: Arc<Shared>,
}

/// A proof that waits, runs or has ended.
#[derive(Debug)]
pub(super) struct Proof(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    /// How many bytes of content some encoder was right for.
    Running(u64),
    Ended(Option<Replay>),
    #[default]
    Waiting,
}

impl Prover {
    /// On so many threads; on the caller's, if there are to be none.
    pub(super) fn new(threads: usize) -> Self {
        let (jobs, queue) = channel();
        let shared = Common {
            queue: Mutex::new(queue),
            open: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            processors: threads,
        };
        Self { jobs: Some(jobs), shared: Arc::new(shared), workers: Vec::new() }
    }

    /// Starts to find out what made this gzip stream.
    pub(super) fn start(&mut self, body: Body) -> Proof {
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        if self.workers.len() < self.shared.processors.min(WORKERS_MAX) {
            let shared = Arc::clone(&self.shared);
            self.workers.push(thread::spawn(move || work(&shared)));
        }
        let proof = Arc::<Shared>::default();
        let job = Job { body, proof: Arc::clone(&proof) };
        if self.shared.processors == 0 {
            carry_out(&job, &self.shared);
            return Proof(proof);
        }
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            proof.set(State::Ended(None));
        }
        Proof(proof)
    }
}

impl Drop for Prover {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // One that died has proven nothing.
            drop(worker.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while !until(&state) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

impl Proof {
    /// Waits until it has ended, or has come so far that it will succeed.
    pub(super) fn is_likely(&self) -> bool {
        let state = self.0.wait(|state| match state {
            State::Waiting => false,
            State::Running(content) => *content >= LIKELY,
            State::Ended(_) => true,
        });
        !matches!(&*state, State::Ended(None))
    }

    /// Waits until it has ended: what is needed to make the stream again, if that
    /// can be done.
    pub(super) fn finish(&self) -> Option<Replay> {
        let mut state = self.0.wait(|state| matches!(state, State::Ended(_)));
        match std::mem::take(&mut *state) {
            State::Ended(replay) => replay,
            _ => None,
        }
    }
}

/// Ends a proof, also where its thread panics.
struct Ending<'a>(&'a Shared, Option<Replay>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.set(State::Ended(self.1.take()));
    }
}

fn work(shared: &Common) {
    loop {
        let next = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        carry_out(&job, shared);
    }
}

fn carry_out(job: &Job, shared: &Common) {
    let mut ending = Ending(&job.proof, None);
    ending.1 = prove(job, shared);
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

fn prove(job: &Job, shared: &Common) -> Option<Replay> {
    let input = Stoppable { inner: job.body.open().ok()?, ended: &shared.ended };
    let mut content = 0;
    let mut sink = |piece: &[u8]| {
        content += piece.len() as u64;
        job.proof.set(State::Running(content));
    };
    // Many proofs keep all processors busy; the last ones share theirs.
    let many = shared.open.load(Ordering::Relaxed) >= shared.processors;
    let threads = if many { 0 } else { ENCODERS };
    gzip::prove_on(threads, input, &mut Inflater::new(), &mut sink).ok()
}

/// Fails once all proofs are to end.
struct Stoppable<'a, R> {
    inner: R,
    ended: &'a AtomicBool,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended.load(Ordering::Relaxed) {
            return Err(io::Error::other("not needed any more"));
        }
        self.inner.read(buffer)
    }
}
