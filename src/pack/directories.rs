//! Directories that outlive their packs, as chunks of frames of kind 4
//! (docs/FORMAT.md section 4.3).
//!
//! A directory is cut into pieces, each of which says whose and which it is. It
//! is believed only when all pieces together have the id that was asked for.

use std::collections::BTreeMap;

use super::tables::Directory;
use crate::digest::Id;
use crate::varint::{self, Cursor, Malformed};

const VERSION: u8 = 1;
/// Bytes of a directory in one piece: a chunk is at most 1 MiB.
const PIECE: usize = (1 << 20) - 64;
/// The largest directory that is put together again: that of some 4 million chunks.
const DIRECTORY_MAX: usize = 144 << 20;

/// The chunks that keep a directory.
pub fn pieces(directory: &Directory) -> Vec<Vec<u8>> {
    let bytes = directory.encode();
    let id = Id::of(&bytes);
    let cut = bytes.chunks(PIECE).zip(0u64..);
    cut.map(|(piece, number)| {
        let mut chunk = vec![VERSION];
        chunk.extend_from_slice(id.as_bytes());
        varint::put(&mut chunk, number * PIECE as u64);
        chunk.extend_from_slice(piece);
        chunk
    })
    .collect()
}

/// Which directory a chunk is a piece of, where in it the piece begins, and the
/// piece.
pub fn parse(chunk: &[u8]) -> Result<(Id, u64, &[u8]), Malformed> {
    let mut cursor = Cursor::new(chunk);
    if cursor.u8()? != VERSION {
        return Err(Malformed::Other(
            "a kept directory has a version that this program doesn't know",
        ));
    }
    let id = Id::from_bytes(cursor.array()?);
    let start = cursor.varint()?;
    Ok((id, start, cursor.rest()))
}

/// Pieces that are being collected.
#[derive(Debug, Default)]
pub struct Pieces(BTreeMap<u64, Vec<u8>>);

impl Pieces {
    /// Adds a chunk, if it is a piece of this directory.
    pub fn add(&mut self, directory: Id, chunk: &[u8]) {
        if let Ok((id, start, piece)) = parse(chunk)
            && id == directory
        {
            self.0.entry(start).or_insert_with(|| piece.to_vec());
        }
    }

    /// The directory, if the pieces are all of it.
    pub fn finish(self, id: Id) -> Option<Directory> {
        let mut bytes = Vec::new();
        for (start, piece) in self.0 {
            let fits = start == bytes.len() as u64 && bytes.len() + piece.len() <= DIRECTORY_MAX;
            if !fits {
                return None;
            }
            bytes.extend_from_slice(&piece);
        }
        (Id::of(&bytes) == id).then(|| Directory::decode(&bytes).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::varint::in_memory;

    fn directory(count: u32) -> Directory {
        let lengths = (1..=count).collect();
        let ids = (0..count).map(|number| Id::of(&number.to_le_bytes())).collect();
        Directory { lengths, ids }
    }

    #[test]
    fn a_directory_comes_back_whole_or_not_at_all() {
        for count in [1, 100, 80_000] {
            let directory = directory(count);
            let id = Id::of(&directory.encode());
            let chunks = pieces(&directory);
            assert_eq!(chunks.len(), (16 + 36 * in_memory(count)).div_ceil(PIECE));
            assert!(chunks.iter().all(|chunk| chunk.len() <= 1 << 20));
            let put_together = |chunks: &[Vec<u8>]| {
                let mut all = Pieces::default();
                chunks.iter().rev().for_each(|chunk| all.add(id, chunk));
                all.finish(id)
            };
            assert_eq!(put_together(&chunks), Some(directory));
            for without in 0..chunks.len() {
                let mut fewer = chunks.clone();
                fewer.remove(without);
                assert_eq!(put_together(&fewer), None);
                let mut other = chunks.clone();
                *other[without].last_mut().unwrap() ^= 1;
                assert_eq!(put_together(&other), None);
            }
        }
    }
}
