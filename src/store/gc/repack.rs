//! Writes the needed chunks of some packs again, into new packs.
//!
//! A frame that is nearly all needed is copied as it is stored; of others the needed
//! chunks are compressed again, with what they stood on, or with others that stand
//! on nothing. No chunk comes to stand deeper than it did, so what stands on it can
//! go on to. What comes from packs that were optimized goes to others that are, as hard
//! as it was. The new packs have no record yet. Memory is bounded by a few frames for
//! each worker, and what the hardest level takes.

use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

use super::marks::Marks;
use super::plan::{Plan, needed_raw};
use crate::catalog::Place;
use crate::codec::{Compressor, Levels};
use crate::digest::Id;
use crate::fs;
use crate::pack::directories;
use crate::pack::format::{BaseRun, Codec, FrameHeader, FrameKind, PackFeatures, PackKind, len32};
use crate::pack::frame::{Base, EncodedFrame, FrameError, RawFrame, encode};
use crate::pack::pipeline::{PipelineError, pack_is_full};
use crate::pack::tables::FrameEntry;
use crate::pack::writer::PackWriter;
use crate::progress::Progress;
use crate::store::decoder::{Decoder, FrameKey};
use crate::store::workspace::Workspace;
use crate::store::{Result, Store, StoreError};
use crate::varint::in_memory;

/// A frame of which less than this, in hundredths of a percent, isn't needed is
/// copied.
const SPARE: u64 = 200;
/// A frame with less content than this is joined with others, if it stands on
/// nothing.
const SMALL: u32 = 1 << 20;
/// How many frames of each worker are compressed at a time.
const FRAMES_EACH: usize = 2;
/// The most workers: the hardest level takes some 150 MiB for each.
const WORKERS_MAX: usize = 4;

/// Writes packs.
pub(super) struct Repacker<'s> {
    store: &'s mut Store,
    workspace: &'s Workspace,
    levels: Levels,
    /// Chunks that stand on nothing.
    filling: Vec<(Sort, RawFrame)>,
    waiting: Vec<(bool, Job)>,
    /// By kind, and whether they are optimized.
    open: Vec<((PackKind, bool), PackWriter, std::path::PathBuf)>,
    files: u64,
    /// The new packs.
    written: Vec<Id>,
    bytes: u64,
}

/// What chunks can be in a frame together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sort {
    kind: FrameKind,
    /// Most likely they can't be compressed.
    opaque: bool,
    /// They were compressed as hard as can be.
    optimized: bool,
}

/// A frame that is to be encoded, or was.
enum Job {
    Encode(FrameKind, RawFrame),
    Copy(EncodedFrame),
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) packs: Vec<Id>,
    /// Bytes of them.
    pub(super) bytes: u64,
}

/// Carries out the part of a plan that writes.
pub(super) fn repack(
    store: &mut Store,
    workspace: &Workspace,
    (plan, marks): (&Plan, &Marks),
    levels: Levels,
    progress: &dyn Progress,
) -> Result<Written> {
    let mut repacker = Repacker {
        store,
        workspace,
        levels,
        filling: Vec::new(),
        waiting: Vec::new(),
        open: Vec::new(),
        files: 0,
        written: Vec::new(),
        bytes: 0,
    };
    for id in &plan.again {
        repacker.pack(*id, plan, marks)?;
        progress.advance(repacker.store.pack(*id)?.size());
    }
    for directory in &plan.outliving {
        repacker.keep_directory(*directory)?;
    }
    repacker.finish()
}

