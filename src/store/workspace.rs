//! The folder of a process in `tmp/`, and its lock.
//!
//! The kernel drops the lock when the process ends, however it ends; a folder
//! whose lock can be had is therefore left over and is swept by the next
//! writer. Between making a folder and locking it another writer may sweep it:
//! then it is made again. A folder is only ever removed by who holds its lock.
//! The lock's file says in which generation of garbage collection the process
//! began; while it doesn't say, the process counts as one of the first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Result;
use super::generation::Generation;
use super::layout::Layout;
use crate::fs::{self, Fs, Lock, WriteFile};

/// The name of files that are locked.
pub(super) const LOCK: &str = "lock";
/// Far more than there is in one.
const LOCK_MAX: u64 = 4096;

/// A locked folder, removed when dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    /// The generation that it began in.
    pub(super) generation: Generation,
    _lock: Box<dyn Lock>,
}

/// Who a folder belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// The generation that it began in.
    pub(super) generation: u64,
    /// Its process; 0 where that isn't known.
    pub(super) pid: u32,
}

impl Owner {
    /// What the file of a lock says, which may not be written yet.
    pub(super) fn read(fs: &dyn Fs, lock: &Path) -> Self {
        let bytes = fs::read(fs, lock, LOCK_MAX).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

impl Workspace {
    /// Sweeps what ended writers left, and makes a folder of our own.
    pub(super) fn create(fs: &Arc<dyn Fs>, layout: &Layout) -> Result<Self> {
        sweep(&**fs, layout)?;
        Self::for_reader(fs, layout)
    }

    /// Makes a folder of our own, and leaves all others alone.
    pub(super) fn for_reader(fs: &Arc<dyn Fs>, layout: &Layout) -> Result<Self> {
        loop {
            let path = layout.tmp().join(fs.random_name(8)?);
            fs.create_dir(&path)?;
            if let Some((lock, mut file)) = lock(&**fs, &path)? {
                // In this order: a generation that is opened from here on finds us.
                let generation = Generation::current(&**fs, layout)?;
                let owner = Owner { generation: generation.number, pid: std::process::id() };
                let mut text = serde_json::to_vec(&owner).unwrap_or_default();
                text.push(b'\n');
                file.write_all(&text)?;
                return Ok(Self { fs: Arc::clone(fs), path, generation, _lock: lock });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // If this fails, the next writer sweeps it.
        drop(self.fs.remove_dir_all(&self.path));
    }
}

/// A lock, and its file to write to.
type Locked = (Box<dyn Lock>, Box<dyn WriteFile>);

/// Locks a new folder; `None` where another writer swept it meanwhile.
fn lock(fs: &dyn Fs, folder: &Path) -> Result<Option<Locked>> {
    let path = folder.join(LOCK);
    let locked = fs.create(&path).and_then(|file| Ok(fs.try_lock(&path)?.map(|lock| (lock, file))));
    match locked {
        Ok(Some(lock)) if fs.exists(&path) => Ok(Some(lock)),
        Ok(_) => Ok(None),
        Err(error) if error.is_missing() || is_there(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_there(error: &fs::Error) -> bool {
    error.source.kind() == io::ErrorKind::AlreadyExists
}

fn sweep(fs: &dyn Fs, layout: &Layout) -> Result<()> {
    for name in fs.list(&layout.tmp())? {
        let path = layout.tmp().join(&name);
        if path == layout.collection() {
            continue;
        }
        if fs.exists(&path.join(".")) {
            remove(sweep_folder(fs, &path))?;
        } else {
            remove(fs.remove_file(&path))?;
        }
    }
    Ok(())
}

/// Removes a folder unless its owner lives.
fn sweep_folder(fs: &dyn Fs, folder: &Path) -> fs::Result<()> {
    let path = folder.join(LOCK);
    if !fs.exists(&path) {
        // Its owner ended before it had a lock, or is about to make one, and
        // then one of us two comes too late.
        match fs.create(&path).map(drop) {
            Err(error) if is_there(&error) => return Ok(()),
            made => made?,
        }
    }
    if let Some(lock) = fs.try_lock(&path)? {
        fs.remove_dir_all(folder)?;
        drop(lock);
    }
    Ok(())
}

/// Another writer may sweep at the same time, or a folder's owner remove it while
/// we make its lock anew: whoever comes later finds what is left.
fn remove(result: fs::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        Err(error) if error.source.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        result => Ok(result?),
    }
}
