//! Writes one pack, from its header to its footer.
//!
//! The caller gives the file and publishes it under the id that
//! [`PackWriter::finish`] returns; until then it is nothing. A failed write or
//! sync ends the writer: it takes itself by value and is gone.

use super::format::{PackFeatures, PackKind, len32, pack_header};
use super::frame::EncodedFrame;
use super::tables::{Directory, FOOTER, Footer, FrameEntry, encode_table};
use crate::digest::{Id, IdHasher};
use crate::fs::{self, WriteFile};

/// A pack that is being written.
#[derive(Debug)]
pub struct PackWriter {
    file: Box<dyn WriteFile>,
    hasher: IdHasher,
    length: u64,
    directory: Directory,
    frames: Vec<FrameEntry>,
}

/// A pack that is whole and durable, but has no name yet.
#[derive(Debug)]
pub struct FinishedPack {
    /// Its name to be.
    pub id: Id,
    /// Bytes.
    pub size: u64,
    /// Id of its directory.
    pub directory_id: Id,
    /// Its chunks.
    pub directory: Directory,
    /// Its frames.
    pub frames: Vec<FrameEntry>,
}

impl PackWriter {
    /// Begins a pack in an empty file.
    pub fn create(file: Box<dyn WriteFile>, kind: PackKind) -> fs::Result<Self> {
        Self::create_with(file, kind, PackFeatures::default())
    }

    /// The same for a pack that has features.
    pub fn create_with(
        file: Box<dyn WriteFile>,
        kind: PackKind,
        features: PackFeatures,
    ) -> fs::Result<Self> {
        let mut writer = Self {
            file,
            hasher: IdHasher::default(),
            length: 0,
            directory: Directory::default(),
            frames: Vec::new(),
        };
        writer.write(&pack_header(kind, features))?;
        Ok(writer)
    }

    /// Adds a frame.
    pub fn append(&mut self, frame: EncodedFrame) -> fs::Result<()> {
        let entry = FrameEntry {
            offset: self.length,
            first: len32(self.directory.ids.len()),
            ..frame.entry
        };
        self.write(&frame.bytes)?;
        self.frames.push(entry);
        self.directory.lengths.extend(frame.lengths);
        self.directory.ids.extend(frame.ids);
        Ok(())
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Chunks so far.
    pub fn chunks(&self) -> usize {
        self.directory.ids.len()
    }

    /// Ends the pack and makes its content durable.
    pub fn finish(mut self) -> fs::Result<FinishedPack> {
        let directory = self.directory.encode();
        let table = encode_table(&self.frames);
        let footer = Footer {
            directory_offset: self.length,
            directory_len: len32(directory.len()),
            table_len: len32(table.len()),
            directory: Id::of(&directory),
            table: Id::of(&table),
        };
        let encoded = footer.encode();
        debug_assert_eq!(encoded.len(), FOOTER);
        for bytes in [directory, table, encoded] {
            self.write(&bytes)?;
        }
        self.file.sync()?;
        Ok(FinishedPack {
            id: self.hasher.finish(),
            size: self.length,
            directory_id: footer.directory,
            directory: self.directory,
            frames: self.frames,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> fs::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
}
