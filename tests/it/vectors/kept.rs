//! The vector of a directory that is kept without its pack.

use orlop::digest::Id;
use orlop::pack::directories::{Pieces, parse, pieces};
use orlop::pack::format::{FrameKind, PackKind};
use orlop::pack::tables::Directory;

use super::{Body, pack_zstd, section_chunks};
use super::{Frame, blob, bytes, check, directory_id, names, pack, pack_stored, recipe, whole};
use crate::format::bytes::hex;
use crate::format::chunks::{Chunks, Way};

/// The directory of the first pack.
fn directory() -> Directory {
    let parts = pack_stored();
    let part = parts.iter().find(|(label, _)| *label == "directory").unwrap();
    Directory::decode(&part.1).unwrap()
}

/// A piece by hand: the bytes of the directory from a place on.
fn piece(id: &[u8; 32], from: u8, bytes: &[u8]) -> Vec<u8> {
    [&[1], &id[..], &[from], bytes].concat()
}

#[test]
fn directories_without_their_packs() {
    let directory = directory();
    let (id, bytes) = (directory_id(&pack_stored()), directory.encode());
    let made = pieces(&directory);
    assert_eq!(made, [piece(id.as_bytes(), 0, &bytes)]);
    let piece_id = hex(Id::of(&made[0]).as_bytes());
    check("kept-directory", &[("piece", hex(&made[0])), ("piece id", piece_id)]);

    let (front, back) = bytes.split_at(50);
    let cut = [piece(id.as_bytes(), 50, back), piece(id.as_bytes(), 0, front)];
    let mut all = Pieces::default();
    for piece in &cut {
        all.add(id, piece);
    }
    assert_eq!(all.finish(id), Some(directory));
    assert_eq!(parse(&cut[0]), Ok((id, 50, back)));

    // The recipe of the directory, and its chunks elsewhere, in another order.
    let (section, blob) = (section_chunks(), b"helloworld!");
    let recipe = recipe(blob, Body::Chunks(names(&section)));
    let data = [Frame::stored(FrameKind::Content, &[b"world!", b"between", b"hello"])];
    for kept in [&made[..], &cut] {
        let mut frames = vec![
            Frame::stored(FrameKind::Sections, &[&section]),
            Frame::stored(FrameKind::Recipes, &[&recipe]),
        ];
        frames.extend(kept.iter().map(|piece| Frame::stored(FrameKind::Directories, &[piece])));
        for way in [Way::Whole, Way::Scan] {
            let metadata = whole(&pack(PackKind::Metadata, &frames));
            let mut chunks = Chunks::default();
            chunks.add_bytes([metadata, whole(&pack(PackKind::Data, &data))], way);
            assert!(chunks.is_kept(id.as_bytes()));
            let rebuilt = blob::rebuild(&chunks, &bytes::digest(blob), &recipe);
            assert_eq!(rebuilt.bytes, blob);
        }
    }
}

#[test]
fn a_frame_whose_base_is_gone_takes_nothing_with_it_but_its_directory() {
    let (bytes, directory) = (whole(&pack_zstd()), directory_id(&pack_zstd()));
    for way in [Way::Whole, Way::Scan] {
        let mut chunks = Chunks::default();
        chunks.collected = true;
        chunks.add_bytes([bytes.clone()], way);
        assert_eq!(chunks.seen.lost, 1);
        let expected = (way == Way::Whole).then(|| "orlop ".repeat(20).into_bytes());
        assert_eq!(chunks.find(directory.as_bytes(), 0), expected.as_deref());
        assert_eq!(chunks.find(directory.as_bytes(), 1), None);
    }
}
