//! Packs that are nearly right, or any bytes: one that opens is as the format
//! says, and its frames hold the chunks that its directory tells.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use orlop::digest::Id;
use orlop::pack::format::{
    BaseRun, Codec, FrameHeader, FrameKind, PackFeatures, PackKind, pack_header,
};
use orlop::pack::reader::{PackError, PackReader};
use orlop::pack::tables::{Directory, Footer, FrameEntry, encode_table};
use orlop_fuzz::memory::Memory;
use orlop_fuzz::{Plan, expand, mutate};

/// What frames with a base get as their prefix.
const PREFIX: &[u8] = b"a prefix of which there is not much to be had";

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let bytes = match plan.u8() % 8 {
        0 => plan.rest().to_vec(),
        1 => {
            let mut bytes = pack(&mut plan);
            mutate(&mut bytes, &mut plan);
            bytes
        }
        _ => pack(&mut plan),
    };
    let (memory, path) = (Memory::default(), Path::new("pack"));
    memory.put(path, bytes.clone());
    match PackReader::open(&memory, path) {
        Ok(pack) => check(&pack, &bytes),
        Err(PackError::Fs(error)) => panic!("beyond the end of the file: {error}"),
        Err(_) => {}
    }
});

fn check(pack: &PackReader, bytes: &[u8]) {
    let (directory, frames) = (pack.directory(), pack.frames());
    assert_eq!(pack.size(), bytes.len() as u64);
    let id = Id::of(&directory.encode());
    assert_eq!(pack.directory_id(), id);

    let features = Plan::new(&bytes[12..]).u32();
    let mut at = 24 + u64::from(features);
    let mut position = 0;
    for (number, entry) in frames.iter().enumerate() {
        assert_eq!((entry.offset, entry.first), (at, position), "frames don't follow each other");
        assert_eq!(entry.kind.pack(), pack.kind(), "a frame of another kind");
        at += u64::from(entry.header_len) + u64::from(entry.stored_len);
        for _ in 0..entry.count {
            assert_eq!(pack.frame_of(position), Some(number));
            position += 1;
        }
    }
    assert_eq!(position as usize, directory.ids.len());
    assert_eq!(pack.frame_of(position), None);
    assert_eq!(pack.frame_of(u32::MAX), None);
    let rest = bytes.len() as u64 - at;
    let tables = directory.encode().len() + encode_table(frames).len() + 96;
    assert_eq!(rest, tables as u64, "bytes between frames and directory");

    for (number, entry) in frames.iter().enumerate() {
        let first = entry.first as usize;
        let chunks = first..first + entry.count as usize;
        if let Ok(header) = pack.frame_header(number) {
            assert_eq!(header.lengths, directory.lengths[chunks.clone()]);
            assert_eq!((header.kind, header.codec), (entry.kind, entry.codec));
        }
        let prefix = |_: &FrameHeader| Ok::<_, PackError>(PREFIX.to_vec());
        match pack.frame(number, prefix) {
            Ok(raw) => {
                let mut rest = raw.as_slice();
                for position in chunks {
                    let length = directory.lengths[position] as usize;
                    let (chunk, later) = rest.split_at(length);
                    assert_eq!(Id::of(chunk), directory.ids[position]);
                    rest = later;
                }
                assert!(rest.is_empty(), "a frame has more than its chunks");
            }
            Err(PackError::Fs(error)) => panic!("beyond the end of the file: {error}"),
            Err(_) => {}
        }
    }
}

