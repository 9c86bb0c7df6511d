//! Keeps the catalog true to packs and records.
//!
//! On opening, one listing of the record names tells what is new and what is
//! gone. New records are replayed, which reads the tables of the packs that they
//! name; those that are gone are forgotten. A catalog that is foreign, unreadable
//! or knows packs that shouldn't be gone starts again from nothing. Assumes that
//! records and packs are never changed; guarantees that the catalog names only
//! packs that were there, and says the same as one that was built anew.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::thread;

use super::layout::{self, Layout};
use super::marks::name_of;
use super::record::{Action, ActionRecord, Record, Revision, SaveRecord, Stamp};
use super::{Notice, OpenOptions, Result, Store, StoreError};
use crate::catalog::packs::{BlobIn, PieceIn};
use crate::catalog::{ActionRow, Catalog, CatalogError, Found, Place, ReferenceRow, RevisionRow};
use crate::chunk::recipe::Recipe;
use crate::digest::{Digest, Id};
use crate::fs::{self, Disk, Fs};
use crate::pack::directories;
use crate::pack::format::FrameKind;
use crate::pack::reader::{PackError, PackReader};
use crate::varint::in_memory;

/// How many threads list the folders of packs or records.
const LISTERS: usize = 4;
/// The least folders that are worth a thread.
const FOLDERS_MIN: usize = 32;

const DAMAGED: &str = "it was damaged, or not this store's";

/// A record that is damaged, of which the user was told.
struct Unreadable;

/// Opens the catalog in the store, or in the cache folder where the store can't
/// be written, or in memory.
pub(super) fn open(
    layout: &Layout,
    store: &str,
    options: &OpenOptions,
) -> Result<(Catalog, Found)> {
    if let Ok(opened) = open_at(&layout.catalog(), store) {
        return Ok(opened);
    }
    if let Some(cache) = &options.cache {
        let opened = fs::create_dir_all(&Disk, cache)
            .map_err(StoreError::from)
            .and_then(|()| Ok(open_at(&cache.join(format!("{store}.sqlite")), store)?));
        if let Ok(opened) = opened {
            return Ok(opened);
        }
    }
    Ok((Catalog::in_memory(store)?, Found::Nothing))
}

/// A damaged file is emptied; one that can't even be emptied is replaced.
fn open_at(path: &Path, store: &str) -> std::result::Result<(Catalog, Found), CatalogError> {
    // SQLite would let others read it; where this fails, so does what follows.
    drop(Disk.create(path));
    let damaged = |result: &std::result::Result<_, CatalogError>| matches!(result, Err(error) if error.is_damage());
    let mut opened = Catalog::open(path, store);
    if damaged(&opened) {
        opened = Catalog::open_emptied(path, store);
        if damaged(&opened) {
            for suffix in ["", "-wal", "-shm"] {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                // What can't be removed shows when it is opened.
                drop(Disk.remove_file(&PathBuf::from(name)));
            }
            drop(Disk.create(path));
            opened = Catalog::open(path, store);
        }
        return opened.map(|(catalog, _)| (catalog, Found::Foreign));
    }
    opened
}

impl Store {
    /// Replays what the catalog doesn't know yet.
    pub(super) fn bring_up_to_date(&mut self, found: Found) -> Result<()> {
        // In this order: what another process adds meanwhile is then on disk.
        let known = self.catalog.records()?;
        let on_disk = self.list(&self.layout.records(), "json")?;
        if on_disk.is_empty() && !self.root_durable {
            // Whoever made the store may have been killed before it was durable.
            self.fs.sync_dir(self.layout.root())?;
            fs::sync_parent(&*self.fs, self.layout.root())?;
            self.root_durable = true;
        }
        let reason = match found {
            Found::Foreign => Some(DAMAGED),
            Found::Nothing if !on_disk.is_empty() => Some("it was missing"),
            _ => None,
        };
        if let Some(reason) = reason {
            return self.rebuild(reason);
        }
        let mut notices = Vec::new();
        let gone = known.difference(&on_disk).copied().collect();
        let new = on_disk.difference(&known).copied();
        self.records_unreadable = self.replay_all(&gone, new, &mut notices)?;
        self.notices.append(&mut notices);
        Ok(())
    }

    /// Throws the catalog away and builds it again from packs and records.
    pub fn reindex(&mut self) -> Result<()> {
        match self.rebuild("it was asked for") {
            Err(StoreError::Catalog(error)) if error.is_damage() => self.rebuild_damaged(),
            result => result,
        }
    }

    /// Builds a catalog again whose file is damaged.
    pub(super) fn rebuild_damaged(&mut self) -> Result<()> {
        self.catalog.empty(&self.header.store)?;
        self.rebuild(DAMAGED)
    }

