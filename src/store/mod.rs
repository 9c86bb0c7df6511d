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
pub mod gc;
mod generation;
mod header;
mod homes;
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
mod removal;
mod session;
mod spool;
pub mod state;
pub mod usage;
mod workspace;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

pub use error::StoreError;
pub use header::StoreHeader;
pub use session::{Stored, WriteSession};
pub use spool::{Spool, SpoolReader};

use crate::catalog::{BlobRow, Catalog, Found};
use crate::codec::Levels;
use crate::digest::{Digest, Id};
use crate::fs::{self, Fs, Lock};
use crate::pack::reader::PackReader;
use decoder::{Decoder, FrameKey};
use generation::Generation;
use homes::{Home, Homes};
use layout::Layout;
use packs::FileMaps;
use prepared::check_chain;
use record::{ActionRecord, Record, SaveRecord};
use reencode::Reencoding;
use workspace::Workspace;

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
    /// Whether what is there stays as long as the store is open, whatever others
    /// remove: for whoever reads packs. Who writes is safe in any case.
    pub hold: bool,
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
    /// Whether frames can be decoded, that stand on others.
    sound: RefCell<HashMap<FrameKey, bool>>,
    /// Whether frames that stand on others can go on doing so, whatever goes.
    lasting: RefCell<HashMap<FrameKey, bool>>,
    /// Whether all is there that the frames of packs stand on.
    whole: RefCell<HashMap<Id, bool>>,
    /// Where the chunks of directories are, as the catalog says; `None` where that
    /// may have changed.
    homes: RefCell<Option<Arc<Homes>>>,
    /// Packs that are about to be removed, unless it turns out that they are needed.
    doomed: HashSet<Id>,
    /// The blobs that are being read in an order that was told before.
    ahead: RefCell<Option<Arc<Reencoding>>>,
    notices: Vec<Notice>,
    records_unreadable: usize,
    /// Whether the root and its name are known to be durable.
    root_durable: bool,
    /// Says that this process reads, so that what it may need stays.
    hold: Option<Workspace>,
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
            lasting: RefCell::default(),
            whole: RefCell::default(),
            homes: RefCell::default(),
            doomed: HashSet::new(),
            ahead: RefCell::default(),
            notices: Vec::new(),
            records_unreadable: 0,
            root_durable: false,
            hold: None,
        };
        if options.hold {
            store.hold();
        } else if let Ok(generation) = Generation::current(&*store.fs, &store.layout) {
            store.doom(&generation);
        }
        match store.bring_up_to_date(found) {
            Err(StoreError::Catalog(error)) if error.is_damage() => {
                store.rebuild_damaged()?;
            }
            result => result?,
        }
        Ok(store)
    }

    /// Keeps what is there from being removed while this process lives. Where
    /// nothing can be written (a medium that is read-only, or full) reading is worth
    /// more than that.
    fn hold(&mut self) {
        let made = fs::create_dir_all(&*self.fs, &self.layout.tmp());
        let hold = made.map_err(StoreError::from);
        let hold = hold.and_then(|()| Workspace::for_reader(&self.fs, &self.layout));
        if let Ok(hold) = hold {
            self.doom(&hold.generation);
            self.hold = Some(hold);
        }
    }

    /// Takes packs that are about to be removed from here on only where nothing else
    /// has what is asked for, and builds nothing upon them.
    fn doom(&mut self, generation: &Generation) {
        let doomed: HashSet<Id> = generation.doomed.keys().copied().collect();
        if doomed != self.doomed {
            self.doomed = doomed;
            self.forget_places();
        }
    }

    /// Forgets where things are: that may have changed.
    fn forget_places(&mut self) {
        self.file_maps = FileMaps::default();
        self.sound.borrow_mut().clear();
        self.lasting.borrow_mut().clear();
        self.whole.borrow_mut().clear();
        self.homes.take();
        self.decoder.forget_bases();
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

    /// Keeps garbage from being collected as long as what this returns lives.
    pub fn keep_garbage(&mut self) -> Result<Box<dyn Lock>> {
        self.check_write()?;
        self.make_folders()?;
        let lock = generation::lock(&*self.fs, &self.layout)?;
        let lock = lock.ok_or(StoreError::Locked { what: "keep what was removed" })?;
        self.bring_up_to_date(Found::Usable)?;
        Ok(lock)
    }

    /// Takes in what others did since it was opened.
    pub fn refresh(&mut self) -> Result<()> {
        self.bring_up_to_date(Found::Usable)
    }

    /// How many records can't be read, so that revisions may be missing.
    pub fn records_unreadable(&self) -> usize {
        self.records_unreadable
    }

    /// What a user should know of, once.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The size of a blob that the store can rebuild, as far as that can be told
    /// without reading the content.
    pub fn blob(&self, digest: Digest) -> Result<Option<BlobRow>> {
        Ok(self.blob_in(digest)?.map(|(row, _)| row))
    }

    /// The same, with all packs that it is in.
    fn blob_in(&self, digest: Digest) -> Result<Option<(BlobRow, Vec<Id>)>> {
        loop {
            let Some(row) = self.blob_row(digest)? else { return Ok(None) };
            match self.state_of(digest, row) {
                Ok(State::Whole { packs }) => return Ok(Some((row, packs))),
                // Another pack may hold what this one has lost.
                Ok(State::Lost(pack)) => {
                    self.homes.take();
                    self.catalog.forget_packs(&[pack])?;
                }
                Err(error) if error.is_damage() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens every pack that the recipes name of a blob and of what it stands on.
    fn state_of(&self, digest: Digest, row: BlobRow) -> Result<State> {
        let mut all = Vec::new();
        let (mut above, mut next) = (Vec::new(), Some((digest, row)));
        while let Some((digest, row)) = next.take() {
            check_chain(&above, digest)?;
            if !self.is_sound(row.recipe)? {
                return Ok(State::Lost(row.recipe.pack));
            }
            let recipe = self.recipe_at(digest, row.recipe)?;
            let mut packs = vec![row.recipe.pack];
            let mut moved = false;
            for directory in recipe.body.names().iter().flat_map(|names| &names.directories) {
                let home = self.home(*directory)?;
                moved |= matches!(home, Home::Moved(_));
                packs.extend(home.packs());
            }
            // A recipe may be there still that nothing needed when its chunks went.
            if moved && !self.is_sound_throughout(&recipe)? {
                return Err(StoreError::NoBlob { digest });
            }
            for section in recipe.body.sections() {
                let place = self.find_chunk(*section)?;
                packs.push(place.ok_or(StoreError::NoChunk { id: *section })?.0.pack);
            }
            above.push(digest);
            if let Some(of) = recipe.body.stands_on() {
                next = Some((of, self.blob_row(of)?.ok_or(StoreError::NoBlob { digest: of })?));
            }
            let mut sound = None;
            for pack in packs {
                if !self.is_whole(pack)? {
                    // Perhaps only what nothing needs isn't.
                    let known = sound.map_or_else(|| self.is_sound_throughout(&recipe), Ok)?;
                    sound = Some(known);
                    if !known {
                        return Ok(State::Lost(pack));
                    }
                }
                all.push(pack);
            }
        }
        Ok(State::Whole { packs: all })
    }

    /// Starts to add to the store.
    pub fn begin(&mut self, levels: Levels) -> Result<WriteSession<'_>> {
        let workspace = self.begin_to_write()?;
        Ok(WriteSession::begin(self, levels, workspace))
    }

    /// Refuses to write where something has a feature that this program would have to
    /// know. All records that were there at the opening are looked at.
    fn check_write(&self) -> Result<()> {
        self.header.check_write()?;
        let unknown = self.catalog.forbids_writing()?;
        unknown
            .map_or(Ok(()), |feature| Err(header::unsupported("a record of the store", &feature)))
    }

    /// What each writer does first: from here on what it finds stays.
    fn begin_to_write(&mut self) -> Result<Workspace> {
        self.check_write()?;
        self.make_folders()?;
        let workspace = Workspace::create(&self.fs, &self.layout)?;
        self.doom(&workspace.generation);
        self.bring_up_to_date(Found::Usable)?;
        self.adopt_packs()?;
        self.make_durable()?;
        Ok(workspace)
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
    /// These, all of which can be opened.
    Whole { packs: Vec<Id> },
    /// This one can't be opened.
    Lost(Id),
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