/// A pack in which a few things may be wrong, but no hash.
fn pack(plan: &mut Plan<'_>) -> Vec<u8> {
    let kind = plan.pick(&[PackKind::Data, PackKind::Metadata]);
    let mut bytes = pack_header(kind, PackFeatures::default());
    let features = plan.u8();
    if features > 200 {
        let list = [b"c ".as_slice(), plan.short(), b"\n"].concat();
        bytes[12..16].copy_from_slice(&u32::try_from(list.len()).unwrap_or_default().to_le_bytes());
        bytes.truncate(16);
        bytes.extend_from_slice(&list);
        let hash = Id::of(&bytes);
        bytes.extend_from_slice(&hash.as_bytes()[..8]);
    }
    let mut directory = Directory::default();
    let mut frames = Vec::new();
    for _ in 0..plan.u8() % 5 {
        frame(plan, kind, &mut bytes, &mut directory, &mut frames);
    }
    let odd = plan.u8();
    if odd & 1 != 0 {
        bytes.extend_from_slice(plan.short());
    }
    if odd & 2 != 0 && !frames.is_empty() {
        let number = plan.below(frames.len());
        let (what, by) = (plan.u8(), plan.u32() >> (plan.u8() & 31));
        change(&mut frames[number], what, by);
    }
    if odd & 4 != 0 && !directory.ids.is_empty() {
        let at = plan.below(directory.ids.len());
        let by = plan.u32() >> (plan.u8() & 31);
        directory.lengths[at] = directory.lengths[at].wrapping_add(by);
    }
    if odd & 8 != 0 {
        directory.lengths.push(plan.u8().into());
        directory.ids.push(Id::of(plan.short()));
    }
    let (mut head, mut table) = (directory.encode(), encode_table(&frames));
    if odd & 16 != 0 {
        mutate(&mut head, plan);
    }
    if odd & 32 != 0 {
        mutate(&mut table, plan);
    }
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX);
    let mut footer = Footer {
        directory_offset: bytes.len() as u64,
        directory_len: length(&head),
        table_len: length(&table),
        directory: Id::of(&head),
        table: Id::of(&table),
    };
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&table);
    if odd & 64 != 0 {
        let by = i32::from(plan.u8().cast_signed());
        footer.directory_len = footer.directory_len.wrapping_add_signed(by);
        footer.table_len = footer.table_len.wrapping_add_signed(-by);
    }
    bytes.extend_from_slice(&footer.encode());
    bytes
}

fn frame(
    plan: &mut Plan<'_>,
    pack: PackKind,
    bytes: &mut Vec<u8>,
    directory: &mut Directory,
    frames: &mut Vec<FrameEntry>,
) {
    let raw = expand(plan, 8_000);
    let (mut lengths, mut rest) = (Vec::new(), raw.as_slice());
    while !rest.is_empty() && lengths.len() < 20 {
        let length = if lengths.len() == 19 { rest.len() } else { 1 + usize::from(plan.u16()) };
        let (chunk, later) = rest.split_at(length.min(rest.len()));
        lengths.push(u32::try_from(chunk.len()).unwrap_or_default());
        directory.ids.push(Id::of(chunk));
        rest = later;
    }
    directory.lengths.extend(&lengths);
    let odd = plan.u8();
    let kind = match pack {
        PackKind::Data => FrameKind::Content,
        PackKind::Metadata => {
            plan.pick(&[FrameKind::Recipes, FrameKind::Sections, FrameKind::Directories])
        }
    };
    let base = BaseRun { directory: None, first: 0, count: 1 };
    let codec = if odd & 1 == 0 { Codec::Stored } else { Codec::Zstd };
    let based = codec == Codec::Zstd && odd & 2 != 0;
    let mut payload = raw.clone();
    if codec == Codec::Zstd {
        payload = zstd::bulk::compress(&raw, 1).unwrap_or_default();
    }
    if odd & 4 != 0 {
        mutate(&mut payload, plan);
    }
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX);
    let mut header = FrameHeader {
        kind,
        codec,
        depth: based.into(),
        stored_len: length(&payload),
        raw_len: length(&raw),
        payload: Id::of(&payload),
        bases: if based { vec![base] } else { Vec::new() },
        lengths,
    };
    let entry = FrameEntry {
        offset: bytes.len() as u64,
        header_len: 0,
        stored_len: header.stored_len,
        raw_len: header.raw_len,
        first: u32::try_from(directory.ids.len() - header.lengths.len()).unwrap_or_default(),
        count: u32::try_from(header.lengths.len()).unwrap_or_default(),
        kind: header.kind,
        codec: header.codec,
        depth: header.depth,
    };
    if odd & 8 != 0 {
        // Other cuts than the directory has, of the same bytes.
        header.lengths = vec![header.raw_len];
    }
    if odd & 16 != 0 {
        header.kind = FrameKind::Directories;
    }
    let header = header.encode();
    frames.push(FrameEntry { header_len: length(&header), ..entry });
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&payload);
    if odd & 32 != 0 {
        bytes.extend_from_slice(plan.short());
    }
}

fn change(entry: &mut FrameEntry, what: u8, by: u32) {
    match what % 9 {
        0 => entry.offset = entry.offset.wrapping_add(by.into()),
        1 => entry.header_len = entry.header_len.wrapping_add(by),
        2 => entry.stored_len = entry.stored_len.wrapping_add(by),
        3 => entry.raw_len = entry.raw_len.wrapping_add(by),
        4 => entry.first = entry.first.wrapping_add(by),
        5 => entry.count = entry.count.wrapping_add(by),
        6 => entry.kind = FrameKind::Directories,
        7 => entry.codec = if by & 1 == 0 { Codec::Stored } else { Codec::Zstd },
        _ => entry.depth = (by & 3) as u8,
    }
}
