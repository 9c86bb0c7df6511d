//! A write session: the only way to add to a store.
//!
//! Blobs are put in one by one; chunks that the store has are named, others go
//! through the pack pipeline. Nothing of it exists for a reader until
//! [`WriteSession::commit`] has written the record, after all packs that it
//! names are durable. Dropping a session leaves at most whole packs without a
//! record, which later sessions use. Deliberately doesn't know what blobs mean.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io::Read;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, bounded};

use super::layer_writer::{FRAME_BITS, LayerWriter};
use super::record::SaveRecord;
use super::workspace::Workspace;
use super::{Notice, Result, Store, StoreError};
use crate::catalog::Place;
use crate::chunk::recipe::{Body, INLINE_MAX, Names, Recipe, Span};
use crate::codec::Levels;
use crate::digest::{Digest, DigestHasher, Id};
use crate::fs;
use crate::layer::split::{Sink, Splitter};
use crate::pack::format::{DEPTH_MAX, FrameKind, PackKind, len32};
use crate::pack::frame::RawFrame;
use crate::pack::pipeline::{Pipeline, PipelineError, Places};
use crate::time::Time;

/// Content waits in one frame for each depth.
const DEPTHS: usize = DEPTH_MAX as usize + 1;

/// A frame with bases is closed at this many bytes: what it takes to decode it,
/// bases and all, is then little, and compression hardly gains from more.
const DELTA_FRAME: usize = 1 << 20;

/// Bytes that are read from an input at a time.
const READ: usize = 1 << 20;
/// How many of these wait to be hashed.
const PIECES: usize = 4;

/// A blob that is in the store, or will be with the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// What its bytes hash to.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Bytes of it, before compression, that the store did not have.
    pub new: u64,
    /// Whether the blob as a whole was there.
    pub known: bool,
}

/// Where a chunk is.
#[derive(Debug, Clone, Copy)]
pub(super) enum ChunkPlace {
    /// In a frame of this session whose pack isn't in place yet.
    Own { frame: u64, index: u32 },
    /// In a pack of the catalog.
    Known(Place),
}

/// What the sections of a blob name, before all packs are closed.
#[derive(Debug)]
pub(super) struct Named {
    /// Own frames.
    pub(super) frames: BTreeSet<u64>,
    /// First virtual number, and the pack.
    pub(super) packs: Vec<(u64, Id)>,
    pub(super) sections: Vec<Id>,
}

/// A frame that is being filled. Content waits in one for each depth.
#[derive(Debug, Default)]
struct Filling {
    frame: RawFrame,
    /// What virtual numbers of its chunks begin with.
    number: u64,
    /// The base chunks that are in it.
    bases: HashSet<Place>,
}

#[derive(Debug)]
enum Pending {
    Bytes(Vec<u8>),
    Chunks(Named),
    Tar(Named),
}

/// Adds to a store.
#[derive(Debug)]
pub struct WriteSession<'s> {
    store: &'s mut Store,
    // Before the workspace, so that its threads end before the folder goes.
    pipeline: Pipeline,
    workspace: Workspace,
    /// By depth.
    content: [Filling; DEPTHS],
    sections: Filling,
    /// Chunks of packs that aren't in place yet: frame and index.
    waiting: HashMap<Id, (u64, u32)>,
    next_frame: u64,
    /// Data frames on their way, in their order.
    pushed: VecDeque<u64>,
    /// Own data frames in place: directory, position of the first chunk, count.
    placed: HashMap<u64, (Id, u32, u32)>,
    blobs: HashMap<Digest, u64>,
    pending: Vec<(Digest, u64, Pending)>,
    packs: Vec<Id>,
    packs_bytes: u64,
    /// Packs without a record that were there and are named now.
    adopted: BTreeSet<Id>,
}

impl<'s> WriteSession<'s> {
    pub(super) fn begin(store: &'s mut Store, levels: Levels) -> Result<Self> {
        store.header.check_write()?;
        let workspace = Workspace::create(&store.fs, &store.layout)?;
        let layout = store.layout.clone();
        let places = Places {
            folder: workspace.path().to_owned(),
            target: Box::new(move |id| layout.pack(id)),
        };
        let pipeline = Pipeline::start(Arc::clone(&store.fs), places, levels);
        Ok(Self {
            store,
            pipeline,
            workspace,
            content: Default::default(),
            sections: Filling::default(),
            waiting: HashMap::new(),
            next_frame: 1,
            pushed: VecDeque::new(),
            placed: HashMap::new(),
            blobs: HashMap::new(),
            pending: Vec::new(),
            packs: Vec::new(),
            packs_bytes: 0,
            adopted: BTreeSet::new(),
        })
    }

