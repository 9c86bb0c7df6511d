//! A folder of files as an output of a user's choice: it appears whole or not at
//! all, and never mixes with what was there.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::output::unfinished;
use super::{Disk, Error, Fs, Result};

const BUFFER: usize = 1 << 20;

/// A folder that an export writes. Dropped without [`FolderOutput::finish`], it
/// leaves nothing behind.
#[derive(Debug)]
pub struct FolderOutput {
    target: PathBuf,
    /// Where the content is until it is whole.
    part: PathBuf,
    /// Folders that were made, to be synced.
    folders: Vec<PathBuf>,
    file: Option<(PathBuf, BufWriter<File>)>,
    finished: bool,
}

impl FolderOutput {
    /// Makes a hidden folder beside `target`, to be renamed when whole. The target
    /// may be there if it is an empty folder.
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    pub fn create(target: &Path) -> Result<Self> {
        let given = target.components().collect::<PathBuf>();
        let target = std::fs::canonicalize(&given).unwrap_or(given);
        if target.exists() {
            let mut entries = std::fs::read_dir(&target).map_err(Error::on("write", &target))?;
            if entries.next().is_some() {
                let error = io::Error::new(io::ErrorKind::DirectoryNotEmpty, "it is not empty");
                return Err(Error::on("write", &target)(error));
            }
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let part = target.with_file_name(format!(".{name}.{}.part", Disk.random_name(4)?));
        std::fs::create_dir(&part).map_err(Error::on("create", &target))?;
        unfinished().push(part.clone());
        Ok(Self { target, folders: vec![part.clone()], part, file: None, finished: false })
    }

    /// Makes a folder in it.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        let path = self.part.join(path);
        std::fs::create_dir(&path).map_err(Error::on("create", &path))?;
        self.folders.push(path);
        Ok(())
    }

    /// Begins a file in it.
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    pub fn file(&mut self, path: &str) -> Result<()> {
        let path = self.part.join(path);
        let file = File::options().write(true).create_new(true).open(&path);
        let file = file.map_err(Error::on("create", &path))?;
        self.file = Some((path, BufWriter::with_capacity(BUFFER, file)));
        Ok(())
    }

    /// Makes the file's content durable.
    pub fn end_file(&mut self) -> Result<()> {
        let Some((path, file)) = self.file.take() else { return Ok(()) };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).map_err(Error::on("sync", &path))
    }

    /// Makes the folder appear under its name, durably.
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    pub fn finish(mut self) -> Result<()> {
        for folder in self.folders.iter().rev() {
            sync_folder(folder)?;
        }
        std::fs::rename(&self.part, &self.target).map_err(Error::on("rename to", &self.target))?;
        self.finished = true;
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_folder(parent.unwrap_or(Path::new(".")))
    }
}

/// Where a file system knows no folder sync, or the folder is somebody else's, that
/// is taken as done.
#[expect(clippy::disallowed_methods, reason = "this module owns file access")]
fn sync_folder(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    match synced {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result.map_err(Error::on("sync", path)),
    }
}

impl Write for FolderOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some((_, file)) => file.write(bytes),
            None => Err(io::Error::other("no file was begun")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FolderOutput {
    #[expect(clippy::disallowed_methods, reason = "this module owns file access")]
    fn drop(&mut self) {
        if !self.finished {
            // Nothing more can be done about a leftover while failing already.
            drop(std::fs::remove_dir_all(&self.part));
        }
        unfinished().retain(|other| *other != self.part);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "what is on the disk is what is tested")]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("layout/");
        let mut output = FolderOutput::create(&target).unwrap();
        output.folder("blobs/").unwrap();
        output.file("blobs/a").unwrap();
        output.write_all(b"text").unwrap();
        output.end_file().unwrap();
        assert!(!target.exists());
        output.finish().unwrap();
        assert_eq!(names(scratch.path()), ["layout"]);
        assert_eq!(std::fs::read(target.join("blobs/a")).unwrap(), b"text");
        let refused = FolderOutput::create(&target).unwrap_err();
        assert_eq!(refused.source.kind(), io::ErrorKind::DirectoryNotEmpty);
    }

    #[test]
    fn one_that_is_given_up_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("empty");
        std::fs::create_dir(&target).unwrap();
        let mut output = FolderOutput::create(&target).unwrap();
        output.file("a").unwrap();
        assert_eq!(names(scratch.path()).len(), 2);
        drop(output);
        assert_eq!(names(scratch.path()), ["empty"]);
        let mut output = FolderOutput::create(&target).unwrap();
        output.file("a").unwrap();
        output.end_file().unwrap();
        output.finish().unwrap();
        assert_eq!(names(&target), ["a"]);
    }
}
