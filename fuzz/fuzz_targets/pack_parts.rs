//! The parts of a pack, with their hashes put right: what was read is written
//! again as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop::digest::Id;
use orlop::pack::directories::{self, Pieces, parse};
use orlop::pack::format::{
    FRAME_CHUNKS_MAX, FRAME_HEADER_MAX, FRAME_RAW_MAX, FRAME_STORED_MAX, FrameHeader, PackHeader,
    check_pack_header,
};
use orlop::pack::tables::{Directory, FOOTER, Footer, decode_table, encode_table};
use orlop::varint;
use orlop_fuzz::Plan;

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let kind = plan.u8();
    let mut bytes = plan.rest().to_vec();
    match kind % 6 {
        0 => pack_header(&mut bytes),
        1 => frame_header(&mut bytes),
        2 => footer(&bytes),
        3 => {
            if let Ok(directory) = Directory::decode(&bytes) {
                assert_eq!(directory.ids.len(), directory.lengths.len());
                assert!(directory.encode() == bytes);
            }
        }
        4 => {
            if let Ok(frames) = decode_table(&bytes) {
                let chunks: u64 = frames.iter().map(|frame| u64::from(frame.count)).sum();
                let last =
                    frames.last().map_or(0, |last| u64::from(last.first) + u64::from(last.count));
                assert_eq!(chunks, last);
                assert!(encode_table(&frames) == bytes);
            }
        }
        _ => pieces(&bytes),
    }
});

fn pack_header(bytes: &mut [u8]) {
    if let Some(length) = bytes.get(12..16).and_then(<[u8]>::as_array) {
        let end = 16_usize.saturating_add(u32::from_le_bytes(*length) as usize);
        if let Some((hashed, rest)) = bytes.split_at_mut_checked(end)
            && let Some(hash) = rest.first_chunk_mut::<8>()
        {
            hash.copy_from_slice(&Id::of(hashed).as_bytes()[..8]);
        }
    }
    if let Ok(PackHeader { length, .. }) = check_pack_header(bytes) {
        assert!((24..=24 + 4096).contains(&length) && length <= bytes.len());
        assert_eq!(check_pack_header(&bytes[..length]), check_pack_header(bytes));
        assert!(check_pack_header(&bytes[..length - 1]).is_err());
    }
}

fn frame_header(bytes: &mut [u8]) {
    let length = bytes.len();
    if let Some(hashed) = length.checked_sub(16).filter(|hashed| *hashed >= 12) {
        let stored = u32::try_from(length).unwrap_or_default();
        bytes[8..12].copy_from_slice(&stored.to_le_bytes());
        let (hashed, hash) = bytes.split_at_mut(hashed);
        hash.copy_from_slice(&Id::of(hashed).as_bytes()[..16]);
    }
    let Ok(header) = FrameHeader::decode(bytes) else { return };
    assert!(length <= FRAME_HEADER_MAX as usize);
    assert_eq!(FrameHeader::peek_length(bytes).map(|length| length as usize), Some(length));
    assert!(header.stored_len <= FRAME_STORED_MAX && header.raw_len <= FRAME_RAW_MAX);
    assert!((1..=FRAME_CHUNKS_MAX as usize).contains(&header.lengths.len()));
    assert_eq!(header.lengths.iter().sum::<u32>(), header.raw_len);
    assert!(header.lengths.iter().all(|length| *length > 0));
    // A reader takes directories in any order, and some that no run names.
    let again = header.encode();
    assert!(again.len() <= length);
    assert_eq!(FrameHeader::decode(&again), Ok(header));
}

fn piece(id: Id, start: u64, bytes: &[u8]) -> Vec<u8> {
    let mut chunk = vec![1];
    chunk.extend_from_slice(id.as_bytes());
    varint::put(&mut chunk, start);
    chunk.extend_from_slice(bytes);
    chunk
}

/// A directory that is kept in pieces: all of it comes back, or nothing.
fn pieces(bytes: &[u8]) {
    if let Ok((id, start, rest)) = parse(bytes) {
        assert!(piece(id, start, rest) == bytes);
        let mut alone = Pieces::default();
        alone.add(id, bytes);
        let directory = alone.finish(id);
        assert!(directory.is_none_or(|it| start == 0 && it.encode() == rest));
    }
    let mut plan = Plan::new(bytes);
    let count = plan.below(40);
    let lengths = (0..count).map(|_| plan.u32()).collect();
    let ids = (0..count).map(|_| Id::of(plan.short())).collect();
    let directory = Directory { lengths, ids };
    let encoded = directory.encode();
    let id = Id::of(&encoded);
    assert_eq!(directories::pieces(&directory), [piece(id, 0, &encoded)]);

    let (mut chunks, mut start, mut whole) = (Vec::new(), 0, true);
    while start < encoded.len() {
        let end = encoded.len().min(start + 1 + plan.below(900));
        let mut chunk = piece(id, start as u64, &encoded[start..end]);
        let odd = plan.u8();
        if odd >= 240 {
            whole = false;
            let at = plan.below(chunk.len());
            chunk[at] ^= 1 << (odd & 7);
        }
        // Any order will do, and so will one that is there twice.
        let at = plan.below(chunks.len() + 1);
        chunks.insert(at, chunk.clone());
        if odd == 1 {
            chunks.push(chunk);
        }
        start = end;
    }
    let mut together = Pieces::default();
    chunks.iter().for_each(|chunk| together.add(id, chunk));
    match together.finish(id) {
        Some(found) => assert_eq!(found, directory),
        None => assert!(!whole),
    }
}

fn footer(bytes: &[u8]) {
    let mut footer = [0; FOOTER];
    let taken = bytes.len().min(80);
    footer[..taken].copy_from_slice(&bytes[..taken]);
    let hash = Id::of(&footer[..80]);
    footer[80..88].copy_from_slice(&hash.as_bytes()[..8]);
    footer[88..].copy_from_slice(b"ORLOPEND");
    let mut plan = Plan::new(&footer);
    let parts = [plan.u64(), plan.u32().into(), plan.u32().into(), FOOTER as u64];
    let length = parts.iter().fold(0_u64, |sum, part| sum.wrapping_add(*part));
    match Footer::decode(&footer, length) {
        Ok(read) => {
            assert_eq!(read.encode(), footer);
            assert!(read.directory_offset <= length);
            assert!(Footer::decode(&footer, length.wrapping_add(1)).is_err());
        }
        Err(_) => {
            assert!(parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part)).is_none());
        }
    }
    footer[usize::from(bytes.last().copied().unwrap_or_default()) % 88] ^= 1;
    assert!(Footer::decode(&footer, length).is_err(), "its hash is wrong");
}
