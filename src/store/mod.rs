//! The store as a whole: one root folder with packs, records and a catalog.
//!
//! [`Store`] opens or makes one and reads from it; [`WriteSession`] is the only
//! way to add to it, and fixes the order of writing (docs/FORMAT.md section 10).
//! It guarantees that what it gives back has the digest that was asked for, or
//! fails. It knows blobs, records and names; it deliberately knows nothing of
//! image archives, terminals or clocks.

mod ahead;
mod bases;
mod blob;
mod cache;
mod catalog_sync;
mod commit;
mod content;
mod decoder;
mod error;
mod file_map;
mod filling;
mod header;
mod layer_writer;
mod layout;
mod marks;
pub mod optimize;
mod packs;
mod plan;
mod prepared;
pub mod record;
mod recording;
mod reencode;
mod session;
mod spool;
pub mod state;
pub mod usage;
mod workspace;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

pub use error::StoreError;
pub use header::StoreHeader;
pub use session::{Stored, WriteSession};
pub use spool::{Spool, SpoolReader};

use crate::catalog::{BlobRow, Catalog};
use crate::codec::Levels;
use crate::digest::{Digest, Id};
use crate::fs::{self, Fs, Lock};
use crate::pack::reader::PackReader;
use decoder::Decoder;
use layout::Layout;
use packs::FileMaps;
use prepared::{Directories, check_chain};
use record::{ActionRecord, Record, SaveRecord};
use reencode::Reencoding;

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Something that a user should know of, though it is no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The store was made.
    Created(PathBuf),
    /// The catalog was rebuilt from so many records.
    CatalogRebuilt {
        /// Why.
        reason: &'static str,
        /// From how many records.
        records: usize,
    },
    /// A pack that a record names is missing or damaged.
    PackUnreadable {
        /// The pack.
        pack: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// A record can't be read: its revisions are missing.
    RecordUnreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The clock is behind the newest record.
    ClockBehind,
    /// The catalog could not be written, and will be when it is opened next.
    CatalogBehind,
}

/// How to open a store.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Where the catalog goes if the store itself can't hold it.
    pub cache: Option<PathBuf>,
    /// How many threads do work beside the caller's: 0, so that all file access
    /// comes in one order; `None`, as many as are worth it on this machine.
    pub threads: Option<usize>,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    fs: Arc<dyn Fs>,
    layout: Layout,
    header: StoreHeader,
    catalog: Catalog,
    threads: usize,
    decoder: Arc<Decoder>,
    file_maps: FileMaps,
    /// Whether packs can be used, with all that they stand on.
    sound: RefCell<HashMap<Id, bool>>,
    /// Which pack has which directory, as the catalog says; `None` where that may
    /// have changed.
    directories: RefCell<Option<Arc<Directories>>>,
    /// The blobs that are being read in an order that was told before.
    ahead: RefCell<Option<Arc<Reencoding>>>,
    notices: Vec<Notice>,
    records_unreadable: usize,
}

impl Store {
    /// Whether there is a store at `root`.
    pub fn exists(fs: &dyn Fs, root: &Path) -> bool {
        fs.exists(&Layout::new(root).header())
    }

    /// Makes a store at `root`, whose folder may exist if it is empty.
    pub fn create(fs: &dyn Fs, root: &Path, program: &str) -> Result<StoreHeader> {
        let layout = Layout::new(root);
        let exists = || StoreError::AlreadyExists { root: root.to_owned() };
        if holds_other_things(fs, &layout)? {
            // Another process may have made it since we looked.
            if fs.exists(&layout.header()) {
                return Err(exists());
            }
            return Err(StoreError::NotEmpty { root: root.to_owned() });
        }
        for folder in layout.folders() {
            fs::create_dir_all(fs, &folder)?;
        }
        // Of several that make it at once, one does, and the others find it.
        let Some(_lock) = lock_creation(fs, &layout)? else { return Err(exists()) };
        if fs.exists(&layout.header()) {
            return Err(exists());
        }
        let header = StoreHeader::new(fs.random_name(32)?, program);
        let part = layout.tmp().join(format!("{}.json", fs.random_name(8)?));
        let mut file = fs.create(&part)?;
        file.write_all(&header.encode())?;
        file.sync()?;
        drop(file);
        fs::publish(fs, &part, &layout.header())?;
        // Who waits for the lock finds the header, whatever file it locks.
        match fs.remove_file(&layout.creation()) {
            // The first writer has swept it away.
            Err(error) if !error.is_missing() => Err(error.into()),
            _ => Ok(header),
        }
    }

    /// Opens the store at `root` and brings its catalog up to date.
    pub fn open(fs: Arc<dyn Fs>, root: &Path, options: &OpenOptions) -> Result<Self> {
        let layout = Layout::new(root);
        if !fs.exists(&layout.header()) {
            return Err(StoreError::Missing { root: root.to_owned() });
        }
        let header = StoreHeader::read(&*fs, &layout.header())?;
        let (catalog, found) = catalog_sync::open(&layout, &header.store, options)?;
        let mut store = Self {
            decoder: Arc::new(Decoder::new(Arc::clone(&fs), layout.clone())),
            fs,
            layout,
            header,
            catalog,
            threads: options
                .threads
                .unwrap_or_else(|| available_parallelism().map_or(1, usize::from)),
            file_maps: FileMaps::default(),
            sound: RefCell::default(),
            directories: RefCell::default(),
            ahead: RefCell::default(),
            notices: Vec::new(),
            records_unreadable: 0,
        };
        match store.bring_up_to_date(found) {
            Err(StoreError::Catalog(error)) if error.is_damage() => {
                store.rebuild_damaged()?;
            }
            result => result?,
        }
        Ok(store)
    }

