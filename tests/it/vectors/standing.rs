//! Vectors of recipes that stand on other blobs.

use orlop::chunk::recipe::{Body, Recipe};
use orlop::digest::Id;
use orlop::gzip::{EncoderId, Member, Rebuild, Replay};
use orlop::layer::section::SectionWriter;
use orlop::pack::format::{FrameKind, PackKind};
use orlop::varint;

use super::{Frame, check, pack, recipe, whole};
use crate::format::blob;
use crate::format::bytes::{self, hex};
use crate::format::chunks::{Chunks, Way};

/// A recipe of a blob that stands on another, by hand: `kind`, and what follows the
/// size.
fn standing(kind: u8, blob: &[u8], rest: &[&[u8]]) -> Vec<u8> {
    let mut recipe = vec![1, kind];
    recipe.extend_from_slice(&bytes::digest(blob));
    varint::put(&mut recipe, blob.len() as u64);
    recipe.extend(rest.concat());
    recipe
}

#[test]
fn recipes_that_stand_on_others() {
    let content = b"hello, hello, hello\n";
    let member = Member {
        header: Some(b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec()),
        length: content.len() as u64,
        flushed: false,
        trailer: None,
    };
    let encoder = EncoderId::named("go-flate-6").unwrap();
    let replay = Replay { encoder, members: vec![member] };
    let (mut rebuild, mut stream) = (Rebuild::new(replay.clone()), Vec::new());
    rebuild.write(content, &mut stream).unwrap();
    rebuild.finish(&mut stream).unwrap();
    let of = bytes::digest(content);
    let encode = standing(4, &stream, &[&of, &replay.to_bytes()]);
    check("recipe-encode", &[("stream", hex(&stream)), ("recipe", hex(&encode))]);

    // The content is no tar, so that one operation takes all of it.
    let mut section = SectionWriter::default();
    section.content(content.len() as u64);
    let section = section.take();
    let from = bytes::digest(&stream);
    let decode = standing(6, content, &[&from, &[1], &[1], Id::of(&section).as_bytes()]);
    check("recipe-decode", &[("section", hex(&section)), ("recipe", hex(&decode))]);

    for recipe in [&encode, &decode] {
        assert_eq!(Recipe::decode(recipe).unwrap().encode(), *recipe);
    }
    // The second reader finds the content below the one, and in the other.
    let plain = recipe(content, Body::Bytes(content.to_vec()));
    let kept = recipe(&stream, Body::Bytes(stream.clone()));
    for recipes in [[&plain, &encode], [&kept, &decode]] {
        let frames = [
            Frame::stored(FrameKind::Sections, &[&section]),
            Frame::stored(FrameKind::Recipes, &recipes.map(Vec::as_slice)),
        ];
        let mut chunks = Chunks::default();
        chunks.add_bytes([whole(&pack(PackKind::Metadata, &frames))], Way::Whole);
        let blob = blob::rebuild(&chunks, &of, &chunks.recipes(&of)[0]);
        assert_eq!(blob.bytes, content);
        let blob = blob::rebuild(&chunks, &from, &chunks.recipes(&from)[0]);
        match blob.encoded {
            Some((below, replay)) => {
                assert_eq!(below, of);
                replay.check(&stream, content);
            }
            None => assert_eq!(blob.bytes, stream),
        }
    }
}
