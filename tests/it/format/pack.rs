//! Packs, section 4 of docs/FORMAT.md: by a scan from the front, and by the footer.
//!
//! Checks all that can be checked of one pack; knows of no other packs, so the
//! caller brings the prefix of a frame. What the text forbids is a panic.

use std::io::Read;

use crate::format::bytes::{Cursor, Hash, id, index};

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// What a pack's table says of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) offset: u64,
    pub(crate) header_length: u32,
    pub(crate) stored_length: u32,
    pub(crate) raw_length: u32,
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) kind: u8,
    pub(crate) codec: u8,
    pub(crate) cipher: u8,
    pub(crate) depth: u8,
}

/// Chunks of a directory, that are a part of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseRun {
    /// None: the directory of this pack.
    pub(crate) directory: Option<Hash>,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// A frame with all that is in it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) row: Row,
    pub(crate) runs: Vec<BaseRun>,
    pub(crate) lengths: Vec<u32>,
    payload: Vec<u8>,
}

/// The lengths and ids of the chunks of a pack.
pub(crate) type Directory = Vec<(u32, Hash)>;

/// What stands behind the frames.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) directory: Directory,
    pub(crate) directory_bytes: Vec<u8>,
    pub(crate) directory_id: Hash,
    pub(crate) rows: Vec<Row>,
    /// Where it starts.
    pub(crate) offset: u64,
}

/// Reads a pack header: the kind, the lines of the feature list, and where the first
/// frame is.
fn whole_header(pack: &[u8]) -> (u8, Vec<&str>, usize) {
    let mut cursor = Cursor::new(pack);
    assert_eq!(cursor.take(8), b"ORLOPACK");
    assert_eq!(cursor.u16(), 1, "version");
    let kind = cursor.u8();
    assert!(matches!(kind, 1 | 2), "kind {kind}");
    assert_eq!(cursor.u8(), 0, "cipher");
    let length = cursor.u32();
    assert!(length <= 4096, "{length} bytes of features");
    let list = str::from_utf8(cursor.take(index(length))).unwrap();
    let lines = list.split_inclusive('\n').map(|line| line.strip_suffix('\n').expect("its end"));
    let features: Vec<&str> = lines.collect();
    for line in &features {
        assert!(!line.starts_with("x "), "a feature we don't know");
        assert!(line.starts_with("c ") || line.starts_with("r "), "{line:?}");
    }
    let end = pack.len() - cursor.len();
    assert_eq!(cursor.take(8), &id(&pack[..end])[..8], "hash of the pack header");
    (kind, features, end + 8)
}

/// Reads a pack header: the kind, and where the first frame is.
pub(crate) fn header(pack: &[u8]) -> (u8, usize) {
    let (kind, _, end) = whole_header(pack);
    (kind, end)
}

/// The lines of a pack's feature list.
pub(crate) fn features(pack: &[u8]) -> Vec<&str> {
    whole_header(pack).1
}

/// Reads the frame at this offset. None: there is no frame.
pub(crate) fn frame(pack: &[u8], offset: usize, first: u32) -> Option<Frame> {
    let mut cursor = Cursor::new(&pack[offset..]);
    if cursor.len() < 8 || cursor.take(8) != b"ORLFRAME" {
        return None;
    }
    let header_length = cursor.u32();
    assert!(header_length <= MIB);
    let stored_length = cursor.u32();
    assert!(stored_length <= 8 * MIB);
    let raw_length = cursor.u32();
    assert!(raw_length <= 4 * MIB);
    let count = cursor.u32();
    assert!((1..=65_536).contains(&count));
    let [kind, codec, cipher, depth] = [cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8()];
    assert!(matches!(kind, 1..=4) && matches!(codec, 0 | 1) && cipher == 0 && depth <= 2);
    let payload_id = cursor.hash();

    let header = &pack[offset..offset + index(header_length)];
    let (hashed, hash) = header.split_at(header.len() - 16);
    assert_eq!(hash, &id(hashed)[..16], "hash of the frame header");
    let mut cursor = Cursor::new(&hashed[60..]);
    let directories = cursor.hashes(1024);
    let runs: Vec<BaseRun> = (0..cursor.count(65_536))
        .map(|_| BaseRun {
            directory: cursor.varint().checked_sub(1).map(|k| directories[index(k)]),
            first: cursor.varint(),
            count: cursor.varint(),
        })
        .collect();
    let lengths: Vec<u32> = (0..count).map(|_| cursor.varint().try_into().unwrap()).collect();
    assert!(cursor.is_empty(), "more in the frame header");
    assert_eq!(runs.is_empty(), depth == 0, "depth {depth} with {} base runs", runs.len());
    assert_eq!(lengths.iter().sum::<u32>(), raw_length);
    let limit = if kind == 1 { 256 * KIB } else { MIB };
    assert!(lengths.iter().all(|&length| (1..=limit).contains(&length)));

    let payload = &pack[offset + index(header_length)..][..index(stored_length)];
    assert_eq!(id(payload), payload_id, "id of the payload");
    let row = Row {
        offset: offset as u64,
        header_length,
        stored_length,
        raw_length,
        first,
        count,
        kind,
        codec,
        cipher,
        depth,
    };
    Some(Frame { row, runs, lengths, payload: payload.to_vec() })
}

