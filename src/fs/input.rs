//! Inputs of a user's choice: files, parts of files, folders.
//!
//! Parts are read at offsets, so several threads can read one file. A folder is
//! listed once, by sorted paths; links in it are followed as far as they lead to
//! files, since it is the user's own.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use super::{Error, Result};

/// Opens a file of the user's as an input.
pub fn open_input(path: &Path) -> Result<InputFile> {
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    let file = File::open(path).map_err(Error::on("open", path))?;
    let metadata = file.metadata().map_err(Error::on("open", path))?;
    if metadata.is_dir() {
        let error = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder");
        return Err(Error::on("read", path)(error));
    }
    Ok(InputFile { file: Arc::new(file), regular: metadata.is_file() })
}

/// Reads a whole file of the user's, or a FIFO to its end: at most `most` bytes.
pub fn read_input(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open_input(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(Error::on("read", path))?;
    if bytes.len() as u64 > most {
        let message = format!("it has more than {most} bytes");
        let error = io::Error::new(io::ErrorKind::FileTooLarge, message);
        return Err(Error::on("read", path)(error));
    }
    Ok(bytes)
}

/// A file of the user's, open to be read. Clones share their position.
#[derive(Debug, Clone)]
pub struct InputFile {
    file: Arc<File>,
    regular: bool,
}

impl InputFile {
    /// Whether it is a regular file, which can seek; not a FIFO or device.
    pub fn is_regular(&self) -> bool {
        self.regular
    }

    /// `size` bytes from `offset` on, to be read apart from all else.
    pub fn part(&self, offset: u64, size: u64) -> InputPart {
        InputPart { file: Arc::clone(&self.file), at: offset, left: size }
    }

    /// Its length in bytes.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.file).read(buffer)
    }
}

impl io::Seek for InputFile {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        (&*self.file).seek(to)
    }
}

/// A part of an input, read from its start to its end. Clones start where the
/// original stands.
#[derive(Debug, Clone)]
pub struct InputPart {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for InputPart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 {
            let message = "the file became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A folder of the user's, listed.
#[derive(Debug, Clone)]
pub struct InputFolder {
    root: PathBuf,
    /// Paths below the root, with `/` between names, and lengths in bytes; sorted.
    pub files: Vec<(String, u64)>,
}

impl InputFolder {
    /// Where the file with this path below the root is.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }
}

/// Lists all files below a folder, at most `most` of them.
pub fn open_input_folder(root: &Path, most: usize) -> Result<InputFolder> {
    let mut files = Vec::new();
    for entry in WalkDir::new(root).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            Error::on("list", &path)(error.into())
        })?;
        if !entry.file_type().is_file() {
            continue;
        }
        let metadata = entry.metadata();
        let metadata = metadata.map_err(|error| Error::on("list", entry.path())(error.into()))?;
        let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
        files.push((below.to_string_lossy().into_owned(), metadata.len()));
        if files.len() > most {
            let message = format!("more than {most} files");
            let error = io::Error::new(io::ErrorKind::InvalidData, message);
            return Err(Error::on("read", root)(error));
        }
    }
    Ok(InputFolder { root: root.to_owned(), files })
}
