//! From chunks to packs in place: frames are compressed on worker threads and
//! written, in the order given, by one thread that does all file access.
//!
//! Queues are bounded, so memory is: per worker one frame and its compressor,
//! and as many frames again in the queues. Whatever fails, fails the whole
//! pipeline; the packs that are in place by then stay (they are whole). Without
//! workers all is done by the caller's thread, in the same order.
//! Deliberately doesn't know what a store is: the caller says where packs go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::format::{FrameKind, PackFeatures, PackKind};
use super::frame::{self, EncodedFrame, FindBase, FrameError, RawFrame};
use super::writer::{FinishedPack, PackWriter};
use crate::codec::{Compressor, Levels};
use crate::digest::Id;
use crate::fs::{self, Fs};

/// Data packs are closed at this many bytes.
const DATA_PACK: u64 = 32 << 20;
/// Metadata packs are closed at this many bytes.
const METADATA_PACK: u64 = 4 << 20;
/// Packs are closed at this many chunks, so that directories stay small.
const PACK_CHUNKS: usize = 1 << 18;
/// More workers than this would need more memory than they are worth.
const WORKERS_MAX: usize = 4;

/// Whether a pack of this kind is to be closed.
pub fn pack_is_full(kind: PackKind, writer: &PackWriter) -> bool {
    let limit = match kind {
        PackKind::Data => DATA_PACK,
        PackKind::Metadata => METADATA_PACK,
    };
    writer.length() >= limit || writer.chunks() >= PACK_CHUNKS
}

/// Why no more packs can be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The file system failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A frame could not be made.
    #[error("cannot compress")]
    Frame(#[from] FrameError),
    /// A thread ended without saying why.
    #[error("a worker thread ended unexpectedly")]
    Died,
}

/// Where packs are written, and where they go.
pub struct Places {
    /// The folder for packs that aren't whole yet.
    pub folder: PathBuf,
    /// What packs say of themselves.
    pub features: PackFeatures,
    /// The path of a pack in its place.
    pub target: Box<dyn Fn(Id) -> PathBuf + Send>,
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Places({})", self.folder.display())
    }
}

enum Step {
    Frame(Result<EncodedFrame, FrameError>),
    Close(PackKind),
}

enum Event {
    Placed(PackKind, Box<FinishedPack>),
    Closed,
}

struct Job {
    number: u64,
    kind: FrameKind,
    frame: RawFrame,
}

/// A running pipeline.
#[derive(Debug)]
pub struct Pipeline {
    /// `None` once it is ending.
    input: Option<Input>,
    events: Receiver<Event>,
    placed: Vec<(PackKind, FinishedPack)>,
    next: u64,
    workers: Vec<JoinHandle<()>>,
    packer: Option<JoinHandle<Result<(), PipelineError>>>,
}

enum Input {
    Queues { jobs: Sender<Job>, steps: Sender<(u64, Step)> },
    Here(Box<Here>),
}

/// Does all at once, where there are no threads.
struct Here {
    worker: Worker,
    packer: Packer,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input")
    }
}

impl Pipeline {
    /// Starts up to so many threads that compress, and one that writes; none, if
    /// none are to compress.
    pub fn start(
        fs: Arc<dyn Fs>,
        places: Places,
        levels: Levels,
        find_base: &Arc<FindBase>,
        threads: usize,
    ) -> Self {
        let (event_sender, events) = unbounded();
        let packer = Packer { fs, places, open: BTreeMap::new(), files: 0, events: event_sender };
        let worker = || Worker { levels, find_base: Arc::clone(find_base), compressor: None };
        let (placed, next) = (Vec::new(), 0);
        if threads == 0 {
            let input = Some(Input::Here(Box::new(Here { worker: worker(), packer })));
            return Self { input, events, placed, next, workers: Vec::new(), packer: None };
        }
        let count = threads.min(WORKERS_MAX);
        let (jobs, job_queue) = bounded::<Job>(count);
        let (steps, step_queue) = bounded(count);
        let workers = (0..count)
            .map(|_| {
                let (worker, jobs, steps) = (worker(), job_queue.clone(), steps.clone());
                thread::spawn(move || worker.run(&jobs, &steps))
            })
            .collect();
        let packer = Some(thread::spawn(move || packer.run(&step_queue)));
        Self { input: Some(Input::Queues { jobs, steps }), events, placed, next, workers, packer }
    }

