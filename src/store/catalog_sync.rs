//! Keeps the catalog true to packs and records.
//!
//! On opening, one listing of the record names tells what is new and what is
//! gone. New records are replayed, which reads the tables of the packs that they
//! name. Anything gone, foreign or unreadable makes the catalog start again from
//! nothing: there is one way to build it. Assumes that records and packs are
//! never changed; guarantees that the catalog names only packs that were there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::layout::{self, Layout};
use super::record::{Revision, SaveRecord};
use super::{Notice, OpenOptions, Result, Store, StoreError};
use crate::catalog::{Catalog, CatalogError, Found, Place, ReferenceRow, RevisionRow};
use crate::chunk::recipe::Recipe;
use crate::digest::{Digest, Id};
use crate::fs::{self, Disk, Fs};
use crate::pack::format::FrameKind;
use crate::pack::reader::{PackError, PackReader};
use crate::varint::in_memory;

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

/// A damaged file is replaced by a new one.
fn open_at(path: &Path, store: &str) -> std::result::Result<(Catalog, Found), CatalogError> {
    match Catalog::open(path, store) {
        Err(error) if error.is_damage() => {
            for suffix in ["", "-wal", "-shm"] {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                // What can't be removed shows when it is opened.
                drop(Disk.remove_file(&PathBuf::from(name)));
            }
            let (catalog, _) = Catalog::open(path, store)?;
            Ok((catalog, Found::Foreign))
        }
        result => result,
    }
}

impl Store {
    /// Replays what the catalog doesn't know yet.
    pub(super) fn bring_up_to_date(&mut self, found: Found) -> Result<()> {
        let on_disk = self.list(&self.layout.records(), "json")?;
        let known = self.catalog.records()?;
        let reason = match found {
            Found::Foreign => Some("it was damaged, or not this store's"),
            Found::Nothing if !on_disk.is_empty() => Some("it was missing"),
            _ if !known.is_subset(&on_disk) => Some("records are gone that it knew"),
            _ => None,
        };
        if let Some(reason) = reason {
            return self.rebuild(reason, &on_disk);
        }
        self.replay_all(on_disk.difference(&known).copied().collect())
    }

    /// Throws the catalog away and builds it again from packs and records.
    pub fn reindex(&mut self) -> Result<()> {
        let on_disk = self.list(&self.layout.records(), "json")?;
        self.rebuild("it was asked for", &on_disk)
    }

    fn rebuild(&mut self, reason: &'static str, records: &HashSet<Id>) -> Result<()> {
        self.catalog.clear(&self.header.store)?;
        self.file_maps = super::FileMaps::default();
        self.replay_all(records.iter().copied().collect())?;
        self.notices.push(Notice::CatalogRebuilt { reason, records: records.len() });
        Ok(())
    }

    /// Takes in packs without a record, and forgets those that are gone: what a
    /// writer must know before it refers to any.
    pub(super) fn adopt_packs(&mut self) -> Result<()> {
        let on_disk = self.list(&self.layout.packs(), "pack")?;
        let known: HashSet<Id> = self.catalog.packs()?.iter().map(|row| row.id).collect();
        if !known.is_subset(&on_disk) {
            let records = self.list(&self.layout.records(), "json")?;
            self.rebuild("packs are gone that it knew", &records)?;
        }
        for id in on_disk.difference(&known) {
            self.index_or_notice(*id)?;
        }
        Ok(())
    }

    /// The ids in the file names of a fanned-out folder.
    fn list(&self, folder: &Path, extension: &str) -> Result<HashSet<Id>> {
        let mut ids = HashSet::new();
        // Copying tools may leave out a folder that is empty.
        if !self.fs.exists(folder) {
            return Ok(ids);
        }
        for part in self.fs.list(folder)?.iter().filter(|name| name.len() == 2) {
            let names = self.fs.list(&folder.join(part))?;
            ids.extend(names.iter().filter_map(|name| layout::id_in(name, extension)));
        }
        Ok(ids)
    }

    /// Adds records, and the packs that they name, in their order.
    fn replay_all(&mut self, ids: Vec<Id>) -> Result<()> {
        let mut records = Vec::new();
        for id in ids {
            let path = self.layout.record(id);
            match SaveRecord::read(&*self.fs, &path, id) {
                // Another process removed it since it was listed.
                Err(StoreError::Fs(error)) if error.is_missing() => {}
                record => records.push((id, record?)),
            }
        }
        records.sort_by_key(|(id, record)| (record.saved_at, record.sequence, *id));
        for (id, record) in records {
            for pack in &record.packs {
                self.index_or_notice(*pack)?;
            }
            self.apply(id, &record)?;
        }
        Ok(())
    }

    /// Adds a record whose packs are in the catalog.
    pub(super) fn apply(&self, id: Id, record: &SaveRecord) -> Result<()> {
        let revisions: Vec<_> = (0..)
            .zip(&record.revisions)
            .map(|(position, revision)| rows(id, record, position, revision))
            .collect();
        self.catalog.atomically(|| {
            for pack in &record.packs {
                self.catalog.mark_recorded(*pack)?;
            }
            self.catalog.add_record((id, record.saved_at, record.sequence), &revisions)?;
            Ok::<(), StoreError>(())
        })?;
        self.note_paths(&self.recipes_in(&record.packs)?)
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

    fn index_or_notice(&mut self, pack: Id) -> Result<()> {
        match self.index(pack) {
            Err(StoreError::Pack(error)) => {
                let reason = match &error {
                    PackError::Fs(error) if error.is_missing() => "it is missing".to_owned(),
                    error => error.to_string(),
                };
                self.notices.push(Notice::PackUnreadable { pack, reason });
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
        let blobs = blobs_in(&pack)?;
        let size = pack.size();
        let directory = (pack.directory_id(), pack.directory().ids.as_slice());
        self.catalog.atomically(|| {
            self.catalog.add_pack((id, pack.kind().code(), size), directory, &blobs)?;
            Ok(())
        })
    }
}

/// Digest, size and position of each recipe in a pack.
fn blobs_in(pack: &PackReader) -> Result<Vec<(Digest, u64, u32)>> {
    let mut blobs = Vec::new();
    for (number, entry) in pack.frames().iter().enumerate() {
        if entry.kind != FrameKind::Recipes {
            continue;
        }
        // Recipes are never compressed against others.
        let none = |_: &_| Err(StoreError::Inconsistent("a recipe with a base"));
        let raw = pack.frame(number, none)?;
        let mut rest = raw.as_slice();
        for position in entry.first..entry.first + entry.count {
            let length = in_memory(pack.directory().lengths[in_memory(position)]);
            let (chunk, later) = rest.split_at(length.min(rest.len()));
            rest = later;
            // A recipe of a kind that we don't know is of use to others.
            if let Ok(recipe) = Recipe::decode(chunk) {
                blobs.push((recipe.digest, recipe.size, position));
            }
        }
    }
    Ok(blobs)
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
        platform: revision.platform.to_string(),
        created: revision.created.clone(),
        layers: revision.layers,
        size: revision.size,
        added: revision.added,
    };
    let references = revision.references.iter().filter_map(|reference| {
        let (repository, tag) = reference.rsplit_once(':')?;
        Some(ReferenceRow { repository: repository.to_owned(), tag: tag.to_owned() })
    });
    (row, references.collect())
}
