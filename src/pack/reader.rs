//! Reads one pack: its directory and frame table at once, frames as asked.
//!
//! Everything read is checked: tables against the footer, payloads against
//! their headers, chunks against the directory. A pack that is damaged gives an
//! error that says where.

use std::path::{Path, PathBuf};

use super::format::{FrameHeader, HeaderError, PackHeader, PackKind, check_pack_header};
use super::frame::{self, FrameError, StoredFrame};
use super::tables::{Directory, FOOTER, Footer, FrameEntry, decode_table};
use crate::digest::Id;
use crate::fs::{self, Fs, ReadFile};
use crate::varint::{Malformed, in_memory};

/// The largest directory or frame table that is read: room for some 4 million
/// chunks, where a pack has a few thousand.
const TABLE_MAX: u32 = 144 << 20;

/// Why a pack can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The file system failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// Header, footer or tables are damaged.
    #[error("pack `{}` is damaged", path.display())]
    Tables {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Malformed,
    },
    /// The header says that this program must not read it, or is damaged.
    #[error("cannot read pack `{}`", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: HeaderError,
    },
    /// A frame is damaged.
    #[error("pack `{}` is damaged at byte {offset}", path.display())]
    Frame {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// What is wrong.
        source: FrameError,
    },
    /// A chunk has another id than the directory says.
    #[error("pack `{}` is damaged at byte {offset}: expected chunk {}, found {}", path.display(), expected.short(), found.short())]
    Chunk {
        /// The file.
        path: PathBuf,
        /// Where its frame begins.
        offset: u64,
        /// What the directory says.
        expected: Id,
        /// What the frame holds.
        found: Id,
    },
}

/// An open pack.
#[derive(Debug)]
pub struct PackReader {
    file: Box<dyn ReadFile>,
    path: PathBuf,
    kind: PackKind,
    optimized: bool,
    size: u64,
    directory_id: Id,
    directory: Directory,
    frames: Vec<FrameEntry>,
}

impl PackReader {
    /// Opens a pack and reads its tables.
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<Self, PackError> {
        let file = fs.open(path)?;
        let damaged = |source| PackError::Tables { path: path.to_owned(), source };
        let length = file.len()?;
        let mut head = vec![0; usize::try_from(length.min(24 + 4096)).unwrap_or_default()];
        file.read_exact_at(&mut head, 0)?;
        let PackHeader { kind, optimized, length: header } = check_pack_header(&head)
            .map_err(|source| PackError::Header { path: path.to_owned(), source })?;
        let mut footer = [0; FOOTER];
        let at = length.checked_sub(FOOTER as u64).ok_or(Malformed::TooShort).map_err(damaged)?;
        file.read_exact_at(&mut footer, at)?;
        let footer = Footer::decode(&footer, length).map_err(damaged)?;
        if footer.directory_len > TABLE_MAX || footer.table_len > TABLE_MAX {
            let limit = TABLE_MAX.into();
            return Err(damaged(Malformed::OverLimit { what: "a table of a pack", limit }));
        }
        let mut directory = vec![0; in_memory(footer.directory_len)];
        file.read_exact_at(&mut directory, footer.directory_offset)?;
        let mut table = vec![0; in_memory(footer.table_len)];
        let at = footer.directory_offset + u64::from(footer.directory_len);
        file.read_exact_at(&mut table, at)?;
        if Id::of(&directory) != footer.directory || Id::of(&table) != footer.table {
            return Err(damaged(Malformed::Other("the hash of a table is wrong")));
        }
        let directory = Directory::decode(&directory).map_err(damaged)?;
        let frames = decode_table(&table).map_err(damaged)?;
        let covered = frames.last().map_or(0, |last| in_memory(last.first) + in_memory(last.count));
        if covered != directory.ids.len() {
            return Err(damaged(Malformed::Other("the frames don't cover the directory")));
        }
        let start = frames.first().map_or(header as u64, |first| first.offset);
        let end = frames.last().map_or(start, FrameEntry::end);
        if start != header as u64 || end != footer.directory_offset {
            let gap = "there are bytes before or after the frames of a pack";
            return Err(damaged(Malformed::Other(gap)));
        }
        if frames.iter().any(|frame| frame.kind.pack() != kind) {
            return Err(damaged(Malformed::Other("a frame is in a pack of another kind")));
        }
        let path = path.to_owned();
        let (size, directory_id) = (length, footer.directory);
        Ok(Self { file, path, kind, optimized, size, directory_id, directory, frames })
    }