    fn rebuild(&mut self, reason: &'static str) -> Result<()> {
        self.forget_places();
        self.records_unreadable = 0;
        let mut notices = Vec::new();
        // At once, so that others see the old or the new state.
        let (listed, unreadable) = self.catalog.atomically(|| {
            self.catalog.clear(&self.header.store)?;
            // Whoever adds one now waits for us before the catalog has it.
            let records = self.list(&self.layout.records(), "json")?;
            let all = records.iter().copied();
            let unreadable = self.replay_all(&HashSet::new(), all, &mut notices)?;
            // A record may be lost, and others be built upon what it named.
            self.index_unrecorded(&mut notices)?;
            Ok::<_, StoreError>((records.len(), unreadable))
        })?;
        self.records_unreadable = unreadable;
        self.notices.append(&mut notices);
        let records = listed - unreadable;
        self.notices.push(Notice::CatalogRebuilt { reason, records });
        Ok(())
    }

    /// Makes durable what is about to be built or relied upon: whoever put it there
    /// may have been killed before it had.
    pub fn make_durable(&self) -> Result<()> {
        let records = self.catalog.records_not_durable()?;
        let packs = self.catalog.packs()?.into_iter().filter(|row| !row.recorded);
        let paths = packs.map(|row| self.layout.pack(row.id));
        let paths = paths.chain(records.iter().map(|id| self.layout.record(*id)));
        let folders: BTreeSet<_> = paths.filter_map(|it| it.parent().map(Path::to_owned)).collect();
        for folder in &folders {
            self.fs.sync_dir(folder)?;
        }
        Ok(self.catalog.mark_durable(&records)?)
    }

    /// Takes in packs without a record, and forgets those that are gone: what a
    /// writer must know before it refers to any.
    pub(super) fn adopt_packs(&mut self) -> Result<()> {
        let known: HashSet<Id> = self.catalog.packs()?.iter().map(|row| row.id).collect();
        let on_disk = self.list(&self.layout.packs(), "pack")?;
        let gone = known.difference(&on_disk).copied().collect();
        if !self.forget_gone(&gone)? {
            self.rebuild("packs are gone that it knew")?;
        }
        let mut notices = Vec::new();
        self.index_unrecorded(&mut notices)?;
        self.notices.append(&mut notices);
        Ok(())
    }

    /// Adds the packs to the catalog that it doesn't know.
    fn index_unrecorded(&self, notices: &mut Vec<Notice>) -> Result<()> {
        let known: HashSet<Id> = self.catalog.packs()?.iter().map(|row| row.id).collect();
        for id in self.list(&self.layout.packs(), "pack")?.difference(&known) {
            let told = |notice: &Notice| matches!(notice, Notice::PackUnreadable { pack, .. } if pack == id);
            if !notices.iter().any(told) {
                self.index_or_notice(*id, notices)?;
            }
        }
        Ok(())
    }

    /// The ids in the file names of a fanned-out folder.
    fn list(&self, folder: &Path, extension: &str) -> Result<HashSet<Id>> {
        let mut ids = HashSet::new();
        let mut parts = match self.fs.list(folder) {
            // Copying tools may leave out a folder that is empty. Of a folder that
            // can't be read nobody may think so.
            Err(error) if error.is_missing() => return Ok(ids),
            parts => parts?,
        };
        parts.retain(|name| name.len() == 2);
        let fs = &*self.fs;
        let list = |parts: &[String]| -> Result<Vec<Id>> {
            let mut found = Vec::new();
            for part in parts {
                let names = fs.list(&folder.join(part))?;
                found.extend(names.iter().filter_map(|name| layout::id_in(name, extension)));
            }
            Ok(found)
        };
        // To open a store of many records is to list them, and little else.
        let listers = self.threads.clamp(1, LISTERS);
        let share = parts.len().div_ceil(listers).max(FOLDERS_MIN);
        let listed: Vec<_> = thread::scope(|scope| {
            let mut shares = parts.chunks(share);
            let first = shares.next();
            let others: Vec<_> = shares.map(|share| scope.spawn(move || list(share))).collect();
            let first = first.map(list);
            let others = others.into_iter().map(|thread| {
                let died = |_| StoreError::Inconsistent("a thread that lists a folder");
                thread.join().map_err(died).flatten()
            });
            first.into_iter().chain(others).collect()
        });
        for found in listed {
            ids.extend(found?);
        }
        Ok(ids)
    }