    /// The store, to look things up in it.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// The size of a blob that the store has, or will have with the commit. One
    /// that has become incomplete doesn't count: it is to be put again.
    pub fn blob(&mut self, digest: Digest) -> Result<Option<u64>> {
        if let Some(size) = self.blobs.get(&digest) {
            return Ok(Some(*size));
        }
        let Some(row) = self.store.blob(digest)? else { return Ok(None) };
        if !self.store.is_whole(digest)? {
            return Ok(None);
        }
        self.blobs.insert(digest, row.size);
        Ok(Some(row.size))
    }

    /// Puts a small blob.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<Stored> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        if self.blob(digest)?.is_some() {
            return Ok(Stored { digest, size, new: 0, known: true });
        }
        let (pending, new) = if bytes.len() <= INLINE_MAX {
            (Pending::Bytes(bytes.to_vec()), size)
        } else {
            let mut writer = LayerWriter::new(self);
            writer.begin(Some(size))?;
            writer.content(bytes)?;
            writer.end()?;
            let (named, new) = writer.finish()?;
            (Pending::Chunks(named), new)
        };
        self.blobs.insert(digest, size);
        self.pending.push((digest, size, pending));
        Ok(Stored { digest, size, new, known: false })
    }

    /// Puts a layer, reading it to its end. What it hashes to is for the caller
    /// to compare.
    pub fn put_layer(&mut self, input: &mut dyn Read) -> Result<Stored> {
        // SHA-256 is the slowest step that every byte takes, so it has a thread.
        let (pieces, queue) = bounded::<Arc<Vec<u8>>>(PIECES);
        thread::scope(|scope| {
            let hashing = scope.spawn(move || {
                let mut hasher = DigestHasher::default();
                queue.iter().for_each(|piece| hasher.update(&piece));
                hasher.finish()
            });
            let (named, size, new) = self.split_layer(input, &pieces)?;
            drop(pieces);
            let digest = hashing.join().map_err(|_| StoreError::Pipeline(PipelineError::Died))?;
            let known = self.blob(digest)?.is_some();
            if !known {
                self.blobs.insert(digest, size);
                self.pending.push((digest, size, Pending::Tar(named)));
            }
            Ok(Stored { digest, size, new, known })
        })
    }

    /// Takes a layer apart, and passes on all that was read. Returns what it
    /// names, its size, and how much of it was new.
    fn split_layer(
        &mut self,
        input: &mut dyn Read,
        pieces: &Sender<Arc<Vec<u8>>>,
    ) -> Result<(Named, u64, u64)> {
        let mut size = 0;
        let mut splitter = Splitter::default();
        let mut writer = LayerWriter::new(self);
        let mut spare: VecDeque<Arc<Vec<u8>>> = VecDeque::new();
        loop {
            // The oldest piece is most likely one that was hashed.
            let mut piece = spare.pop_front().and_then(Arc::into_inner).unwrap_or_default();
            piece.resize(READ, 0);
            match input.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => piece.truncate(count),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::Input(error)),
            }
            let piece = Arc::new(piece);
            // The other end only goes with this one.
            drop(pieces.send(Arc::clone(&piece)));
            splitter.push(&piece, &mut writer)?;
            size += piece.len() as u64;
            if spare.len() < PIECES {
                spare.push_back(piece);
            }
        }
        splitter.finish(&mut writer)?;
        let (named, new) = writer.finish()?;
        Ok((named, size, new))
    }

    /// Forgets blobs that were put and that nothing needs after all.
    pub fn keep_only(&mut self, digests: &HashSet<Digest>) {
        self.blobs.retain(|digest, _| digests.contains(digest));
        self.pending.retain(|(digest, _, _)| digests.contains(digest));
    }

    /// Where the chunk with this id is, if it is anywhere.
    pub(super) fn find_chunk(&mut self, id: Id) -> Result<Option<ChunkPlace>> {
        if let Some((frame, index)) = self.waiting.get(&id) {
            return Ok(Some(ChunkPlace::Own { frame: *frame, index: *index }));
        }
        let Some((place, recorded)) = self.store.find_chunk(id)? else { return Ok(None) };
        self.refer(place, recorded);
        Ok(Some(ChunkPlace::Known(place)))
    }

    /// Puts a new chunk of content, to be compressed against these others.
    /// Returns the number of its frame, and its index in that.
    pub(super) fn put_chunk(
        &mut self,
        id: Id,
        bytes: &[u8],
        bases: &[Place],
    ) -> Result<(u64, u32)> {
        let (bases, depth) = self.usable(bases)?;
        let slot = usize::from(depth);
        if !self.content[slot].has_room(&self.store, bytes.len(), &bases)? {
            self.flush_content(slot)?;
        }
        let filling = &mut self.content[slot];
        if filling.frame.is_empty() {
            filling.number = self.next_frame;
            self.next_frame += 1;
        }
        filling.add_bases(self.store, &bases, depth)?;
        let place = (filling.number, len32(filling.frame.ids.len()));
        filling.frame.push(id, bytes);
        self.waiting.insert(id, place);
        Ok(place)
    }

    /// Those of the chunks that a frame may be built upon, and the depth that it
    /// then has.
    fn usable(&self, bases: &[Place]) -> Result<(Vec<Place>, u8)> {
        let mut usable = Vec::new();
        let mut depth = 0;
        for place in bases {
            let below = self.store.depth_of(*place)?;
            if below < DEPTH_MAX {
                depth = depth.max(below + 1);
                usable.push(*place);
            }
        }
        Ok((usable, depth))
    }

    /// Puts a section, unless it is there; returns its id. It is compressed
    /// against the section of the same number in the layer that was last seen
    /// with most of the paths in `votes`.
    pub(super) fn put_section(&mut self, bytes: &[u8], votes: &[i64], number: usize) -> Result<Id> {
        let id = Id::of(bytes);
        if self.sections.frame.ids.contains(&id) {
            return Ok(id);
        }
        if let Some((place, recorded)) = self.store.find_chunk(id)? {
            self.refer(place, recorded);
            return Ok(id);
        }
        let bases = self.section_base(votes, number)?;
        if !self.sections.has_room(&self.store, bytes.len(), &bases)? {
            self.flush_sections()?;
        }
        let mut depth = 0;
        for base in &bases {
            depth = depth.max(self.store.depth_of(*base)? + 1);
        }
        self.sections.add_bases(self.store, &bases, depth)?;
        self.sections.frame.push(id, bytes);
        Ok(id)
    }

    /// The chunk that a section is compressed against.
    fn section_base(&self, votes: &[i64], number: usize) -> Result<Vec<Place>> {
        let mut counts: HashMap<Place, usize> = HashMap::new();
        for key in votes {
            if let Some(recipe) = self.store.catalog.layer_with_path(*key)? {
                *counts.entry(recipe).or_default() += 1;
            }
        }
        let best = counts.into_iter().max_by_key(|(recipe, count)| (*count, *recipe));
        let Some((recipe, _)) = best else { return Ok(Vec::new()) };
        let map = match self.store.cached_file_map(recipe) {
            Err(error) if error.is_damage() => return Ok(Vec::new()),
            map => map?,
        };
        let sections = map.sections();
        let Some(id) = sections.get(number).or(sections.last()) else { return Ok(Vec::new()) };
        let Some((place, _)) = self.store.find_chunk(*id)? else { return Ok(Vec::new()) };
        self.store.base_of_depth(place)
    }

    /// A pack that no record names must be named by ours if we refer to it.
    fn refer(&mut self, place: Place, recorded: bool) {
        if !recorded && !self.packs.contains(&place.pack) {
            self.adopted.insert(place.pack);
        }
    }

    fn flush_content(&mut self, slot: usize) -> Result<()> {
        let filling = std::mem::take(&mut self.content[slot]);
        if !filling.frame.is_empty() {
            self.pushed.push_back(filling.number);
            self.pipeline.push(FrameKind::Content, filling.frame)?;
        }
        self.take_placed()
    }

    fn flush_sections(&mut self) -> Result<()> {
        let filling = std::mem::take(&mut self.sections);
        if !filling.frame.is_empty() {
            self.pipeline.push(FrameKind::Sections, filling.frame)?;
        }
        Ok(())
    }

    /// Takes note of packs that are in place: their chunks are now found through
    /// the catalog.
    fn take_placed(&mut self) -> Result<()> {
        for (kind, pack) in self.pipeline.placed() {
            self.store.index(pack.id)?;
            self.packs.push(pack.id);
            self.packs_bytes += pack.size;
            if kind == PackKind::Data {
                for frame in &pack.frames {
                    if let Some(number) = self.pushed.pop_front() {
                        let place = (pack.directory_id, frame.first, frame.count);
                        self.placed.insert(number, place);
                    }
                }
                for id in &pack.directory.ids {
                    self.waiting.remove(id);
                }
            }
        }
        Ok(())
    }

    /// Makes all that was put durable, then the record, which is the commit.
    /// `now` is the time; `as_given` takes it whatever other records say.
    /// Returns the record, with what was filled in, and its id.
    pub fn commit(
        mut self,
        mut record: SaveRecord,
        now: Time,
        as_given: bool,
    ) -> Result<(Id, SaveRecord)> {
        for slot in 0..DEPTHS {
            self.flush_content(slot)?;
        }
        self.pipeline.close(PackKind::Data)?;
        self.take_placed()?;
        self.flush_sections()?;
        self.flush_recipes()?;
        self.pipeline.close(PackKind::Metadata)?;
        self.take_placed()?;

        let newest = self.store.catalog.newest_record()?;
        record.sequence = newest.map_or(1, |(_, sequence)| sequence + 1);
        record.saved_at = match newest {
            Some((newest, _)) if now < newest && !as_given => {
                self.store.notices.push(Notice::ClockBehind);
                newest.next_second()
            }
            _ => now,
        };
        record.packs = self.packs.iter().copied().chain(self.adopted.iter().copied()).collect();
        share(&mut record, self.packs_bytes);
        let id = self.write_record(&record)?;
        self.store.apply(id, &record)?;
        Ok((id, record))
    }

    fn write_record(&self, record: &SaveRecord) -> Result<Id> {
        let fs = &*self.store.fs;
        let bytes = record.encode();
        let id = Id::of(&bytes);
        let path = self.workspace.path().join("record.json");
        let mut file = fs.create(&path)?;
        file.write_all(&bytes)?;
        file.sync()?;
        drop(file);
        fs::publish(fs, &path, &self.store.layout.record(id))?;
        Ok(id)
    }

    fn flush_recipes(&mut self) -> Result<()> {
        let mut frame = RawFrame::default();
        for (digest, size, pending) in std::mem::take(&mut self.pending) {
            let body = match pending {
                Pending::Bytes(bytes) => Body::Bytes(bytes),
                Pending::Chunks(named) => Body::Chunks(self.names(named)?),
                Pending::Tar(named) => Body::Tar(self.names(named)?),
            };
            let chunk = Recipe { digest, size, body }.encode();
            if !frame.has_room(chunk.len()) {
                self.pipeline.push(FrameKind::Recipes, std::mem::take(&mut frame))?;
            }
            frame.push(Id::of(&chunk), &chunk);
        }
        if !frame.is_empty() {
            self.pipeline.push(FrameKind::Recipes, frame)?;
        }
        Ok(())
    }

    /// Says what virtual numbers mean, now that all data packs are closed.
    fn names(&self, named: Named) -> Result<Names> {
        let mut names = Names { sections: named.sections, ..Names::default() };
        for number in named.frames {
            let place = self.placed.get(&number);
            let (directory, first, count) =
                *place.ok_or(StoreError::Inconsistent("a frame that wasn't written"))?;
            let directory = add_directory(&mut names, directory);
            let virtual_first = number << FRAME_BITS;
            names.spans.push(Span { virtual_first, directory, first, count });
        }
        for (virtual_first, pack) in named.packs {
            let pack = self.store.pack(pack)?;
            let directory = add_directory(&mut names, pack.directory_id());
            let count = len32(pack.directory().ids.len());
            names.spans.push(Span { virtual_first, directory, first: 0, count });
        }
        Ok(names)
    }
}