    /// What it holds.
    pub fn kind(&self) -> PackKind {
        self.kind
    }

    /// Whether it was compressed as hard as it can be.
    pub fn is_optimized(&self) -> bool {
        self.optimized
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The id of its directory.
    pub fn directory_id(&self) -> Id {
        self.directory_id
    }

    /// Its chunks.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Its frames.
    pub fn frames(&self) -> &[FrameEntry] {
        &self.frames
    }

    /// The number of the frame that holds the chunk at `position`.
    pub fn frame_of(&self, position: u32) -> Option<usize> {
        let after = self.frames.partition_point(|frame| frame.first <= position);
        let number = after.checked_sub(1)?;
        let frame = self.frames.get(number)?;
        (position - frame.first < frame.count).then_some(number)
    }

    /// Decodes a frame and checks every chunk in it. `prefix` finds the bytes of
    /// the frame's bases.
    pub fn frame<E: From<PackError>>(
        &self,
        number: usize,
        prefix: impl FnOnce(&FrameHeader) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        Ok(self.stored_frame(number, prefix)?.raw)
    }

    /// The same, with all that its content was made from.
    pub fn stored_frame<E: From<PackError>>(
        &self,
        number: usize,
        prefix: impl FnOnce(&FrameHeader) -> Result<Vec<u8>, E>,
    ) -> Result<StoredFrame, E> {
        let entry = self.frames[number];
        let length = in_memory(entry.header_len) + in_memory(entry.stored_len);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, entry.offset).map_err(PackError::from)?;
        let (header, payload) = bytes.split_at(in_memory(entry.header_len));
        let header = self.check_header(&entry, header)?;
        let prefix = if header.bases.is_empty() { Vec::new() } else { prefix(&header)? };
        let (path, offset) = (&self.path, entry.offset);
        let raw = frame::decode(&header, payload, &prefix).map_err(|source| PackError::Frame {
            path: path.clone(),
            offset,
            source,
        })?;
        self.check_chunks(&entry, &raw)?;
        Ok(StoredFrame { header, bytes, prefix, raw })
    }

    /// The header of a frame.
    pub fn frame_header(&self, number: usize) -> Result<FrameHeader, PackError> {
        let entry = self.frames[number];
        let mut bytes = vec![0; in_memory(entry.header_len)];
        self.file.read_exact_at(&mut bytes, entry.offset)?;
        self.check_header(&entry, &bytes)
    }

    fn check_header(&self, entry: &FrameEntry, bytes: &[u8]) -> Result<FrameHeader, PackError> {
        let damaged = |source: Malformed| {
            let (path, offset) = (self.path.clone(), entry.offset);
            PackError::Frame { path, offset, source: source.into() }
        };
        let header = FrameHeader::decode(bytes).map_err(damaged)?;
        let found = (header.kind, header.codec, header.stored_len, header.raw_len, header.depth);
        if found != (entry.kind, entry.codec, entry.stored_len, entry.raw_len, entry.depth) {
            return Err(damaged(Malformed::Other("header and frame table disagree")));
        }
        let lengths = &self.directory.lengths[in_memory(entry.first)..][..in_memory(entry.count)];
        if header.lengths != lengths {
            return Err(damaged(Malformed::Other("header and directory disagree")));
        }
        Ok(header)
    }