    /// Forgets records that are gone, and adds others in their order, so that of two
    /// recipes of a blob the one that was written later counts. Returns how many
    /// can't be read.
    fn replay_all(
        &self,
        gone: &HashSet<Id>,
        ids: impl Iterator<Item = Id>,
        notices: &mut Vec<Notice>,
    ) -> Result<usize> {
        let mut readable = Vec::new();
        let mut unreadable = 0;
        for id in ids {
            match self.read_record(id, notices)? {
                Ok(record) => readable.extend(record.map(|record| (id, record))),
                Err(Unreadable) => unreadable += 1,
            }
        }
        readable.sort_by_key(|(id, record)| (record.stamp(), *id));
        let dropped = dropped(readable.iter().map(|(_, record)| record));
        self.catalog.atomically(|| {
            self.catalog.forget_records(gone)?;
            for (id, record) in &readable {
                self.replay(*id, record, &dropped, notices)?;
            }
            let newest = self.catalog.newest_action()?;
            let concerned = |(id, record): &(Id, Record)| {
                let Stamp { saved_at, sequence } = record.stamp();
                newest.is_some_and(|newest| (saved_at, sequence, *id) <= newest)
            };
            if !gone.is_empty() || readable.iter().any(concerned) {
                self.note_marks()?;
            }
            Ok(unreadable)
        })
    }

    /// Reads a record; none where another process removed it since it was listed.
    fn read_record(
        &self,
        id: Id,
        notices: &mut Vec<Notice>,
    ) -> Result<std::result::Result<Option<Record>, Unreadable>> {
        match Record::read(&*self.fs, &self.layout.record(id), id) {
            Err(StoreError::Fs(error)) if error.is_missing() => Ok(Ok(None)),
            // One bad record must not keep all others from being used.
            Err(error) if error.is_damage() => {
                notices.push(Notice::RecordUnreadable { reason: error.to_string() });
                Ok(Err(Unreadable))
            }
            record => Ok(Ok(Some(record?))),
        }
    }

    /// Adds one record, and the packs that it names, to the catalog. That one of
    /// those that were `dropped` is missing is no damage.
    fn replay(
        &self,
        id: Id,
        record: &Record,
        dropped: &HashSet<Id>,
        notices: &mut Vec<Notice>,
    ) -> Result<()> {
        for pack in record.packs() {
            if !dropped.contains(pack) || self.fs.exists(&self.layout.pack(*pack)) {
                self.index_or_notice(*pack, notices)?;
            }
        }
        self.add(id, record)?;
        match record {
            Record::Action(ActionRecord { action: Action::Repack(repack), .. }) => {
                self.forget_dropped(&repack.dropped)
            }
            _ => Ok(()),
        }
    }

    /// Adds a record that was written durably to the catalog.
    pub(super) fn apply(&self, id: Id, record: &Record) -> Result<()> {
        self.catalog.atomically(|| {
            self.add(id, record)?;
            if matches!(record, Record::Action(_)) {
                self.note_marks()?;
            }
            Ok(self.catalog.mark_durable(&[id])?)
        })
    }

    /// Adds a record to the catalog.
    fn add(&self, id: Id, record: &Record) -> Result<()> {
        let stamp = record.stamp();
        let order = (id, stamp.saved_at, stamp.sequence);
        self.catalog.atomically(|| {
            for pack in record.packs() {
                // Another process may have built the catalog again since we
                // indexed it. What is damaged was told to the user before.
                match self.index(*pack) {
                    Err(error) if error.is_damage() => {}
                    result => result?,
                }
                self.catalog.name_pack(*pack, id)?;
            }
            match record {
                Record::Save(save) => {
                    self.catalog.add_record(order, &revisions(id, save))?;
                    self.catalog.add_indexed(order, &indexed(save))?;
                    if let Some(feature) = save.forbids_writing() {
                        self.catalog.forbid_writing(id, feature)?;
                    }
                }
                Record::Action(action) => {
                    let (kind, body) = (action.action.kind().to_owned(), action.encode());
                    self.catalog.add_record(order, &[])?;
                    let row = ActionRow { record: id, kind, body };
                    self.catalog.add_action(&row, stamp.saved_at, stamp.sequence)?;
                }
            }
            Ok::<(), StoreError>(())
        })?;
        match self.note_paths(&self.recipes_in(record.packs())?) {
            // That costs bases, and nothing else.
            Err(error) if error.is_damage() => Ok(()),
            result => result,
        }
    }

