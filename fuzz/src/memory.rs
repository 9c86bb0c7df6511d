//! A file system in memory, for packs, records and whole stores.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orlop::fs::{Error, Fs, Lock, ReadFile, Result, WriteFile};

/// Where a store is: no such folder exists on a disk, so that its catalog is in
/// memory as well.
pub const ROOT: &str = "/nonexistent/store";

/// Files by path.
pub type Files = BTreeMap<PathBuf, Arc<Vec<u8>>>;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    files: Files,
    folders: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Reading {
    path: PathBuf,
    bytes: Arc<Vec<u8>>,
}

#[derive(Debug)]
struct Writing {
    memory: Memory,
    path: PathBuf,
}

#[derive(Debug)]
struct Held;

impl Memory {
    /// With these files.
    pub fn with(files: Files) -> Self {
        let memory = Self::default();
        memory.inner().files = files;
        memory
    }

    /// Puts a file there, whatever was there before.
    pub fn put(&self, path: impl Into<PathBuf>, bytes: Vec<u8>) {
        self.inner().files.insert(path.into(), Arc::new(bytes));
    }

    /// Takes a file away.
    pub fn remove(&self, path: &Path) {
        self.inner().files.remove(path);
    }

    /// All files.
    pub fn files(&self) -> Files {
        self.inner().files.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, action: &'static str, path: &Path) -> Result<Arc<Vec<u8>>> {
        self.inner().files.get(path).cloned().ok_or_else(|| missing(action, path))
    }
}

fn failed(action: &'static str, path: &Path, kind: io::ErrorKind) -> Error {
    Error { action, path: path.to_owned(), source: kind.into() }
}

fn missing(action: &'static str, path: &Path) -> Error {
    failed(action, path, io::ErrorKind::NotFound)
}

impl Fs for Memory {
    fn create_dir(&self, path: &Path) -> Result<bool> {
        Ok(self.inner().folders.insert(path.to_owned()))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let inner = self.inner();
        let all = inner.files.keys().chain(&inner.folders);
        let names: BTreeSet<String> = all
            .filter_map(|found| found.strip_prefix(path).ok()?.components().next())
            .map(|first| first.as_os_str().to_string_lossy().into_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> bool {
        let inner = self.inner();
        inner.files.contains_key(path)
            || inner.folders.contains(path)
            || inner.files.keys().any(|file| file.starts_with(path))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadFile>> {
        let bytes = self.get("open", path)?;
        Ok(Box::new(Reading { path: path.to_owned(), bytes }))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn WriteFile>> {
        if self.exists(path) {
            return Err(failed("create", path, io::ErrorKind::AlreadyExists));
        }
        self.put(path, Vec::new());
        Ok(Box::new(Writing { memory: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let bytes = self.get("rename", from)?;
        let mut inner = self.inner();
        inner.files.remove(from);
        inner.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.inner().files.remove(path).map(drop).ok_or_else(|| missing("remove", path))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        let mut inner = self.inner();
        inner.files.retain(|file, _| !file.starts_with(path));
        inner.folders.retain(|folder| !folder.starts_with(path));
        Ok(())
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>> {
        self.lock(path).map(Some)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>> {
        self.get("open", path)?;
        Ok(Box::new(Held))
    }
}

impl ReadFile for Reading {
    fn len(&self) -> Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let short = || failed("read", &self.path, io::ErrorKind::UnexpectedEof);
        let start = usize::try_from(offset).map_err(|_| short())?;
        let end = start.checked_add(buffer.len()).ok_or_else(short)?;
        buffer.copy_from_slice(self.bytes.get(start..end).ok_or_else(short)?);
        Ok(())
    }
}

impl WriteFile for Writing {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let mut inner = self.memory.inner();
        let file = inner.files.get_mut(&self.path).ok_or_else(|| missing("write", &self.path))?;
        Arc::make_mut(file).extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Lock for Held {}