    /// Adds a frame. Waits while the queue is full.
    pub fn push(&mut self, kind: FrameKind, frame: RawFrame) -> Result<(), PipelineError> {
        let number = self.next;
        self.next += 1;
        match &mut self.input {
            None => Err(self.failure()),
            Some(Input::Queues { jobs, .. }) => match jobs.send(Job { number, kind, frame }) {
                Ok(()) => Ok(()),
                Err(_) => Err(self.failure()),
            },
            Some(Input::Here(here)) => {
                let done = here.push(kind, frame);
                done.inspect_err(|_| self.input = None)
            }
        }
    }

    /// The packs that were put in place since this was last asked.
    pub fn placed(&mut self) -> Vec<(PackKind, FinishedPack)> {
        for event in self.events.try_iter() {
            if let Event::Placed(kind, pack) = event {
                self.placed.push((kind, *pack));
            }
        }
        std::mem::take(&mut self.placed)
    }

    /// Closes the open pack of this kind, if any, and waits for it.
    pub fn close(&mut self, kind: PackKind) -> Result<(), PipelineError> {
        let step = (self.next, Step::Close(kind));
        self.next += 1;
        match &mut self.input {
            None => return Err(self.failure()),
            Some(Input::Queues { steps, .. }) => {
                if steps.send(step).is_err() {
                    return Err(self.failure());
                }
            }
            Some(Input::Here(here)) => {
                let done = here.packer.close(kind);
                return done.inspect_err(|_| self.input = None);
            }
        }
        loop {
            match self.events.recv() {
                Ok(Event::Placed(kind, pack)) => self.placed.push((kind, *pack)),
                Ok(Event::Closed) => return Ok(()),
                Err(_) => return Err(self.failure()),
            }
        }
    }

    /// Ends the threads and says what stopped them.
    fn failure(&mut self) -> PipelineError {
        match self.join() {
            Err(error) => error,
            Ok(()) => PipelineError::Died,
        }
    }

    fn join(&mut self) -> Result<(), PipelineError> {
        self.input = None;
        let died = self.workers.drain(..).filter_map(|worker| worker.join().err()).count() > 0;
        match self.packer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(PipelineError::Died),
            None if died => Err(PipelineError::Died),
            None => Ok(()),
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // An error was told to whoever pushed; here only the threads must end.
        drop(self.join());
    }
}

/// Compresses frames.
struct Worker {
    levels: Levels,
    find_base: Arc<FindBase>,
    compressor: Option<Compressor>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, steps: &Sender<(u64, Step)>) {
        for job in jobs {
            let encoded = self.encode(job.kind, job.frame);
            if steps.send((job.number, Step::Frame(encoded))).is_err() {
                return;
            }
        }
    }

    fn encode(&mut self, kind: FrameKind, frame: RawFrame) -> Result<EncodedFrame, FrameError> {
        let ready = self.compressor.take().map_or_else(|| Compressor::new(self.levels), Ok)?;
        frame::encode(kind, frame, self.compressor.insert(ready), &*self.find_base)
    }
}

impl Here {
    fn push(&mut self, kind: FrameKind, frame: RawFrame) -> Result<(), PipelineError> {
        let frame = self.worker.encode(kind, frame)?;
        self.packer.append(frame)
    }
}

/// Writes packs; mostly a thread of its own.
struct Packer {
    fs: Arc<dyn Fs>,
    places: Places,
    open: BTreeMap<u8, (PackKind, PackWriter, PathBuf)>,
    files: u64,
    events: Sender<Event>,
}

impl Packer {
    fn run(mut self, steps: &Receiver<(u64, Step)>) -> Result<(), PipelineError> {
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (number, step) in steps {
            waiting.insert(number, step);
            while let Some(step) = waiting.remove(&next) {
                next += 1;
                match step {
                    Step::Frame(frame) => self.append(frame?)?,
                    Step::Close(kind) => {
                        self.close(kind)?;
                        drop(self.events.send(Event::Closed));
                    }
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, frame: EncodedFrame) -> Result<(), PipelineError> {
        let kind = frame.entry.kind.pack();
        let (_, writer, _) = match self.open.entry(kind.code()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let path = self.places.folder.join(format!("{}.pack", self.files));
                self.files += 1;
                let (file, features) = (self.fs.create(&path)?, self.places.features);
                let writer = PackWriter::create_with(file, kind, features)?;
                entry.insert((kind, writer, path))
            }
        };
        writer.append(frame)?;
        if pack_is_full(kind, writer) {
            self.close(kind)?;
        }
        Ok(())
    }

    fn close(&mut self, kind: PackKind) -> Result<(), PipelineError> {
        if let Some((kind, writer, path)) = self.open.remove(&kind.code()) {
            let pack = writer.finish()?;
            fs::publish(&*self.fs, &path, &(self.places.target)(pack.id))?;
            drop(self.events.send(Event::Placed(kind, Box::new(pack))));
        }
        Ok(())
    }
}
