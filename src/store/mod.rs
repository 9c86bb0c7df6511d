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
mod decoder;
mod error;
mod file_map;
mod filling;
mod header;
mod layer_writer;
mod layout;
mod packs;
pub mod record;
mod session;
pub mod usage;
mod workspace;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::StoreError;
pub use header::StoreHeader;
pub use session::{Stored, WriteSession};

use crate::catalog::{BlobRow, Catalog};
use crate::codec::Levels;
use crate::digest::{Digest, Id};
use crate::fs::{self, Fs};
use crate::pack::reader::PackReader;
use decoder::Decoder;
use layout::Layout;
use packs::FileMaps;

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
    /// The clock is behind the newest record.
    ClockBehind,
}

/// How to open a store.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Where the catalog goes if the store itself can't hold it.
    pub cache: Option<PathBuf>,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    fs: Arc<dyn Fs>,
    layout: Layout,
    header: StoreHeader,
    catalog: Catalog,
    decoder: Arc<Decoder>,
    file_maps: FileMaps,
    notices: Vec<Notice>,
}

impl Store {
    /// Whether there is a store at `root`.
    pub fn exists(fs: &dyn Fs, root: &Path) -> bool {
        fs.exists(&Layout::new(root).header())
    }

    /// Makes a store at `root`, whose folder may exist if it is empty.
    pub fn create(fs: &dyn Fs, root: &Path, program: &str) -> Result<StoreHeader> {
        let layout = Layout::new(root);
        if fs.exists(&layout.header()) {
            return Err(StoreError::AlreadyExists { root: root.to_owned() });
        }
        // A save that was killed while it made the store leaves nothing else.
        let strangers = fs.exists(root)
            && fs.list(root)?.iter().any(|name| !layout::FOLDERS.contains(&name.as_str()));
        if strangers {
            return Err(StoreError::NotEmpty { root: root.to_owned() });
        }
        for folder in layout.folders() {
            fs::create_dir_all(fs, &folder)?;
        }
        let header = StoreHeader::new(fs::random_name(32)?, program);
        let part = layout.tmp().join(format!("{}.json", fs::random_name(8)?));
        let mut file = fs.create(&part)?;
        file.write_all(&header.encode())?;
        file.sync()?;
        drop(file);
        fs::publish(fs, &part, &layout.header())?;
        Ok(header)
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
            file_maps: FileMaps::default(),
            notices: Vec::new(),
        };
        store.bring_up_to_date(found)?;
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

    /// What a user should know of, once.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The size of a blob that the store can rebuild.
    pub fn blob(&self, digest: Digest) -> Result<Option<BlobRow>> {
        Ok(self.catalog.blob(digest)?)
    }

    /// Starts to add to the store.
    pub fn begin(&mut self, levels: Levels) -> Result<WriteSession<'_>> {
        for folder in self.layout.folders() {
            fs::create_dir_all(&*self.fs, &folder)?;
        }
        self.adopt_packs()?;
        WriteSession::begin(self, levels)
    }

    /// A pack, open.
    fn pack(&self, id: Id) -> Result<Arc<PackReader>> {
        self.decoder.pack(id)
    }
}
