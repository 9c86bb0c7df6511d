//! Outputs of a user's choice: a regular file appears whole or not at all;
//! FIFOs and devices are written directly.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Disk, Error, Fs, Result};

/// Files and folders that aren't whole yet, for [`remove_unfinished`].
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub(super) fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all that isn't whole yet: for a process that must end now.
#[expect(clippy::disallowed_methods, reason = "this module owns file access")]
pub fn remove_unfinished() {
    for part in unfinished().iter() {
        drop(std::fs::remove_file(part).or_else(|_| std::fs::remove_dir_all(part)));
    }
}

/// A file that an export writes. Dropped without [`Output::finish`], a regular
/// file leaves nothing behind.
#[derive(Debug)]
pub struct Output {
    file: File,
    target: PathBuf,
    /// Where the content is until it is whole; `None` when written directly.
    part: Option<PathBuf>,
}

impl Output {
    /// Opens `target` for writing: a hidden file beside it, to be renamed when
    /// whole, or the target itself where that is a FIFO or a device.
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    pub fn create(target: &Path) -> Result<Self> {
        // What a link points to is replaced, not the link.
        let target = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        match std::fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => {
                let error = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder");
                Err(Error::on("write", &target)(error))
            }
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(&target);
                let file = file.map_err(Error::on("open", &target))?;
                Ok(Self { file, target, part: None })
            }
            _ => {
                let name = target.file_name().unwrap_or_default().to_string_lossy();
                let part = target.with_file_name(format!(".{name}.{}.part", Disk.random_name(4)?));
                let file = File::options().write(true).create_new(true).open(&part);
                let file = file.map_err(Error::on("create", &target))?;
                unfinished().push(part.clone());
                Ok(Self { file, target, part: Some(part) })
            }
        }
    }

    /// Makes the file appear under its name, durably.
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    pub fn finish(mut self) -> Result<()> {
        if let Some(part) = &self.part {
            self.file.sync_all().map_err(Error::on("sync", part))?;
            std::fs::rename(part, &self.target).map_err(Error::on("rename to", &self.target))?;
            unfinished().retain(|other| other != part);
            self.part = None;
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Output {
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // Nothing more can be done about a leftover while failing already.
            drop(std::fs::remove_file(part));
            unfinished().retain(|other| other != part);
        }
    }
}
