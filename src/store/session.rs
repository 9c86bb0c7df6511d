//! A write session: the only way to add to a store.
//!
//! Blobs are put in one by one; chunks that the store has are named, others go
//! through the pack pipeline. Nothing of it exists for a reader until
//! [`WriteSession::commit`] has written the record, after all packs that it
//! names are durable. Dropping a session leaves at most whole packs without a
//! record, which later sessions use. Deliberately doesn't know what blobs mean.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::filling::{Filling, Named};
use super::layer_writer::{Keeping, LayerWriter};
use super::prepared::check_chain;
use super::workspace::Workspace;
use super::{Result, Store, StoreError};
use crate::catalog::Place;
use crate::chunk::recipe::{Body, INLINE_MAX, REPLAY_MAX};
use crate::codec::{Compression, Levels};
use crate::digest::{Digest, DigestHasher, Id};
use crate::gzip::Replay;
use crate::layer::split::{Sink, Splitter};
use crate::pack::format::PackFeatures;
use crate::pack::frame::FindBase;
use crate::pack::pipeline::{Pipeline, PipelineError, Places};
use crate::varint::Malformed;

/// Bytes that are read from an input at a time.
const READ: usize = 256 << 10;
/// How many of these wait to be taken apart.
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

/// A blob whose recipe can't be written yet.
#[derive(Debug)]
pub(super) enum Pending {
    Bytes(Vec<u8>),
    Chunks(Named),
    Tar(Named),
    Encode { of: Digest, replay: Vec<u8> },
    Decode { of: Digest, compression: Compression, sections: Vec<Id> },
}

impl Pending {
    /// The blob that this one is made from.
    fn stands_on(&self) -> Option<Digest> {
        match self {
            Self::Encode { of, .. } | Self::Decode { of, .. } => Some(*of),
            Self::Bytes(_) | Self::Chunks(_) | Self::Tar(_) => None,
        }
    }
}

/// Adds to a store.
#[derive(Debug)]
pub struct WriteSession<'s> {
    pub(super) store: &'s mut Store,
    // Before the workspace, so that its threads end before the folder goes.
    pub(super) pipeline: Pipeline,
    pub(super) workspace: Workspace,
    pub(super) content: Vec<Filling>,
    pub(super) sections: Filling,
    /// Chunks of packs that aren't in place yet: frame and index.
    pub(super) waiting: HashMap<Id, (u64, u32)>,
    /// The chunk of the catalog that was found last.
    pub(super) last_known: Option<Place>,
    pub(super) next_frame: u64,
    /// Data frames on their way, in their order.
    pub(super) pushed: VecDeque<u64>,
    /// Own data frames in place: directory, position of the first chunk, count.
    pub(super) placed: HashMap<u64, (Id, u32, u32)>,
    pub(super) blobs: HashMap<Digest, u64>,
    pub(super) pending: Vec<(Digest, u64, Pending)>,
    pub(super) packs: Vec<Id>,
    pub(super) packs_bytes: u64,
    /// Packs without a record that were there and are named now.
    pub(super) adopted: BTreeSet<Id>,
}

impl<'s> WriteSession<'s> {
    pub(super) fn begin(store: &'s mut Store, levels: Levels, workspace: Workspace) -> Self {
        let layout = store.layout.clone();
        let places = Places {
            folder: workspace.path().to_owned(),
            features: PackFeatures {
                generation: workspace.generation.apart(),
                ..PackFeatures::default()
            },
            target: Box::new(move |id| layout.pack(id)),
        };
        let decoder = Arc::clone(&store.decoder);
        let find_base: Arc<FindBase> = Arc::new(move |runs| decoder.base_bytes(runs).ok());
        let pipeline =
            Pipeline::start(Arc::clone(&store.fs), places, levels, &find_base, store.threads);
        Self {
            store,
            pipeline,
            workspace,
            content: Vec::new(),
            sections: Filling::default(),
            waiting: HashMap::new(),
            last_known: None,
            next_frame: 1,
            pushed: VecDeque::new(),
            placed: HashMap::new(),
            blobs: HashMap::new(),
            pending: Vec::new(),
            packs: Vec::new(),
            packs_bytes: 0,
            adopted: BTreeSet::new(),
        }
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
        let Some((row, packs)) = self.store.blob_in(digest)? else { return Ok(None) };
        if !self.store.blob_stays(digest)? {
            return Ok(None);
        }
        for pack in packs {
            let recorded = self.store.catalog.pack(pack)?.is_some_and(|row| row.recorded);
            self.refer(pack, recorded);
        }
        self.blobs.insert(digest, row.size);
        Ok(Some(row.size))
    }