    /// Its root folder.
    pub fn root(&self) -> &Path {
        self.layout.root()
    }

    /// What its header says.
    pub fn header(&self) -> &StoreHeader {
        &self.header
    }

    /// What is where, for questions about images and names.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// How many threads may work beside the caller's.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The record of a save.
    pub fn record(&self, id: Id) -> Result<SaveRecord> {
        match Record::read(&*self.fs, &self.layout.record(id), id)? {
            Record::Save(save) => Ok(*save),
            Record::Action(_) => Err(StoreError::NoSave { record: id }),
        }
    }

    /// A record that is no save.
    pub fn action(&self, id: Id) -> Result<ActionRecord> {
        match Record::read(&*self.fs, &self.layout.record(id), id)? {
            Record::Save(_) => Err(StoreError::NoAction { record: id }),
            Record::Action(action) => Ok(action),
        }
    }

    /// Fails while garbage is being collected.
    pub fn check_not_collecting(&self) -> Result<()> {
        Ok(())
    }

    /// How many records can't be read, so that revisions may be missing.
    pub fn records_unreadable(&self) -> usize {
        self.records_unreadable
    }

    /// What a user should know of, once.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The size of a blob that the store can rebuild, from packs that records
    /// name, as far as that can be told without reading the content.
    pub fn blob(&self, digest: Digest) -> Result<Option<BlobRow>> {
        loop {
            let Some(row) = self.catalog.blob(digest)? else { return Ok(None) };
            match self.state_of(digest, row) {
                Ok(State::Whole) => return Ok(Some(row)),
                // Another pack may hold what this one has lost.
                Ok(State::Lost(pack)) => {
                    self.directories.take();
                    self.catalog.forget_packs(&[pack])?;
                }
                Ok(State::Unrecorded) => return Ok(None),
                Err(error) if error.is_damage() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens every pack that the recipes name of a blob and of what it stands on.
    fn state_of(&self, digest: Digest, row: BlobRow) -> Result<State> {
        let (mut above, mut next) = (Vec::new(), Some((digest, row)));
        while let Some((digest, row)) = next {
            check_chain(&above, digest)?;
            let mut packs = vec![row.recipe.pack];
            if let State::Whole = self.state_of_pack(row.recipe.pack)? {
                let body = self.recipe_at(digest, row.recipe)?.body;
                for directory in body.names().iter().flat_map(|names| &names.directories) {
                    packs.push(self.pack_of_directory(*directory)?);
                }
                for section in body.sections() {
                    let place = self.catalog.chunk(*section)?;
                    packs.push(place.ok_or(StoreError::NoChunk { id: *section })?.0.pack);
                }
                above.push(digest);
                next = match body.stands_on() {
                    None => None,
                    Some(of) => {
                        let row = self.catalog.blob(of)?;
                        Some((of, row.ok_or(StoreError::NoBlob { digest: of })?))
                    }
                };
            }
            for pack in packs {
                match self.state_of_pack(pack)? {
                    State::Whole => {}
                    state => return Ok(state),
                }
            }
        }
        Ok(State::Whole)
    }

    fn state_of_pack(&self, pack: Id) -> Result<State> {
        if !self.is_sound(pack)? {
            return Ok(State::Lost(pack));
        }
        let recorded = self.catalog.pack(pack)?.is_some_and(|row| row.recorded);
        Ok(if recorded { State::Whole } else { State::Unrecorded })
    }

    /// Starts to add to the store.
    pub fn begin(&mut self, levels: Levels) -> Result<WriteSession<'_>> {
        self.make_folders()?;
        self.adopt_packs()?;
        self.make_durable()?;
        WriteSession::begin(self, levels)
    }

    /// Makes the folders that aren't there: copying tools may leave out empty ones.
    fn make_folders(&self) -> Result<()> {
        for folder in self.layout.folders() {
            fs::create_dir_all(&*self.fs, &folder)?;
        }
        Ok(())
    }

    /// A pack, open.
    fn pack(&self, id: Id) -> Result<Arc<PackReader>> {
        self.decoder.pack(id)
    }
}

/// What packs hold a blob.
enum State {
    Whole,
    /// This one can't be opened.
    Lost(Id),
    /// One that no record names, so that a new one must.
    Unrecorded,
}

/// Whether the root has more in it than a save leaves that was killed while it
/// made the store.
fn holds_other_things(fs: &dyn Fs, layout: &Layout) -> Result<bool> {
    let names = if fs.exists(layout.root()) { fs.list(layout.root())? } else { Vec::new() };
    if names.iter().any(|name| !layout::FOLDERS.contains(&name.as_str())) {
        return Ok(true);
    }
    for folder in [layout.packs(), layout.records()] {
        if fs.exists(&folder) && !fs.list(&folder)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits for whoever makes the store at this moment; `None` where it was made,
/// and its first writer has swept the lock away.
fn lock_creation(fs: &dyn Fs, layout: &Layout) -> Result<Option<Box<dyn Lock>>> {
    let path = layout.creation();
    match fs.create(&path) {
        Err(error) if error.source.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error.into());
        }
        _ => {}
    }
    match fs.lock(&path) {
        Err(error) if error.is_missing() => Ok(None),
        lock => Ok(Some(lock?)),
    }
}

#[cfg(test)]
mod tests;