/// Finds the frames from the front, without the tail; also where they end.
pub(crate) fn scan(pack: &[u8]) -> (Vec<Frame>, usize) {
    let (kind, mut offset) = header(pack);
    let (mut frames, mut first) = (Vec::new(), 0);
    while let Some(frame) = frame(pack, offset, first) {
        assert_eq!(
            kind == 1,
            frame.row.kind == 1,
            "frame kind {} in pack kind {kind}",
            frame.row.kind
        );
        offset += index(frame.row.header_length + frame.row.stored_length);
        first += frame.row.count;
        frames.push(frame);
    }
    (frames, offset)
}

impl Frame {
    /// The chunks of the frame.
    pub(crate) fn decode(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        assert!(prefix.len() <= index(4 * MIB));
        let raw = if self.row.codec == 0 {
            assert!(prefix.is_empty(), "stored, with a prefix");
            self.payload.clone()
        } else {
            unzstd(&self.payload, prefix)
        };
        assert_eq!(raw.len(), index(self.row.raw_length));
        let mut cursor = Cursor::new(&raw);
        self.lengths.iter().map(|&length| cursor.take(index(length)).to_vec()).collect()
    }
}

/// The content of exactly one zstd frame.
fn unzstd(payload: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut decoder =
        zstd::stream::read::Decoder::with_ref_prefix(payload, prefix).unwrap().single_frame();
    decoder.window_log_max(23).unwrap();
    let mut raw = Vec::new();
    decoder.read_to_end(&mut raw).unwrap();
    assert!(decoder.finish().is_empty(), "more than one zstd frame");
    raw
}

/// The bytes of a directory.
pub(crate) fn directory_bytes(directory: &Directory) -> Vec<u8> {
    let mut bytes = b"ORLOPDIR".to_vec();
    bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(directory.iter().flat_map(|(length, _)| length.to_le_bytes()));
    bytes.extend(directory.iter().flat_map(|(_, id)| *id));
    bytes
}

/// Reads a directory.
pub(crate) fn directory(bytes: &[u8]) -> Directory {
    let mut cursor = Cursor::new(bytes);
    assert_eq!(cursor.take(8), b"ORLOPDIR");
    let count = cursor.u32();
    assert_eq!(cursor.u32(), 0);
    assert_eq!(cursor.len(), index(count) * 36);
    let lengths: Vec<u32> = (0..count).map(|_| cursor.u32()).collect();
    lengths.into_iter().map(|length| (length, cursor.hash())).collect()
}

/// Reads a frame table.
fn frame_table(bytes: &[u8]) -> Vec<Row> {
    let mut cursor = Cursor::new(bytes);
    assert_eq!(cursor.take(8), b"ORLOPTAB");
    let count = cursor.u32();
    assert_eq!(cursor.u32(), 0);
    assert_eq!(cursor.len(), index(count) * 32);
    let row = |_| Row {
        offset: cursor.u64(),
        header_length: cursor.u32(),
        stored_length: cursor.u32(),
        raw_length: cursor.u32(),
        first: cursor.u32(),
        count: cursor.u32(),
        kind: cursor.u8(),
        codec: cursor.u8(),
        cipher: cursor.u8(),
        depth: cursor.u8(),
    };
    (0..count).map(row).collect()
}

/// Reads what stands behind the frames, from the back.
pub(crate) fn tail(pack: &[u8]) -> Tail {
    let footer_offset = pack.len() - 96;
    let footer = &pack[footer_offset..];
    let mut cursor = Cursor::new(footer);
    let offset = cursor.u64();
    let (directory_length, table_length) = (index(cursor.u32()), index(cursor.u32()));
    let (directory_id, table_id) = (cursor.hash(), cursor.hash());
    assert_eq!(cursor.take(8), &id(&footer[..80])[..8], "hash of the footer");
    assert_eq!(cursor.take(8), b"ORLOPEND");

    let (directory_bytes, rest) = pack[index(offset)..footer_offset].split_at(directory_length);
    assert_eq!(rest.len(), table_length, "the footer follows the frame table");
    assert_eq!(id(directory_bytes), directory_id);
    assert_eq!(id(rest), table_id);
    Tail {
        directory: directory(directory_bytes),
        directory_bytes: directory_bytes.to_vec(),
        directory_id,
        rows: frame_table(rest),
        offset,
    }
}
