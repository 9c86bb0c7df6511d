//! Bytes of a stream that must be read again wait in a file of the session's
//! workspace, and are gone with it.
//!
//! Not durable, and not part of the store. Hashed on the way in.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::session::WriteSession;
use super::{Result, StoreError};
use crate::digest::{Digest, DigestHasher};
use crate::fs::{Fs, ReadFile};

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// Bytes that wait to be read, any number of times. The file goes when this does.
#[derive(Debug)]
pub struct Spool {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    file: Box<dyn ReadFile>,
    size: u64,
    digest: Digest,
}

impl WriteSession<'_> {
    /// Takes in all of `input`.
    pub fn spool(&self, input: &mut dyn Read) -> Result<Spool> {
        let fs = Arc::clone(&self.store.fs);
        let path = self.workspace.path().join(format!("{}.spool", fs.random_name(8)?));
        let mut file = fs.create(&path)?;
        let (mut size, mut hasher) = (0, DigestHasher::default());
        let mut piece = vec![0; PIECE];
        loop {
            let count = match input.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    drop(fs.remove_file(&path));
                    return Err(StoreError::Input(error));
                }
            };
            hasher.update(&piece[..count]);
            file.write_all(&piece[..count])?;
            size += count as u64;
        }
        drop(file);
        let file = fs.open(&path)?;
        Ok(Spool { fs, path, file, size, digest: hasher.finish() })
    }
}

impl Spool {
    /// How many bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What they hash to.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Reads them from the start.
    pub fn reader(self: &Arc<Self>) -> SpoolReader {
        SpoolReader { spool: Arc::clone(self), at: 0 }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // If this fails, it goes with the workspace.
        drop(self.fs.remove_file(&self.path));
    }
}

/// Reads what waits.
#[derive(Debug)]
pub struct SpoolReader {
    spool: Arc<Spool>,
    at: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.spool.size - self.at;
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.spool.file.read_exact_at(&mut buffer[..count], self.at);
        read.map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}
