//! [`Fs`] on the real file system.
//!
//! Folders are made with mode 0700 and files with 0600, since images hold
//! secrets. Where a file system knows no folder sync (some FUSE ones), that is
//! taken as done.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Error, Fs, Lock, ReadFile, Result, WriteFile};

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

#[derive(Debug)]
struct DiskFile {
    file: File,
    path: PathBuf,
}

/// The kernel drops the lock with the file.
#[derive(Debug)]
struct DiskLock {
    _file: File,
}

#[expect(clippy::disallowed_methods, reason = "this module owns file access")]
impl Fs for Disk {
    fn create_dir(&self, path: &Path) -> Result<bool> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
                Ok(false)
            }
            Err(error) => Err(Error::on("create", path)(error)),
        }
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(Error::on("list", path))? {
            let entry = entry.map_err(Error::on("list", path))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn open(&self, path: &Path) -> Result<Box<dyn ReadFile>> {
        let file = File::open(path).map_err(Error::on("open", path))?;
        Ok(Box::new(DiskFile { file, path: path.to_owned() }))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn WriteFile>> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::on("create", path))?;
        Ok(Box::new(DiskFile { file, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(Error::on("rename to", to))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        let folder = File::open(path).map_err(Error::on("open", path))?;
        match folder.sync_all() {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result.map_err(Error::on("sync", path)),
        }
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(Error::on("remove", path))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        fs::remove_dir_all(path).map_err(Error::on("remove", path))
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::on("open", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(DiskLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::on("lock", path)(error)),
        }
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::on("open", path))?;
        file.lock().map_err(Error::on("lock", path))?;
        Ok(Box::new(DiskLock { _file: file }))
    }
}

impl ReadFile for DiskFile {
    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::on("read", &self.path))?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(Error::on("read", &self.path))
    }
}

impl WriteFile for DiskFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::on("write", &self.path))
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_all().map_err(Error::on("sync", &self.path))
    }
}

impl Lock for DiskLock {}