    /// The blob that compressing makes this one, which the store has or will have;
    /// `None` where it is kept as it is.
    pub fn content_of(&self, digest: Digest) -> Result<Option<Digest>> {
        for (pending, _, body) in &self.pending {
            if let (true, Pending::Encode { of, .. }) = (*pending == digest, body) {
                return Ok(Some(*of));
            }
        }
        match self.store.recipe(digest) {
            Ok(recipe) => Ok(match recipe.body {
                Body::Encode { of, .. } => Some(of),
                _ => None,
            }),
            Err(StoreError::NoBlob { .. }) => Ok(None),
            Err(error) => Err(error),
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
            let mut writer = LayerWriter::new(self, Keeping::Content);
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
    pub fn put_layer(&mut self, input: &mut (dyn Read + Send)) -> Result<Stored> {
        let (digest, size, (named, new)) = self.take_in(input, Keeping::Content)?;
        self.add(digest, size, new, || Pending::Tar(named))
    }

    /// Puts a blob that is compressed already, or nothing that could be taken
    /// apart, reading it to its end.
    pub fn put_opaque(&mut self, input: &mut (dyn Read + Send)) -> Result<Stored> {
        let (digest, size, (named, new)) = self.take_in(input, Keeping::Opaque)?;
        self.add(digest, size, new, || Pending::Chunks(named))
    }

    /// Puts a blob that is what compressing another makes, which must be in the
    /// store or in this session. That it is was proven by the caller.
    pub fn put_encoded(
        &mut self,
        digest: Digest,
        size: u64,
        of: Digest,
        replay: &Replay,
    ) -> Result<Stored> {
        if self.blob(digest)?.is_some() {
            return Ok(Stored { digest, size, new: 0, known: true });
        }
        let malformed = |source| StoreError::Recipe { digest, source };
        if self.below(digest, of)? != replay.content_length() {
            let what = "its content has another length than what it compresses";
            return Err(malformed(Malformed::Other(what)));
        }
        let replay = replay.to_bytes();
        if replay.len() > REPLAY_MAX {
            let limit = REPLAY_MAX as u64;
            return Err(malformed(Malformed::OverLimit { what: "the length of a replay", limit }));
        }
        let new = replay.len() as u64;
        self.add(digest, size, new, || Pending::Encode { of, replay })
    }

    /// Puts what decompressing another blob makes, which must be in the store or
    /// in this session: reads it to its end, and keeps no more than its framing.
    pub fn index_compressed(
        &mut self,
        input: &mut (dyn Read + Send),
        of: Digest,
        compression: Compression,
    ) -> Result<Stored> {
        let (digest, size, (named, _)) = self.take_in(input, Keeping::Framing)?;
        if self.blob(digest)?.is_none() {
            self.below(digest, of)?;
        }
        let sections = named.sections;
        self.add(digest, size, 0, || Pending::Decode { of, compression, sections })
    }

    /// Adds a blob that was read. One that is known is added as well where the
    /// store got new bytes for it: it needn't be decompressed any more.
    fn add(
        &mut self,
        digest: Digest,
        size: u64,
        new: u64,
        pending: impl FnOnce() -> Pending,
    ) -> Result<Stored> {
        let known = self.blob(digest)?.is_some();
        if !known || new > 0 {
            self.blobs.insert(digest, size);
            self.pending.push((digest, size, pending()));
        }
        Ok(Stored { digest, size, new, known })
    }

    /// The size of what a blob is to stand on.
    fn below(&mut self, digest: Digest, of: Digest) -> Result<u64> {
        let size = self.blob(of)?.ok_or(StoreError::NoBlob { digest: of })?;
        let (mut above, mut next) = (vec![digest], Some(of));
        while let Some(below) = next {
            check_chain(&above, below)?;
            above.push(below);
            let pending = self.pending.iter().rev().find(|(digest, _, _)| *digest == below);
            next = match pending {
                Some((_, _, pending)) => pending.stands_on(),
                None => self.store.recipe(below)?.body.stands_on(),
            };
        }
        Ok(size)
    }

    /// Reads an input to its end, and keeps this of it. Returns its digest and
    /// size, what it names, and how much of it was new.
    fn take_in(
        &mut self,
        input: &mut (dyn Read + Send),
        keeping: Keeping,
    ) -> Result<(Digest, u64, (Named, u64))> {
        let (pieces, queue) = sync_channel(PIECES);
        thread::scope(|scope| {
            let reading = scope.spawn(move || read_and_hash(input, &pieces));
            let taken = self.take_apart(queue, keeping)?;
            let digest = reading.join().map_err(|_| StoreError::Pipeline(PipelineError::Died))?;
            Ok((digest, taken.0, taken.1))
        })
    }

    /// Takes the pieces of an input apart. Returns its size, what it names, and
    /// how much of it was new.
    fn take_apart(
        &mut self,
        pieces: Receiver<io::Result<Arc<Vec<u8>>>>,
        keeping: Keeping,
    ) -> Result<(u64, (Named, u64))> {
        let mut size = 0;
        let mut writer = LayerWriter::new(self, keeping);
        let mut splitter = (keeping != Keeping::Opaque).then(Splitter::default);
        if splitter.is_none() {
            writer.begin(None)?;
        }
        for piece in pieces {
            let piece = piece.map_err(StoreError::Input)?;
            match &mut splitter {
                Some(splitter) => splitter.push(&piece, &mut writer)?,
                None => writer.content(&piece)?,
            }
            size += piece.len() as u64;
        }
        match splitter {
            Some(splitter) => drop(splitter.finish(&mut writer)?),
            None => writer.end()?,
        }
        Ok((size, writer.finish()?))
    }

    /// Forgets blobs that were put and that nothing needs after all: neither one
    /// of these, nor what one of these stands on.
    pub fn keep_only(&mut self, digests: &HashSet<Digest>) {
        let mut kept = digests.clone();
        // What a blob stands on was put before it.
        for (digest, _, pending) in self.pending.iter().rev() {
            if kept.contains(digest) {
                kept.extend(pending.stands_on());
            }
        }
        self.blobs.retain(|digest, _| kept.contains(digest));
        self.pending.retain(|(digest, _, _)| kept.contains(digest));
    }
}

/// Reads an input, passes on its pieces, and hashes them: on a thread of its own,
/// since taking them apart is as much work as the two together. Ends early with
/// an error, which it passes on, or where the other end has gone.
fn read_and_hash(
    input: &mut (dyn Read + Send),
    pieces: &SyncSender<io::Result<Arc<Vec<u8>>>>,
) -> Digest {
    let mut hasher = DigestHasher::default();
    let mut spare: VecDeque<Arc<Vec<u8>>> = VecDeque::new();
    loop {
        // All in the queue, and the one that is taken apart, come after it.
        let oldest = if spare.len() > PIECES + 1 { spare.pop_front() } else { None };
        let mut piece = oldest.and_then(Arc::into_inner).unwrap_or_default();
        piece.resize(READ, 0);
        let piece = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                piece.truncate(count);
                Arc::new(piece)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                drop(pieces.send(Err(error)));
                break;
            }
        };
        if pieces.send(Ok(Arc::clone(&piece))).is_err() {
            break;
        }
        hasher.update(&piece);
        spare.push_back(piece);
    }
    hasher.finish()
}