    fn check_chunks(&self, entry: &FrameEntry, raw: &[u8]) -> Result<(), PackError> {
        let mut rest = raw;
        let first = in_memory(entry.first);
        for at in first..first + in_memory(entry.count) {
            let length = in_memory(self.directory.lengths[at]).min(rest.len());
            let (chunk, later) = rest.split_at(length);
            rest = later;
            let (expected, found) = (self.directory.ids[at], Id::of(chunk));
            if found != expected {
                let (path, offset) = (self.path.clone(), entry.offset);
                return Err(PackError::Chunk { path, offset, expected, found });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Compressor, Levels};
    use crate::fs::Disk;
    use crate::pack::format::FrameKind;
    use crate::pack::frame::{RawFrame, encode};
    use crate::pack::tables::encode_table;
    use crate::pack::writer::PackWriter;

    /// Writes a pack of two frames, lets `change` at its parts, and puts them
    /// together again with all hashes right: what lies before the directory, the
    /// directory, the frames. Returns what reading all of it says.
    fn reading(change: impl FnOnce(&mut Vec<u8>, &mut Directory, &mut Vec<FrameEntry>)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack");
        let mut writer = PackWriter::create(Disk.create(&path).unwrap(), PackKind::Data).unwrap();
        let mut compressor = Compressor::new(Levels::for_content(1)).unwrap();
        for chunks in [[b"one", b"two"], [b"six", b"ten"]] {
            let mut frame = RawFrame::default();
            for chunk in chunks {
                frame.push(Id::of(chunk), chunk);
            }
            let kind = FrameKind::Content;
            writer.append(encode(kind, frame, &mut compressor, &|_| None).unwrap()).unwrap();
        }
        let mut pack = writer.finish().unwrap();
        let mut bytes = fs::read(&Disk, &path, 4096).unwrap();
        let footer = Footer::decode(bytes.last_chunk().unwrap(), pack.size).unwrap();
        bytes.truncate(usize::try_from(footer.directory_offset).unwrap());
        change(&mut bytes, &mut pack.directory, &mut pack.frames);
        let (directory, table) = (pack.directory.encode(), encode_table(&pack.frames));
        let footer = Footer {
            directory_offset: bytes.len() as u64,
            directory_len: directory.len().try_into().unwrap(),
            table_len: table.len().try_into().unwrap(),
            directory: Id::of(&directory),
            table: Id::of(&table),
        };
        let path = folder.path().join("changed");
        let mut file = Disk.create(&path).unwrap();
        file.write_all(&[bytes, directory, table, footer.encode()].concat()).unwrap();
        let result = PackReader::open(&Disk, &path).and_then(|pack| {
            (0..pack.frames().len()).try_for_each(|number| {
                let none = |_: &FrameHeader| Ok::<_, PackError>(Vec::new());
                pack.frame(number, none).map(drop)
            })
        });
        match result {
            Ok(()) => "whole".to_owned(),
            Err(
                PackError::Tables { source, .. }
                | PackError::Frame { source: FrameError::Header(source), .. },
            ) => source.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn bytes_between_the_parts_of_a_pack_are_damage() {
        let gap = "there are bytes before or after the frames of a pack";
        assert_eq!(reading(|_, _, _| {}), "whole");
        assert_eq!(reading(|bytes, _, _| bytes.extend(b"more")), gap);
        assert_eq!(reading(|bytes, _, _| bytes.truncate(bytes.len() - 1)), gap);
        let moved = reading(|bytes, _, frames| {
            bytes.splice(24..24, *b"more");
            for frame in frames {
                frame.offset += 4;
            }
        });
        assert_eq!(moved, gap);
        let none = reading(|_, directory, frames| {
            frames.clear();
            *directory = Directory::default();
        });
        assert_eq!(none, gap);
    }

    #[test]
    fn a_frame_is_what_the_tables_say() {
        let kind =
            |kind| move |_: &mut _, _: &mut _, frames: &mut Vec<FrameEntry>| frames[1].kind = kind;
        assert_eq!(reading(kind(FrameKind::Recipes)), "a frame is in a pack of another kind");
        let codec = reading(|_, _, frames| frames[1].codec = crate::pack::format::Codec::Zstd);
        assert_eq!(codec, "header and frame table disagree");
        // The same bytes in other cuts, the last one beyond the end.
        let lengths = reading(|_, directory, _| directory.lengths[3] = 1000);
        assert_eq!(lengths, "header and directory disagree");
        let fewer = reading(|_, directory, frames| {
            frames[1].count = 1;
            directory.ids.pop();
            directory.lengths.pop();
        });
        assert_eq!(fewer, "header and directory disagree");
    }
}
