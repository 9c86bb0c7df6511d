//! A file system that counts: the real one, and a list of what was done to it.
//!
//! Everything that a store does through `orlop::fs::Fs` is listed. The catalog
//! does its own file access, and inputs are opened elsewhere: neither is seen.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use orlop::fs::{Disk, Fs, Lock, ReadFile, Result, WriteFile};

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// A folder was made.
    Folder(PathBuf),
    /// A file was opened to be read.
    Open(PathBuf),
    /// So many bytes of it were read from an offset on.
    Read(PathBuf, u64, u64),
    /// A file was made.
    Create(PathBuf),
    /// So many bytes were written to it.
    Write(PathBuf, u64),
    /// Its content was made durable.
    Sync(PathBuf),
    /// The names in a folder were made durable.
    SyncFolder(PathBuf),
    /// A file got another name.
    Rename(PathBuf),
}

/// Counts; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counting {
    acts: Arc<Mutex<Vec<Act>>>,
}

impl Counting {
    /// What was done since this was last asked.
    pub(crate) fn take(&self) -> Vec<Act> {
        std::mem::take(&mut self.acts.lock().unwrap())
    }

    fn add(&self, act: Act) {
        self.acts.lock().unwrap().push(act);
    }
}

#[derive(Debug)]
struct CountedFile<F: ?Sized> {
    path: PathBuf,
    fs: Counting,
    inner: Box<F>,
}

impl Fs for Counting {
    fn create_dir(&self, path: &Path) -> Result<bool> {
        let made = Disk.create_dir(path)?;
        if made {
            self.add(Act::Folder(path.to_owned()));
        }
        Ok(made)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        Disk.list(path)
    }

    fn exists(&self, path: &Path) -> bool {
        Disk.exists(path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadFile>> {
        let inner = Disk.open(path)?;
        self.add(Act::Open(path.to_owned()));
        Ok(Box::new(CountedFile { path: path.to_owned(), fs: self.clone(), inner }))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn WriteFile>> {
        let inner = Disk.create(path)?;
        self.add(Act::Create(path.to_owned()));
        Ok(Box::new(CountedFile { path: path.to_owned(), fs: self.clone(), inner }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.add(Act::Rename(to.to_owned()));
        Disk.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.add(Act::SyncFolder(path.to_owned()));
        Disk.sync_dir(path)
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        Disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        Disk.remove_dir_all(path)
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>> {
        Disk.try_lock(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>> {
        Disk.lock(path)
    }
}

impl ReadFile for CountedFile<dyn ReadFile> {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.fs.add(Act::Read(self.path.clone(), offset, buffer.len() as u64));
        self.inner.read_exact_at(buffer, offset)
    }
}

impl WriteFile for CountedFile<dyn WriteFile> {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.fs.add(Act::Write(self.path.clone(), bytes.len() as u64));
        self.inner.write_all(bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.fs.add(Act::Sync(self.path.clone()));
        self.inner.sync()
    }
}
