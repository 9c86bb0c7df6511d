//! Open packs and decoded frames, within a bounded memory, for any number of
//! threads.
//!
//! Without a plan the frame that was used longest ago goes first. With one (see
//! `plan`) the frame that is needed last goes first, and workers decode what
//! comes next. A frame that is being decoded is waited for, not decoded twice.
//! Whatever a damaged store says, bases are of smaller depth than what stands on
//! them, so that nobody waits for himself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::cache::Cache;
use super::homes::Home;
use super::layout::Layout;
use super::packs::ChunkBytes;
use super::plan::{Next, Plan};
use super::{Result, StoreError};
use crate::catalog::Place;
use crate::digest::Id;
use crate::fs::Fs;
use crate::pack::format::{BaseRun, DEPTH_MAX, FrameHeader, PREFIX_MAX};
use crate::pack::frame::StoredFrame;
use crate::pack::reader::{PackError, PackReader};
use crate::varint::{Malformed, in_memory};

/// For the tables of open packs, in bytes.
const PACKS_BYTES: usize = 32 << 20;
/// A pack weighs at least this much, so that few files are open.
const PACK_WEIGHT_MIN: usize = 128 << 10;
/// For decoded frames, in bytes.
const FRAMES_BYTES: usize = 104 << 20;
/// What a frame that is being decoded may come to.
const FRAME_BYTES: usize = 4 << 20;

/// A frame by its pack and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FrameKey {
    pub(super) pack: Id,
    pub(super) number: usize,
}

/// A decoded frame.
#[derive(Debug)]
pub(super) struct Frame {
    raw: Vec<u8>,
    /// Where each of its chunks begins, and the end.
    starts: Vec<u32>,
}

