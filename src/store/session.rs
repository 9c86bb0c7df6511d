//! A write session: the only way to add to a store.
//!
//! Blobs are put in one by one; chunks that the store has are named, others go
//! through the pack pipeline. Nothing of it exists for a reader until
//! [`WriteSession::commit`] has written the record, after all packs that it
//! names are durable. Dropping a session leaves at most whole packs without a
//! record, which later sessions use. Deliberately doesn't know what blobs mean.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use super::layer_writer::LayerWriter;
use super::record::SaveRecord;
use super::workspace::Workspace;
use super::{Notice, Result, Store, StoreError};
use crate::catalog::Place;
use crate::chunk::recipe::{Body, INLINE_MAX, Names, Recipe, Span};
use crate::digest::{Digest, DigestHasher, Id};
use crate::fs;
use crate::layer::split::{Sink, Splitter};
use crate::pack::format::{FrameKind, PackKind, len32};
use crate::pack::frame::RawFrame;
use crate::pack::pipeline::{Pipeline, Places};
use crate::time::Time;

/// Bytes that are read from an input at a time.
const READ: usize = 1 << 20;

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

/// Where a chunk that was put is.
#[derive(Debug, Clone, Copy)]
pub(super) enum ChunkPlace {
    /// Among this session's own, by the order in which they were put.
    Own { ordinal: u64, new: bool },
    /// In a pack of the catalog.
    Known(Place),
}

/// What the sections of a blob name, before all packs are closed.
#[derive(Debug)]
pub(super) struct Named {
    /// Range of own ordinals.
    pub(super) own: Option<(u64, u64)>,
    /// First virtual number, and the pack.
    pub(super) packs: Vec<(u64, Id)>,
    pub(super) sections: Vec<Id>,
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
    content: RawFrame,
    sections: RawFrame,
    /// Chunks of packs that aren't in place yet, with their ordinals.
    waiting: HashMap<Id, u64>,
    next_ordinal: u64,
    /// First ordinal, count and directory of own data packs in place.
    spans: Vec<(u64, u32, Id)>,
    blobs: HashMap<Digest, u64>,
    pending: Vec<(Digest, u64, Pending)>,
    packs: Vec<Id>,
    packs_bytes: u64,
    /// Packs without a record that were there and are named now.
    adopted: BTreeSet<Id>,
}

impl<'s> WriteSession<'s> {
    pub(super) fn begin(store: &'s mut Store, level: i32) -> Result<Self> {
        store.header.check_write()?;
        let workspace = Workspace::create(&store.fs, &store.layout)?;
        let layout = store.layout.clone();
        let places = Places {
            folder: workspace.path().to_owned(),
            target: Box::new(move |id| layout.pack(id)),
        };
        let pipeline = Pipeline::start(Arc::clone(&store.fs), places, level);
        Ok(Self {
            store,
            pipeline,
            workspace,
            content: RawFrame::default(),
            sections: RawFrame::default(),
            waiting: HashMap::new(),
            next_ordinal: 0,
            spans: Vec::new(),
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

    /// The size of a blob that the store has, or will have with the commit.
    pub fn blob(&self, digest: Digest) -> Result<Option<u64>> {
        match self.blobs.get(&digest) {
            Some(size) => Ok(Some(*size)),
            None => Ok(self.store.blob(digest)?.map(|row| row.size)),
        }
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
        let mut hasher = DigestHasher::default();
        let mut size = 0;
        let mut splitter = Splitter::default();
        let mut writer = LayerWriter::new(self);
        let mut buffer = vec![0; READ];
        loop {
            let count = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::Input(error)),
            };
            hasher.update(&buffer[..count]);
            splitter.push(&buffer[..count], &mut writer)?;
            size += count as u64;
        }
        splitter.finish(&mut writer)?;
        let (named, new) = writer.finish()?;
        let digest = hasher.finish();
        let known = self.blob(digest)?.is_some();
        if !known {
            self.blobs.insert(digest, size);
            self.pending.push((digest, size, Pending::Tar(named)));
        }
        Ok(Stored { digest, size, new, known })
    }

    /// Forgets blobs that were put and that nothing needs after all.
    pub fn keep_only(&mut self, digests: &HashSet<Digest>) {
        self.blobs.retain(|digest, _| digests.contains(digest));
        self.pending.retain(|(digest, _, _)| digests.contains(digest));
    }

    /// Puts a chunk of content, unless it is there.
    pub(super) fn put_chunk(&mut self, bytes: &[u8]) -> Result<ChunkPlace> {
        let id = Id::of(bytes);
        if let Some(ordinal) = self.waiting.get(&id) {
            return Ok(ChunkPlace::Own { ordinal: *ordinal, new: false });
        }
        if let Some((place, recorded)) = self.store.find_chunk(id)? {
            self.refer(place, recorded);
            return Ok(ChunkPlace::Known(place));
        }
        if !self.content.has_room(bytes.len()) {
            self.flush_content()?;
        }
        self.content.push(id, bytes);
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        self.waiting.insert(id, ordinal);
        Ok(ChunkPlace::Own { ordinal, new: true })
    }

    /// Puts a section, unless it is there; returns its id.
    pub(super) fn put_section(&mut self, bytes: &[u8]) -> Result<Id> {
        let id = Id::of(bytes);
        if self.sections.ids.contains(&id) {
            return Ok(id);
        }
        if let Some((place, recorded)) = self.store.find_chunk(id)? {
            self.refer(place, recorded);
            return Ok(id);
        }
        if !self.sections.has_room(bytes.len()) {
            self.flush_sections()?;
        }
        self.sections.push(id, bytes);
        Ok(id)
    }

    /// A pack that no record names must be named by ours if we refer to it.
    fn refer(&mut self, place: Place, recorded: bool) {
        if !recorded && !self.packs.contains(&place.pack) {
            self.adopted.insert(place.pack);
        }
    }

    fn flush_content(&mut self) -> Result<()> {
        let frame = std::mem::take(&mut self.content);
        if !frame.is_empty() {
            self.pipeline.push(FrameKind::Content, frame)?;
        }
        self.take_placed()
    }

    fn flush_sections(&mut self) -> Result<()> {
        let frame = std::mem::take(&mut self.sections);
        if !frame.is_empty() {
            self.pipeline.push(FrameKind::Sections, frame)?;
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
                let count = len32(pack.directory.ids.len());
                let first =
                    self.spans.last().map_or(0, |(first, count, _)| first + u64::from(*count));
                self.spans.push((first, count, pack.directory_id));
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
        self.flush_content()?;
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
        let (low, high) = named.own.unwrap_or((0, 0));
        for (first, count, directory) in &self.spans {
            let end = first + u64::from(*count);
            if *first < high && low < end {
                let directory = add_directory(&mut names, *directory);
                names.spans.push(Span {
                    virtual_first: *first,
                    directory,
                    first: 0,
                    count: *count,
                });
            }
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
