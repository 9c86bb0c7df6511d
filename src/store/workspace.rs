//! A writer's folder in `tmp/`, and its lock.
//!
//! The kernel drops the lock when the process ends, however it ends; a folder
//! whose lock can be had is therefore left over and is swept by the next
//! writer. Between making a folder and locking it another writer may sweep it:
//! then it is made again. A folder is only ever removed by who holds its lock.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Result;
use super::layout::Layout;
use crate::fs::{self, Fs, Lock};

const LOCK: &str = "lock";

/// A locked folder, removed when dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    _lock: Box<dyn Lock>,
}

impl Workspace {
    /// Sweeps what ended writers left, and makes a folder of our own.
    pub(super) fn create(fs: &Arc<dyn Fs>, layout: &Layout) -> Result<Self> {
        sweep(&**fs, layout)?;
        loop {
            let path = layout.tmp().join(fs.random_name(8)?);
            fs.create_dir(&path)?;
            if let Some(lock) = lock(&**fs, &path)? {
                return Ok(Self { fs: Arc::clone(fs), path, _lock: lock });
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

/// Locks a new folder; `None` where another writer swept it meanwhile.
fn lock(fs: &dyn Fs, folder: &Path) -> Result<Option<Box<dyn Lock>>> {
    let path = folder.join(LOCK);
    match create_lock(fs, &path).and_then(|()| fs.try_lock(&path)) {
        Ok(Some(lock)) if fs.exists(&path) => Ok(Some(lock)),
        Ok(_) => Ok(None),
        Err(error) if error.is_missing() || is_there(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn create_lock(fs: &dyn Fs, path: &Path) -> fs::Result<()> {
    let content = format!("{{\"generation\":0,\"pid\":{}}}\n", std::process::id());
    fs.create(path)?.write_all(content.as_bytes())
}

fn is_there(error: &fs::Error) -> bool {
    error.source.kind() == io::ErrorKind::AlreadyExists
}

fn sweep(fs: &dyn Fs, layout: &Layout) -> Result<()> {
    for name in fs.list(&layout.tmp())? {
        let path = layout.tmp().join(&name);
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
        match create_lock(fs, &path) {
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
