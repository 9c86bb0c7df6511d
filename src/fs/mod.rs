//! The only place that touches the file system.
//!
//! The store works through the [`Fs`] trait, so that tests can fail or freeze
//! it at the n-th operation ([`faulty`]). Inputs and outputs of a user's choice
//! (archives, not the store) go through [`open_input`], [`output`] and [`folder`].
//! Every error names its path. SQLite does its own file access, which this
//! seam can't see (see `catalog`).

pub mod disk;
pub mod faulty;
pub mod folder;
mod input;
pub mod output;
pub mod sim;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

pub use disk::Disk;
pub use input::{InputFile, InputFolder, InputPart, open_input, open_input_folder, read_input};

/// A failed operation on a path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct Error {
    /// What was tried: `open`, `sync`, ...
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl Error {
    /// Whether the thing is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    pub(crate) fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// Bytes of two files that are compared at a time.
const COMPARED: usize = 1 << 18;

/// The result of a file operation.
pub type Result<T> = std::result::Result<T, Error>;

/// What a store needs of a file system.
pub trait Fs: Debug + Send + Sync {
    /// Creates a folder for its owner alone; its parent exists. Fine if it is
    /// there already; true if it was made.
    fn create_dir(&self, path: &Path) -> Result<bool>;
    /// Names of the entries of a folder, in no order.
    fn list(&self, path: &Path) -> Result<Vec<String>>;
    /// Whether something is there.
    fn exists(&self, path: &Path) -> bool;
    /// Opens a file to read.
    fn open(&self, path: &Path) -> Result<Box<dyn ReadFile>>;
    /// Creates a file for its owner alone; fails where there is one.
    fn create(&self, path: &Path) -> Result<Box<dyn WriteFile>>;
    /// Renames a file within the file system; what has the new name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> Result<()>;
    /// Removes a folder and what is in it.
    fn remove_dir_all(&self, path: &Path) -> Result<()>;
    /// Tries to lock a file that exists, exclusively, until the lock is
    /// dropped. `None` where another process holds it.
    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Lock>>>;
    /// Locks a file that exists, as soon as nobody else holds the lock.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>>;
    /// `bytes` random bytes as hex digits, for a name that nobody else has.
    fn random_name(&self, bytes: usize) -> Result<String> {
        let mut random = vec![0; bytes];
        getrandom::fill(&mut random)
            .map_err(|error| Error::on("read", Path::new("the random device"))(error.into()))?;
        Ok(crate::digest::to_hex(&random))
    }
}

/// An open file, read at offsets.
pub trait ReadFile: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> Result<u64>;
    /// Whether the length is 0.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buffer` from `offset`; fails at the end of the file.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;
}

/// A file that is being written, from its start to its end.
pub trait WriteFile: Debug + Send {
    /// Appends all of `bytes`.
    fn write_all(&mut self, bytes: &[u8]) -> Result<()>;
    /// Makes the content durable. After a failure the file must be given up:
    /// a second try would succeed without having written anything.
    fn sync(&mut self) -> Result<()>;
}

/// A lock of the kernel's, which ends with the process at the latest.
pub trait Lock: Debug + Send + Sync {}

/// Reads a whole file of at most `limit` bytes.
pub fn read(fs: &dyn Fs, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = fs.open(path)?;
    let length = file.len()?;
    let length = usize::try_from(length).ok().filter(|_| length <= limit).ok_or_else(|| {
        let message = format!("{length} bytes, where at most {limit} are expected");
        Error::on("read", path)(io::Error::new(io::ErrorKind::InvalidData, message))
    })?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Creates a folder and its missing parents, each durably.
pub fn create_dir_all(fs: &dyn Fs, path: &Path) -> Result<()> {
    if fs.exists(path) {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_dir_all(fs, parent)?;
    }
    if fs.create_dir(path)? {
        fs.sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Publishes a file that was written and synced: renames `from` to `to`, whose
/// folder is made if need be, and makes the name durable. Names are hashes of
/// content: where `to` has the same content already, `from` is removed instead,
/// and where it has another, it is damaged, and replaced.
pub fn publish(fs: &dyn Fs, from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    if !fs.exists(folder) {
        create_dir_all(fs, folder)?;
    } else if fs.list(folder)?.is_empty() {
        // Whoever made it may have ended before its name was durable. Of one
        // that isn't empty it is, since that comes before the first file.
        sync_parent(fs, folder)?;
    }
    if fs.exists(to) && same_content(fs, from, to)? {
        fs.remove_file(from)?;
    } else {
        fs.rename(from, to)?;
    }
    fs.sync_dir(folder)
}

/// Makes the name of a folder durable.
pub fn sync_parent(fs: &dyn Fs, folder: &Path) -> Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    match fs.sync_dir(parent.unwrap_or(Path::new("."))) {
        // The folder above a store may be somebody else's.
        Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// Whether two files hold the same; one that can't be read doesn't.
fn same_content(fs: &dyn Fs, one: &Path, other: &Path) -> Result<bool> {
    let one = fs.open(one)?;
    let Ok(other) = fs.open(other) else { return Ok(false) };
    let length = one.len()?;
    if other.len().ok() != Some(length) {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; COMPARED], vec![0; COMPARED]);
    let mut at = 0;
    while at < length {
        let now = usize::try_from(length - at).map_or(COMPARED, |left| left.min(COMPARED));
        one.read_exact_at(&mut ours[..now], at)?;
        let read = other.read_exact_at(&mut theirs[..now], at);
        if read.is_err() || ours[..now] != theirs[..now] {
            return Ok(false);
        }
        at += now as u64;
    }
    Ok(true)
}