impl Repacker<'_> {
    /// Takes what is needed of a pack.
    fn pack(&mut self, id: Id, plan: &Plan, marks: &Marks) -> Result<()> {
        // From here on threads find what its frames stand on. What of that is gone,
        // nothing needs.
        self.store.is_whole(id)?;
        let pack = self.store.pack(id)?;
        for (number, entry) in pack.frames().iter().enumerate() {
            let key = FrameKey { pack: id, number };
            let needed = needed_raw(&pack, id, entry, marks);
            let spare = u64::from(entry.raw_len) - needed;
            let copied = spare * 10_000 <= u64::from(entry.raw_len) * SPARE;
            let joined = entry.depth == 0 && entry.raw_len < SMALL;
            if needed == 0 {
            } else if plan.rebased.contains(&key) || (joined || !copied) && entry.depth == 0 {
                self.join(key, entry, marks)?;
            } else if copied {
                self.copy(key)?;
            } else {
                self.shrink(key, entry, marks)?;
            }
        }
        Ok(())
    }

    /// Calls `act` with the needed chunks of a frame.
    fn each_needed(
        &mut self,
        key: FrameKey,
        entry: &FrameEntry,
        marks: &Marks,
        mut act: impl FnMut(&mut Self, Id, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let pack = self.store.pack(key.pack)?;
        for position in entry.first..entry.first + entry.count {
            let place = Place { pack: key.pack, position };
            if marks.is_needed(place) {
                let chunk = self.store.chunk_at(place)?;
                act(self, pack.directory().ids[in_memory(position)], chunk.as_slice())?;
            }
        }
        Ok(())
    }

    /// Puts the needed chunks of a frame among others that stand on nothing.
    fn join(&mut self, key: FrameKey, entry: &FrameEntry, marks: &Marks) -> Result<()> {
        let optimized = self.store.pack(key.pack)?.is_optimized();
        let sort = Sort { kind: entry.kind, opaque: entry.codec == Codec::Stored, optimized };
        self.each_needed(key, entry, marks, |this, id, chunk| this.put(sort, id, chunk))
    }

    fn put(&mut self, sort: Sort, id: Id, chunk: &[u8]) -> Result<()> {
        let opaque = sort.opaque;
        let at = self.filling.iter().position(|(other, _)| *other == sort);
        let at = at.unwrap_or_else(|| {
            self.filling.push((sort, RawFrame { opaque, ..RawFrame::default() }));
            self.filling.len() - 1
        });
        let frame = &mut self.filling[at].1;
        let full = (!frame.has_room(chunk.len()))
            .then(|| std::mem::replace(frame, RawFrame { opaque, ..RawFrame::default() }));
        frame.push(id, chunk);
        full.map_or(Ok(()), |full| self.push(sort.optimized, Job::Encode(sort.kind, full)))
    }

    /// Makes a frame of the needed chunks of one, that stands on what that did.
    fn shrink(&mut self, key: FrameKey, entry: &FrameEntry, marks: &Marks) -> Result<()> {
        let header = self.store.pack(key.pack)?.frame_header(key.number)?;
        let runs = self.named(key, &header)?;
        // Its length only says what else would fit.
        let base = Base { runs, length: 0, depth: header.depth };
        let mut frame = RawFrame { base, ..RawFrame::default() };
        self.each_needed(key, entry, marks, |_, id, chunk| {
            frame.push(id, chunk);
            Ok(())
        })?;
        let optimized = self.store.pack(key.pack)?.is_optimized();
        self.push(optimized, Job::Encode(entry.kind, frame))
    }

    /// What a frame stands on, named so that it can be in another pack.
    fn named(&self, key: FrameKey, header: &FrameHeader) -> Result<Vec<BaseRun>> {
        let own = self.store.pack(key.pack)?.directory_id();
        let named = |run: &BaseRun| BaseRun { directory: run.directory.or(Some(own)), ..*run };
        Ok(header.bases.iter().map(named).collect())
    }

    /// Takes a frame as it is stored.
    fn copy(&mut self, key: FrameKey) -> Result<()> {
        let store = &*self.store;
        let pack = store.pack(key.pack)?;
        let frame = store.decoder.stored_frame(key, &|id| store.home(id))?;
        let mut header = frame.header;
        let payload = &frame.bytes[frame.bytes.len() - in_memory(header.stored_len)..];
        header.bases = self.named(key, &header)?;
        let mut bytes = header.encode();
        let entry = pack.frames()[key.number];
        let entry = FrameEntry { header_len: len32(bytes.len()), offset: 0, first: 0, ..entry };
        bytes.extend_from_slice(payload);
        let positions = in_memory(pack.frames()[key.number].first)..;
        let ids = pack.directory().ids[positions][..in_memory(entry.count)].to_vec();
        let lengths = header.lengths;
        self.push(pack.is_optimized(), Job::Copy(EncodedFrame { bytes, entry, lengths, ids }))
    }

    /// Keeps the directory of a pack that goes.
    fn keep_directory(&mut self, directory: Id) -> Result<()> {
        // The pack may be about to go, and the chunks be elsewhere already.
        let row = self.store.catalog.pack_by_directory(directory)?;
        let pack = self.store.pack(row.ok_or(StoreError::NoDirectory { id: directory })?.id)?;
        let optimized = pack.is_optimized();
        let sort = Sort { kind: FrameKind::Directories, opaque: false, optimized };
        for piece in directories::pieces(pack.directory()) {
            self.put(sort, Id::of(&piece), &piece)?;
        }
        Ok(())
    }

    fn push(&mut self, optimized: bool, job: Job) -> Result<()> {
        self.waiting.push((optimized, job));
        if self.waiting.len() >= self.workers() * FRAMES_EACH {
            self.flush()?;
        }
        Ok(())
    }

    fn workers(&self) -> usize {
        self.store.threads().clamp(1, WORKERS_MAX)
    }

    /// Compresses what waits, on all workers, and writes it in its order.
    fn flush(&mut self) -> Result<()> {
        let jobs = std::mem::take(&mut self.waiting);
        let share = jobs.len().div_ceil(self.workers()).max(1);
        let (decoder, levels) = (&self.store.decoder, self.levels);
        let mut rest = jobs.into_iter().peekable();
        let encoded: Vec<_> = thread::scope(|scope| {
            let mut threads = Vec::new();
            loop {
                let jobs: Vec<(bool, Job)> = rest.by_ref().take(share).collect();
                if rest.peek().is_none() {
                    // The last share is for this thread, often all there is.
                    let last = encode_all(jobs, levels, decoder);
                    let died = |_| Err(PipelineError::Died);
                    let others = threads
                        .into_iter()
                        .map(|it: ScopedJoinHandle<'_, _>| it.join().unwrap_or_else(died));
                    return others.chain([last]).collect();
                }
                threads.push(scope.spawn(move || encode_all(jobs, levels, decoder)));
            }
        });
        for frames in encoded {
            for (optimized, frame) in frames? {
                self.append(optimized, frame)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, optimized: bool, frame: EncodedFrame) -> Result<()> {
        let kind = frame.entry.kind.pack();
        let open = self.open.iter().position(|(open, _, _)| *open == (kind, optimized));
        let at = open.map_or_else(|| self.begin(kind, optimized), Ok)?;
        let writer = &mut self.open[at].1;
        writer.append(frame)?;
        if pack_is_full(kind, writer) {
            self.close(at)?;
        }
        Ok(())
    }

    /// Begins a pack; returns its place among the open ones.
    fn begin(&mut self, kind: PackKind, optimized: bool) -> Result<usize> {
        let path = self.workspace.path().join(format!("{}.pack", self.files));
        self.files += 1;
        // A pack that goes may have the same chunks.
        let generation = Some(self.workspace.generation.number + 1);
        let features = PackFeatures { optimized, generation };
        let writer = PackWriter::create_with(self.store.fs.create(&path)?, kind, features)?;
        self.open.push(((kind, optimized), writer, path));
        Ok(self.open.len() - 1)
    }

    fn close(&mut self, at: usize) -> Result<()> {
        let (_, writer, path) = self.open.remove(at);
        let pack = writer.finish()?;
        fs::publish(&*self.store.fs, &path, &self.store.layout.pack(pack.id))?;
        self.store.index(pack.id)?;
        self.written.push(pack.id);
        self.bytes += pack.size;
        Ok(())
    }

    fn finish(mut self) -> Result<Written> {
        for (Sort { kind, optimized, .. }, frame) in std::mem::take(&mut self.filling) {
            if !frame.is_empty() {
                self.push(optimized, Job::Encode(kind, frame))?;
            }
        }
        self.flush()?;
        while !self.open.is_empty() {
            self.close(0)?;
        }
        Ok(Written { packs: self.written, bytes: self.bytes })
    }
}

/// Encodes frames; with each goes whether it is as hard as can be.
fn encode_all(
    jobs: Vec<(bool, Job)>,
    levels: Levels,
    decoder: &Arc<Decoder>,
) -> std::result::Result<Vec<(bool, EncodedFrame)>, PipelineError> {
    let decoder = Arc::clone(decoder);
    let find_base = move |runs: &[BaseRun]| decoder.base_bytes(runs).ok();
    let mut compressors = [None, None];
    let mut encoded = Vec::new();
    for (optimized, job) in jobs {
        let frame = match job {
            Job::Copy(frame) => frame,
            Job::Encode(kind, frame) => {
                let compressor = &mut compressors[usize::from(optimized)];
                let levels = if optimized { Levels::hardest() } else { levels };
                let ready = match compressor.take() {
                    Some(ready) => ready,
                    None => Compressor::new(levels).map_err(FrameError::from)?,
                };
                encode(kind, frame, compressor.insert(ready), &find_base)?
            }
        };
        encoded.push((optimized, frame));
    }
    Ok(encoded)
}
