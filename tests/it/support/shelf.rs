//! A store in a folder of its own, used through the library, and what is in it.
//!
//! The clock is a counter, so that every save is later than the one before. Knows
//! of the layout of a store only that the catalog is a cache.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop::fs::{Disk, Fs, open_input};
use orlop::image::Query;
use orlop::ops::export::{Export, ExportOptions, ExportOutcome, Form};
use orlop::ops::input::Input;
use orlop::ops::resolve::resolve;
use orlop::ops::save::{Original, SaveError, SaveOptions, SaveOutcome, save};
use orlop::store::{OpenOptions, Store};
use orlop::time::Time;

/// How an archive is handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A file that can seek.
    File,
    /// A stream.
    Stream,
    /// A stream of gzip, in two members.
    Gzip,
    /// A file of zstd, in two frames.
    Zstd,
}

/// A store.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: tempfile::TempDir,
    store: Store,
    clock: i64,
}

impl Shelf {
    /// An empty store.
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(Disk))
    }

    /// An empty store that is used through `fs`.
    pub(crate) fn on(fs: Arc<dyn Fs>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        Store::create(&Disk, &root, "test").unwrap();
        let store = Store::open(fs, &root, &OpenOptions::default()).unwrap();
        Self { folder, store, clock: 0 }
    }

    /// The store's root.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Saves an archive.
    pub(crate) fn save(&mut self, archive: &[u8], way: Way) -> Result<SaveOutcome, SaveError> {
        let half = archive.len() / 2;
        let bytes = match way {
            Way::File | Way::Stream => archive.to_vec(),
            Way::Gzip => [gzip(&archive[..half]), gzip(&archive[half..])].concat(),
            Way::Zstd => [zstd(&archive[..half]), zstd(&archive[half..])].concat(),
        };
        if matches!(way, Way::Stream | Way::Gzip) {
            let input = Input::from_stream("-".to_owned(), Cursor::new(bytes)).unwrap();
            return self.save_input(input);
        }
        let path = self.folder.path().join("input.tar");
        std::fs::write(&path, bytes).unwrap();
        self.save_file(&path)
    }

    /// Saves an archive that is a file.
    pub(crate) fn save_file(&mut self, path: &Path) -> Result<SaveOutcome, SaveError> {
        let file = open_input(path).unwrap();
        self.save_input(Input::from_file("input.tar".to_owned(), file).unwrap())
    }

    /// Saves what was opened.
    pub(crate) fn save_input(&mut self, input: Input) -> Result<SaveOutcome, SaveError> {
        self.save_with(input, Original::Keep)
    }

    /// The same, and says what is kept of the archive as a whole.
    pub(crate) fn save_with(
        &mut self,
        input: Input,
        original: Original,
    ) -> Result<SaveOutcome, SaveError> {
        self.clock += 1_000_000_000;
        let options = SaveOptions {
            tag: None,
            level: 3,
            now: Time::from_nanos(self.clock),
            now_as_given: false,
            program: "test",
            original,
        };
        save(&mut self.store, input, &options, &())
    }

    /// Writes an archive of the images that these queries mean.
    pub(crate) fn export_to(&self, queries: &[String], out: &mut dyn Write) -> ExportOutcome {
        let resolved: Vec<_> = queries
            .iter()
            .map(|text| resolve(&self.store, &Query::parse(text).unwrap(), &|_| None).unwrap())
            .collect();
        let options = ExportOptions::default();
        let export = Export::plan(&self.store, &resolved, &options, &()).unwrap();
        export.write(out, Form::Plain, &()).unwrap()
    }

    /// An archive of the images that these queries mean.
    pub(crate) fn export(&self, queries: &[String]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let outcome = self.export_to(queries, &mut bytes);
        assert_eq!(outcome.bytes, bytes.len() as u64, "the length was known beforehand");
        bytes
    }

    /// What is in the store.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, u64> {
        files(&self.root())
    }
}

/// All files below `root` with their lengths, the catalog left out.
pub(crate) fn files(root: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if !entry.file_name().to_string_lossy().starts_with("catalog.sqlite") {
                let name = path.strip_prefix(root).unwrap().to_owned();
                found.insert(name, entry.metadata().unwrap().len());
            }
        }
    }
    found
}

/// One gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One zstd frame.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
