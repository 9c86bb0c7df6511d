//! The tables at the end of a pack: directory, frame table and footer
//! (docs/FORMAT.md sections 4.3 to 4.5).
//!
//! Encodes what writers need and decodes with every limit checked. It assumes
//! nothing of the bytes that it decodes.

use super::format::{
    Codec, DEPTH_MAX, FRAME_CHUNKS_MAX, FRAME_HEADER_MAX, FRAME_RAW_MAX, FRAME_STORED_MAX,
    FrameKind, len32, limited,
};
use crate::digest::Id;
use crate::varint::{Cursor, Malformed, in_memory};

/// Bytes of the footer.
pub const FOOTER: usize = 96;
const ROW: usize = 32;
const DIRECTORY_ROW: usize = 36;
const TABLE_HEAD: usize = 16;
const DIRECTORY_MAGIC: &[u8; 8] = b"ORLOPDIR";
const TABLE_MAGIC: &[u8; 8] = b"ORLOPTAB";
const END_MAGIC: &[u8; 8] = b"ORLOPEND";

/// The chunks of a pack: their lengths and ids, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// Of each chunk, in bytes.
    pub lengths: Vec<u32>,
    /// Of each chunk.
    pub ids: Vec<Id>,
}

impl Directory {
    /// The directory in its stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = table_head(*DIRECTORY_MAGIC, self.ids.len());
        for length in &self.lengths {
            out.extend_from_slice(&length.to_le_bytes());
        }
        for id in &self.ids {
            out.extend_from_slice(id.as_bytes());
        }
        out
    }

    /// Reads a directory.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (count, rows) = split_table(bytes, *DIRECTORY_MAGIC, DIRECTORY_ROW)?;
        let (lengths, ids) = rows.split_at(count * 4);
        let (lengths, _) = lengths.as_chunks::<4>();
        let (ids, _) = ids.as_chunks::<32>();
        Ok(Self {
            lengths: lengths.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
            ids: ids.iter().map(|bytes| Id::from_bytes(*bytes)).collect(),
        })
    }
}

/// Where a frame is in its pack, and which chunks it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEntry {
    /// Of the header, in the pack.
    pub offset: u64,
    /// Bytes of header.
    pub header_len: u32,
    /// Bytes of payload.
    pub stored_len: u32,
    /// Bytes of the decoded payload.
    pub raw_len: u32,
    /// Position of the first chunk in the directory.
    pub first: u32,
    /// How many chunks.
    pub count: u32,
    /// What the chunks are.
    pub kind: FrameKind,
    /// How the payload is stored.
    pub codec: Codec,
    /// How many frames must be decoded before this one, one upon the other.
    pub depth: u8,
}

impl FrameEntry {
    /// Offset of what comes after it.
    pub(super) fn end(&self) -> u64 {
        let length = u64::from(self.header_len) + u64::from(self.stored_len);
        self.offset.saturating_add(length)
    }
}

/// The frame table in its stored form.
pub fn encode_table(frames: &[FrameEntry]) -> Vec<u8> {
    let mut out = table_head(*TABLE_MAGIC, frames.len());
    for frame in frames {
        out.extend_from_slice(&frame.offset.to_le_bytes());
        for value in [frame.header_len, frame.stored_len, frame.raw_len, frame.first, frame.count] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&[frame.kind.code(), frame.codec.code(), 0, frame.depth]);
    }
    out
}

/// Reads a frame table and checks that its frames follow each other.
pub fn decode_table(bytes: &[u8]) -> Result<Vec<FrameEntry>, Malformed> {
    let (_, rows) = split_table(bytes, *TABLE_MAGIC, ROW)?;
    let mut frames: Vec<FrameEntry> = Vec::new();
    for row in rows.as_chunks::<ROW>().0 {
        let mut cursor = Cursor::new(row);
        let frame = FrameEntry {
            offset: cursor.u64()?,
            header_len: limited(cursor.u32()?, "a frame header", FRAME_HEADER_MAX)?,
            stored_len: limited(cursor.u32()?, "the payload of a frame", FRAME_STORED_MAX)?,
            raw_len: limited(cursor.u32()?, "the content of a frame", FRAME_RAW_MAX)?,
            first: cursor.u32()?,
            count: limited(cursor.u32()?, "the chunks of a frame", FRAME_CHUNKS_MAX)?,
            kind: FrameKind::from_code(cursor.u8()?)?,
            codec: Codec::from_code(cursor.u8()?)?,
            depth: {
                let [cipher, depth] = cursor.array()?;
                if cipher != 0 || depth > DEPTH_MAX {
                    return Err(Malformed::Other("a frame has an unknown cipher or is too deep"));
                }
                depth
            },
        };
        let follows = frames.last().is_none_or(|before| {
            before.first.checked_add(before.count) == Some(frame.first)
                && before.end() == frame.offset
        });
        if !follows || frame.count == 0 || (frames.is_empty() && frame.first != 0) {
            return Err(Malformed::Other("the frames of a pack don't follow each other"));
        }
        frames.push(frame);
    }
    Ok(frames)
}

/// Where directory and frame table are in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Offset of the directory.
    pub directory_offset: u64,
    /// Bytes of directory.
    pub directory_len: u32,
    /// Bytes of frame table.
    pub table_len: u32,
    /// Id of the directory.
    pub directory: Id,
    /// Id of the frame table.
    pub table: Id,
}

impl Footer {
    /// The footer in its stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.directory_offset.to_le_bytes().to_vec();
        out.extend_from_slice(&self.directory_len.to_le_bytes());
        out.extend_from_slice(&self.table_len.to_le_bytes());
        out.extend_from_slice(self.directory.as_bytes());
        out.extend_from_slice(self.table.as_bytes());
        let hash = Id::of(&out);
        out.extend_from_slice(&hash.as_bytes()[..8]);
        out.extend_from_slice(END_MAGIC);
        out
    }

    /// Reads a footer and checks that it fits a pack of `pack_len` bytes.
    pub fn decode(bytes: &[u8; FOOTER], pack_len: u64) -> Result<Self, Malformed> {
        if &bytes[88..] != END_MAGIC || Id::of(&bytes[..80]).as_bytes()[..8] != bytes[80..88] {
            return Err(Malformed::Other("the pack footer is missing or damaged"));
        }
        let mut cursor = Cursor::new(bytes);
        let footer = Self {
            directory_offset: cursor.u64()?,
            directory_len: cursor.u32()?,
            table_len: cursor.u32()?,
            directory: Id::from_bytes(cursor.array()?),
            table: Id::from_bytes(cursor.array()?),
        };
        let end = footer
            .directory_offset
            .checked_add(footer.directory_len.into())
            .and_then(|end| end.checked_add(footer.table_len.into()))
            .and_then(|end| end.checked_add(FOOTER as u64));
        if end != Some(pack_len) {
            return Err(Malformed::Other("the pack has another length than its footer says"));
        }
        Ok(footer)
    }
}

fn table_head(magic: [u8; 8], count: usize) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&len32(count).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out
}

fn split_table(bytes: &[u8], magic: [u8; 8], row: usize) -> Result<(usize, &[u8]), Malformed> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array()? != magic {
        return Err(Malformed::Other("a table of a pack doesn't begin as it should"));
    }
    let (count, reserved) = (cursor.u32()?, cursor.u32()?);
    let rows = bytes.len() - TABLE_HEAD;
    if in_memory(count).checked_mul(row) != Some(rows) || reserved != 0 {
        return Err(Malformed::Other("a table of a pack has another length than it says"));
    }
    Ok((in_memory(count), cursor.rest()))
}