impl Filling {
    /// Whether a chunk of so many bytes fits with its bases.
    fn has_room(&self, store: &Store, length: usize, bases: &[Place]) -> Result<bool> {
        let mut base_length = 0;
        for place in bases.iter().filter(|place| !self.bases.contains(place)) {
            base_length += store.chunk_length(*place)?;
        }
        let full = self.frame.base.depth > 0 && self.frame.raw.len() + length > DELTA_FRAME;
        Ok(!full && self.frame.has_room(length) && self.frame.base.has_room(base_length))
    }

    /// Adds the bases that aren't in it, as far as they fit.
    fn add_bases(&mut self, store: &Store, bases: &[Place], depth: u8) -> Result<()> {
        for place in bases {
            if self.bases.contains(place) || !self.frame.base.has_room(store.chunk_length(*place)?)
            {
                continue;
            }
            let chunk = store.chunk_at(*place)?;
            let directory = store.pack(place.pack)?.directory_id();
            self.frame.base.push(directory, place.position, chunk.as_slice());
            self.frame.base.depth = self.frame.base.depth.max(depth);
            self.bases.insert(*place);
        }
        Ok(())
    }
}

fn add_directory(names: &mut Names, id: Id) -> u32 {
    let at = names.directories.iter().position(|known| *known == id).unwrap_or_else(|| {
        names.directories.push(id);
        names.directories.len() - 1
    });
    len32(at)
}

/// Divides what the store grew by among the revisions, by the bytes that were
/// new for each (which `added` holds on the way in); the record itself included.
fn share(record: &mut SaveRecord, packs_bytes: u64) {
    let total = packs_bytes + record.encode().len() as u64;
    let new: u128 = record.revisions.iter().map(|revision| u128::from(revision.added)).sum();
    let count = record.revisions.len() as u128;
    let mut left = total;
    for revision in &mut record.revisions {
        let share = match new {
            0 => u128::from(total) / count.max(1),
            new => u128::from(total) * u128::from(revision.added) / new,
        };
        revision.added = u64::try_from(share).unwrap_or(total);
        left -= revision.added;
    }
    if let Some(last) = record.revisions.iter_mut().max_by_key(|revision| revision.added) {
        last.added += left;
    }
}