impl Frame {
    /// The bytes of its chunks from one to before another.
    pub(super) fn chunks(&self, first: usize, end: usize) -> Option<&[u8]> {
        let (start, end) = (self.starts.get(first)?, self.starts.get(end)?);
        self.raw.get(in_memory(*start)..in_memory(*end))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Decoder {
    fs: Arc<dyn Fs>,
    layout: Layout,
    state: Mutex<State>,
    /// A frame was decoded, or the user of the plan went on.
    changed: Condvar,
    decoded: AtomicU64,
    /// Where the chunks are that frames being written stand on, by directory.
    directories: Mutex<HashMap<Id, Home>>,
}

#[derive(Debug)]
struct State {
    packs: Cache<Id, Arc<PackReader>>,
    frames: HashMap<FrameKey, Slot>,
    bytes: usize,
    /// Frames that are being decoded.
    busy: usize,
    clock: u64,
    plan: Option<Plan>,
}

#[derive(Debug)]
enum Slot {
    Decoding,
    Ready { frame: Arc<Frame>, weight: usize, used: u64 },
}

/// Finds the chunks of a directory.
pub(super) type Resolve<'a> = &'a dyn Fn(Id) -> Result<Home>;

impl Decoder {
    pub(super) fn new(fs: Arc<dyn Fs>, layout: Layout) -> Self {
        let state = State {
            packs: Cache::new(PACKS_BYTES),
            frames: HashMap::new(),
            bytes: 0,
            busy: 0,
            clock: 0,
            plan: None,
        };
        Self {
            fs,
            layout,
            state: Mutex::new(state),
            changed: Condvar::new(),
            decoded: AtomicU64::new(0),
            directories: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of frames that were decoded so far.
    pub(super) fn decoded_bytes(&self) -> u64 {
        self.decoded.load(Ordering::Relaxed)
    }

    /// A pack, open.
    pub(super) fn pack(&self, id: Id) -> Result<Arc<PackReader>> {
        if let Some(pack) = self.lock().packs.get(id) {
            return Ok(pack);
        }
        let pack = Arc::new(PackReader::open(&*self.fs, &self.layout.pack(id))?);
        let weight = (pack.directory().ids.len() * 40).max(PACK_WEIGHT_MIN);
        self.lock().packs.insert(id, Arc::clone(&pack), weight);
        Ok(pack)
    }

    /// Closes packs: a file that is open takes its space though it was removed.
    pub(super) fn close_packs(&self, packs: &[Id]) {
        let mut state = self.lock();
        for id in packs {
            state.packs.remove(*id);
        }
    }

    /// The chunk at a place, for the reader of a stretch of the plan, if it is for
    /// one.
    pub(super) fn chunk(
        &self,
        place: Place,
        resolve: Resolve<'_>,
        stretch: Option<usize>,
    ) -> Result<ChunkBytes> {
        let pack = self.pack(place.pack)?;
        let number = pack.frame_of(place.position);
        let missing = StoreError::Inconsistent("a chunk that its pack doesn't hold");
        let number = number.ok_or(missing)?;
        let key = FrameKey { pack: place.pack, number };
        if let Some(stretch) = stretch {
            let plan = &mut self.lock().plan;
            if plan.as_mut().is_some_and(|plan| plan.step(stretch, key)) {
                self.changed.notify_all();
            }
        }
        let index = in_memory(place.position - pack.frames()[number].first);
        Ok(ChunkBytes::new(self.frame(key, resolve)?, index))
    }

    fn frame(&self, key: FrameKey, resolve: Resolve<'_>) -> Result<Arc<Frame>> {
        let mut state = self.lock();
        loop {
            state.clock += 1;
            let now = state.clock;
            match state.frames.get_mut(&key) {
                None => break,
                Some(Slot::Ready { frame, used, .. }) => {
                    *used = now;
                    return Ok(Arc::clone(frame));
                }
                Some(Slot::Decoding) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        state.frames.insert(key, Slot::Decoding);
        state.busy += 1;
        drop(state);
        let decoded = self.decode(key, resolve);
        let mut state = self.lock();
        state.busy -= 1;
        state.frames.remove(&key);
        if let Ok(frame) = &decoded {
            state.insert(key, frame);
        }
        self.changed.notify_all();
        decoded
    }

    fn decode(&self, key: FrameKey, resolve: Resolve<'_>) -> Result<Arc<Frame>> {
        let pack = self.pack(key.pack)?;
        let raw = pack.frame(key.number, |header| self.prefix(key.pack, header, resolve))?;
        self.decoded.fetch_add(raw.len() as u64, Ordering::Relaxed);
        let entry = pack.frames()[key.number];
        let lengths = &pack.directory().lengths[in_memory(entry.first)..][..in_memory(entry.count)];
        let mut starts = vec![0];
        starts.extend(lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        }));
        Ok(Arc::new(Frame { raw, starts }))
    }

    /// A frame with all that it is made from, of which nothing is kept in memory.
    pub(super) fn stored_frame(&self, key: FrameKey, resolve: Resolve<'_>) -> Result<StoredFrame> {
        let pack = self.pack(key.pack)?;
        pack.stored_frame(key.number, |header| self.prefix(key.pack, header, resolve))
    }

    /// The bytes that a frame's bases are.
    fn prefix(&self, own: Id, header: &FrameHeader, resolve: Resolve<'_>) -> Result<Vec<u8>> {
        let of_run = |run: &BaseRun| run.directory.map_or(Ok(Home::Pack(own)), resolve);
        self.bases(&header.bases, header.depth, &of_run, resolve)
    }

    /// Forgets where chunks are that were moved: there may be more of them now.
    pub(super) fn forget_moved(&self) {
        self.noted().retain(|_, home| matches!(home, Home::Pack(_)));
    }

    /// Forgets what was noted.
    pub(super) fn forget_bases(&self) {
        self.noted().clear();
    }

    /// Notes where the chunks of a directory are, for [`Self::base_bytes`].
    pub(super) fn note_base(&self, directory: Id, home: Home) {
        self.noted().insert(directory, home);
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<Id, Home>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of chunks in directories that were noted.
    pub(super) fn base_bytes(&self, runs: &[BaseRun]) -> Result<Vec<u8>> {
        let resolve = |directory| {
            let home = self.noted().get(&directory).cloned();
            home.ok_or(StoreError::NoDirectory { id: directory })
        };
        let of_run = |run: &BaseRun| {
            let unknown = || StoreError::Inconsistent("a base without a directory");
            resolve(run.directory.ok_or_else(unknown)?)
        };
        self.bases(runs, DEPTH_MAX, &of_run, &resolve)
    }

    /// The bytes of chunks in frames of less than this depth. `of_run` finds the
    /// chunks of the runs, `below` those of what their frames stand on.
    fn bases(
        &self,
        runs: &[BaseRun],
        depth: u8,
        of_run: &dyn Fn(&BaseRun) -> Result<Home>,
        below: Resolve<'_>,
    ) -> Result<Vec<u8>> {
        let mut prefix = Vec::new();
        for run in runs {
            of_run(run)?.runs(run.first, run.count, |place, count| {
                self.add_base(place, count, depth, below, &mut prefix)
            })?;
        }
        Ok(prefix)
    }

    /// Adds the bytes of neighbouring chunks to a prefix.
    fn add_base(
        &self,
        place: Place,
        count: u32,
        depth: u8,
        below: Resolve<'_>,
        prefix: &mut Vec<u8>,
    ) -> Result<()> {
        let path = || self.layout.pack(place.pack);
        let damaged = |source| StoreError::from(PackError::Tables { path: path(), source });
        let pack = self.pack(place.pack)?;
        let (mut position, end) = (place.position, place.position.saturating_add(count));
        while position < end {
            let number = pack.frame_of(position).ok_or_else(|| {
                damaged(Malformed::Other("a base is a chunk that its pack doesn't hold"))
            })?;
            let entry = pack.frames()[number];
            if entry.depth >= depth {
                return Err(damaged(Malformed::Other("a base is as deep as its frame")));
            }
            let frame = self.frame(FrameKey { pack: place.pack, number }, below)?;
            let to = end.min(entry.first + entry.count);
            let (from, until) = (in_memory(position - entry.first), in_memory(to - entry.first));
            prefix.extend_from_slice(frame.chunks(from, until).unwrap_or_default());
            position = to;
            if prefix.len() > in_memory(PREFIX_MAX) {
                let limit = PREFIX_MAX.into();
                return Err(damaged(Malformed::OverLimit { what: "a prefix", limit }));
            }
        }
        Ok(())
    }

    /// Follows a plan from here on.
    pub(super) fn start(&self, plan: Plan) {
        self.lock().plan = Some(plan);
    }

    /// Forgets the plan; workers end.
    pub(super) fn stop(&self) {
        self.lock().plan = None;
        self.changed.notify_all();
    }

    /// A reader begins a stretch of the plan.
    pub(super) fn open(&self, stretch: usize) {
        if let Some(plan) = &mut self.lock().plan {
            plan.open(stretch);
        }
        self.changed.notify_all();
    }

    /// A reader is done with a stretch of the plan.
    pub(super) fn close(&self, stretch: usize) {
        if let Some(plan) = &mut self.lock().plan {
            plan.close(stretch);
        }
        self.changed.notify_all();
    }

    /// Decodes frames of the plan before they are needed, until there are no more
    /// or it is stopped. Errors are left for the reader to meet.
    pub(super) fn work(&self, resolve: Resolve<'_>) {
        while let Some(key) = self.next_ahead() {
            drop(self.frame(key, resolve));
        }
    }

    /// Waits for room, and takes the next frame of the plan that isn't there.
    fn next_ahead(&self) -> Option<FrameKey> {
        let mut state = self.lock();
        loop {
            let limit = FRAMES_BYTES.saturating_sub(FRAME_BYTES * (state.busy + 1));
            let State { plan, frames, bytes, .. } = &mut *state;
            let plan = plan.as_mut()?;
            match plan.next_ahead(|key| frames.contains_key(key)) {
                Next::Never => return None,
                Next::NotYet => {}
                Next::Frame { key, distance } => {
                    let later = |key: &FrameKey| plan.distance(*key).is_none_or(|at| at > distance);
                    if *bytes <= limit || frames.keys().any(later) {
                        plan.took_ahead();
                        return Some(key);
                    }
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// Keeps a frame, at the cost of others.
    fn insert(&mut self, key: FrameKey, frame: &Arc<Frame>) {
        let weight = frame.raw.len() + 4 * frame.starts.len();
        self.clock += 1;
        let slot = Slot::Ready { frame: Arc::clone(frame), weight, used: self.clock };
        self.frames.insert(key, slot);
        self.bytes += weight;
        while self.bytes > FRAMES_BYTES {
            let plan = self.plan.as_ref();
            let ready = self.frames.iter().filter_map(|(other, slot)| match slot {
                Slot::Ready { used, .. } if *other != key => {
                    let next = plan.and_then(|plan| plan.distance(*other)).unwrap_or(usize::MAX);
                    Some((next, u64::MAX - used, *other))
                }
                _ => None,
            });
            let last = ready.max_by_key(|(next, unused, _)| (*next, *unused));
            let Some((_, _, victim)) = last else { return };
            if let Some(Slot::Ready { weight, .. }) = self.frames.remove(&victim) {
                self.bytes -= weight;
            }
        }
    }
}