    /// The recipes in those of these packs that can be read.
    fn recipes_in(&self, packs: &[Id]) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for id in packs {
            let pack = match self.pack(*id) {
                Err(error) if error.is_damage() => continue,
                pack => pack?,
            };
            for frame in pack.frames().iter().filter(|frame| frame.kind == FrameKind::Recipes) {
                let positions = frame.first..frame.first + frame.count;
                places.extend(positions.map(|position| Place { pack: *id, position }));
            }
        }
        Ok(places)
    }

    fn index_or_notice(&self, pack: Id, notices: &mut Vec<Notice>) -> Result<()> {
        match self.index(pack) {
            Err(StoreError::Pack(error)) => {
                let reason = match &error {
                    PackError::Fs(error) if error.is_missing() => "it is missing".to_owned(),
                    error => error.to_string(),
                };
                notices.push(Notice::PackUnreadable { pack, reason });
                Ok(())
            }
            result => result,
        }
    }

    /// Adds a pack in its place to the catalog.
    pub(super) fn index(&self, id: Id) -> Result<()> {
        if self.catalog.pack(id)?.is_some() {
            return Ok(());
        }
        let pack = self.pack(id)?;
        let (blobs, pieces) = named_in(&pack)?;
        let size = pack.size();
        let directory = (pack.directory_id(), pack.directory().ids.as_slice());
        // Others may stand on it.
        self.sound.borrow_mut().retain(|_, sound| *sound);
        self.lasting.borrow_mut().clear();
        self.decoder.forget_moved();
        // And where what it has was looked for, that is found anew.
        self.whole.borrow_mut().clear();
        self.homes.take();
        self.catalog.atomically(|| {
            self.catalog.add_pack((id, pack.kind().code(), size), directory, (&blobs, &pieces))?;
            Ok(())
        })
    }
}

/// What is in a pack by other names than ids: recipes, and kept directories.
fn named_in(pack: &PackReader) -> Result<(Vec<BlobIn>, Vec<PieceIn>)> {
    let (mut blobs, mut pieces) = (Vec::new(), Vec::new());
    for (number, entry) in pack.frames().iter().enumerate() {
        if !matches!(entry.kind, FrameKind::Recipes | FrameKind::Directories) {
            continue;
        }
        // These are never compressed against others.
        let none = |_: &_| Err(StoreError::Inconsistent("a recipe with a base"));
        let raw = pack.frame(number, none)?;
        let mut rest = raw.as_slice();
        for position in entry.first..entry.first + entry.count {
            let length = in_memory(pack.directory().lengths[in_memory(position)]);
            let (chunk, later) = rest.split_at(length.min(rest.len()));
            rest = later;
            if entry.kind == FrameKind::Directories {
                // A piece of a version that we don't know is of use to others.
                pieces.extend(directories::parse(chunk).ok().map(|it| (it.0, it.1, position)));
            } else if let Ok(recipe) = Recipe::decode(chunk) {
                // And so is a recipe of a kind that we don't know.
                blobs.push((recipe.digest, recipe.size, position));
            }
        }
    }
    Ok((blobs, pieces))
}

/// The packs that garbage collection dropped and that no later one of these
/// records, which are in order, names again.
fn dropped<'r>(records: impl Iterator<Item = &'r Record>) -> HashSet<Id> {
    let mut dropped = HashSet::new();
    for record in records {
        for pack in record.packs() {
            dropped.remove(pack);
        }
        if let Record::Action(ActionRecord { action: Action::Repack(repack), .. }) = record {
            dropped.extend(&repack.dropped);
        }
    }
    dropped
}

/// The revisions of a save, each with its names.
fn revisions(id: Id, save: &SaveRecord) -> Vec<(RevisionRow, Vec<ReferenceRow>)> {
    let revisions = (0..).zip(&save.revisions);
    revisions.map(|(position, revision)| rows(id, save, position, revision)).collect()
}

/// The images of index revisions: position, manifest and image ID.
fn indexed(record: &SaveRecord) -> Vec<(u32, Digest, Digest)> {
    let images = (0..).zip(&record.revisions).flat_map(|(position, revision)| {
        revision.images.iter().map(move |image| (position, image.manifest, image.image_id))
    });
    images.collect()
}

fn rows(
    id: Id,
    record: &SaveRecord,
    position: u32,
    revision: &Revision,
) -> (RevisionRow, Vec<ReferenceRow>) {
    let row = RevisionRow {
        record: id,
        position,
        saved_at: record.saved_at,
        sequence: record.sequence,
        root: revision.root.digest,
        root_type: revision.root.media_type.clone(),
        root_size: revision.root.size,
        image_id: revision.image_id,
        platform: revision.platforms(),
        created: revision.created.clone(),
        layers: revision.layers,
        size: revision.size,
        added: revision.added,
        pinned: false,
    };
    (row, revision.references.iter().filter_map(|reference| name_of(reference)).collect())
}
