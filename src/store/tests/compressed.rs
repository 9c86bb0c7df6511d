//! Kinds *encode* and *decode*: what is put comes back, and what is wrong is told.

use std::collections::HashSet;
use std::io::Write;

use proptest::prelude::*;

use super::super::StoreError;
use super::*;
use crate::chunk::recipe::Body;
use crate::codec::Compression;
use crate::store::session::Stored;
use crate::varint::Malformed;

fn six() -> EncoderId {
    id("go-flate-6")
}

fn recipe_error(result: Result<Vec<u8>>) -> &'static str {
    match result {
        Err(StoreError::Recipe { source: Malformed::Other(what), .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_any_encoder_makes_comes_back() {
    let scratch = Scratch::new();
    let layers: Vec<_> = EncoderId::all()
        .zip(1..)
        .map(|(id, seed)| {
            let content = tar(&[&mixed(seed, 300_000), b"", &mixed(seed, 1000)]);
            (gzip(id, &content), content)
        })
        .collect();
    scratch.save(|session| {
        for (id, (stream, content)) in EncoderId::all().zip(&layers) {
            put_both(session, id, content, stream);
        }
    });
    let store = scratch.open();
    for (stream, content) in &layers {
        let (digest, of) = (Digest::of(stream), Digest::of(content));
        assert!(matches!(store.recipe(digest).unwrap().body, Body::Encode { .. }));
        assert!(read(&store, digest).unwrap() == *stream);
        assert!(read(&store, of).unwrap() == *content);
        assert_eq!(store.blob(digest).unwrap().unwrap().size, stream.len() as u64);
        let (whole, below) = (store.stored_bytes(digest).unwrap(), store.stored_bytes(of).unwrap());
        assert!((below + 20..below + 500).contains(&whole), "{whole} {below}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_content_comes_back(
        content in prop::collection::vec(any::<u8>(), 0..5000),
        at in any::<prop::sample::Index>(),
    ) {
        let scratch = Scratch::new();
        let ids: Vec<_> = EncoderId::all().collect();
        let id = ids[at.index(ids.len())];
        let stream = gzip(id, &content);
        let digest = scratch.save(|session| put_both(session, id, &content, &stream));
        prop_assert!(read(&scratch.open(), digest).unwrap() == stream);
    }
}

fn zstd(content: &[u8]) -> Vec<u8> {
    let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

/// Puts a compressed blob as it is, and its content: both as they were stored.
fn put_as_is(
    session: &mut WriteSession<'_>,
    stream: &[u8],
    content: &[u8],
    compression: Compression,
) -> [Stored; 2] {
    let blob = session.put_opaque(&mut &*stream).unwrap();
    let layer = session.index_compressed(&mut &*content, blob.digest, compression).unwrap();
    [blob, layer]
}

#[test]
fn what_is_decompressed_comes_back() {
    let lines = |from| (from..from + 2000).flat_map(|n| format!("{n}\n").into_bytes());
    let content: Vec<u8> = lines(0).chain(lines(7000)).collect();
    let layer = tar(&[&mixed(1, 3_000_000), b"", &mixed(2, 1000)]);
    let blobs = [
        (gzip(six(), &layer), &layer, Compression::Gzip),
        (zstd(&layer[..2_000_000]), &layer[..2_000_000].to_vec(), Compression::Zstd),
        (zstd(b""), &Vec::new(), Compression::Zstd),
        (
            include_bytes!("../../../tests/data/codec/two-streams.bz2").to_vec(),
            &content,
            Compression::Bzip2,
        ),
    ];
    let scratch = Scratch::new();
    scratch.save(|session| {
        for (stream, content, compression) in &blobs {
            let [blob, layer] = put_as_is(session, stream, content, *compression);
            assert_eq!((blob.new, blob.known), (stream.len() as u64, false));
            assert_eq!((layer.new, layer.known), (0, false));
        }
    });
    let store = scratch.open();
    for (stream, content, compression) in &blobs {
        let (digest, of) = (Digest::of(content), Digest::of(stream));
        assert!(read(&store, digest).unwrap() == *content.as_slice(), "{compression:?}");
        assert!(read(&store, of).unwrap() == *stream);
        assert_eq!(store.recipe(digest).unwrap().body.stands_on(), Some(of));
        assert!(store.blob(digest).unwrap().is_some());
        assert!(store.stored_bytes(digest).unwrap() > store.stored_bytes(of).unwrap());
    }
}

#[test]
fn xz_is_decompressed() {
    let lines = |from| (from..from + 2000).flat_map(|n| format!("{n}\n").into_bytes());
    let content: Vec<u8> = lines(0).chain(lines(7000)).collect();
    let stream = include_bytes!("../../../tests/data/codec/two-streams.xz");
    let scratch = Scratch::new();
    scratch.save(|session| put_as_is(session, stream, &content, Compression::Xz));
    assert!(read(&scratch.open(), Digest::of(&content)).unwrap() == content);
}

#[test]
fn names_are_listed_without_decompressing() {
    let (one, two) = (mixed(1, 100_000), mixed(2, 5));
    let content = tar(&[&one, &two]);
    let stream = zstd(&content);
    let scratch = Scratch::new();
    scratch.save(|session| put_as_is(session, &stream, &content, Compression::Zstd));
    let store = scratch.open();
    let body = store.recipe(Digest::of(&content)).unwrap().body;
    let [section] = body.sections() else { panic!("{body:?}") };
    let chunk = store.chunk(*section).unwrap();
    let mut section = crate::layer::section::Section::parse(chunk.as_slice()).unwrap();
    assert_eq!(section.next_run(), Ok(None));
    let mut lengths = Vec::new();
    while let Some(operation) = section.next_operation(0).unwrap() {
        if let crate::layer::section::Operation::Header { block, content, .. } = operation {
            lengths.push((block[..13].to_vec(), content));
        }
    }
    assert_eq!(lengths, [(b"folder/file-0".to_vec(), 100_000), (b"folder/file-1".to_vec(), 5)]);
}

#[test]
fn what_is_known_is_not_added() {
    let content = tar(&[&mixed(1, 50_000)]);
    let (gzipped, zstded) = (gzip(six(), &content), zstd(&content));
    let scratch = Scratch::new();
    scratch.save(|session| put_both(session, six(), &content, &gzipped));
    scratch.save(|session| {
        let (digest, of) = (Digest::of(&gzipped), Digest::of(&content));
        let size = gzipped.len() as u64;
        let again =
            session.put_encoded(digest, size, of, &replay(six(), &gzipped, &content)).unwrap();
        assert_eq!((again.new, again.known), (0, true));
        let [_, layer] = put_as_is(session, &zstded, &content, Compression::Zstd);
        assert_eq!((layer.new, layer.known), (0, true));
    });
    let store = scratch.open();
    assert!(matches!(store.recipe(Digest::of(&content)).unwrap().body, Body::Tar(_)));
    assert!(matches!(store.recipe(Digest::of(&zstded)).unwrap().body, Body::Chunks(_)));
}

#[test]
fn a_layer_that_was_decompressed_can_be_put_as_it_is() {
    let content = tar(&[&mixed(1, 50_000)]);
    let stream = zstd(&content);
    let scratch = Scratch::new();
    scratch.save(|session| put_as_is(session, &stream, &content, Compression::Zstd));
    let stored = scratch.save(|session| session.put_layer(&mut &*content).unwrap());
    assert_eq!((stored.new, stored.known), (50_000, true));
    let store = scratch.open();
    assert!(matches!(store.recipe(stored.digest).unwrap().body, Body::Tar(_)));
    assert!(read(&store, stored.digest).unwrap() == content);
    assert!(read(&store, Digest::of(&stream)).unwrap() == stream);
}

#[test]
fn nothing_stands_on_what_is_not_there() {
    let content = tar(&[&mixed(1, 50_000)]);
    let stream = gzip(six(), &content);
    let (digest, of, size) = (Digest::of(&stream), Digest::of(&content), stream.len() as u64);
    let scratch = Scratch::new();
    scratch.save(|session| {
        let replay = replay(six(), &stream, &content);
        let error = session.put_encoded(digest, size, of, &replay).unwrap_err();
        assert!(matches!(error, StoreError::NoBlob { digest } if digest == of));
        let error = session.index_compressed(&mut &*content, digest, Compression::Gzip);
        assert!(matches!(error.unwrap_err(), StoreError::NoBlob { digest: no } if no == digest));
        session.put_layer(&mut &content[..1000]).unwrap();
        let shorter = Digest::of(&content[..1000]);
        let error = session.put_encoded(digest, size, shorter, &replay).unwrap_err();
        assert!(error.is_damage(), "another length");
        assert_eq!(session.blob(digest).unwrap(), None);
    });
}

#[test]
fn what_is_kept_keeps_what_it_stands_on() {
    let layers: Vec<_> = (1..4)
        .map(|seed| {
            let content = tar(&[&mixed(seed, 50_000)]);
            (gzip(six(), &content), content)
        })
        .collect();
    let scratch = Scratch::new();
    scratch.save(|session| {
        let digests: Vec<_> = layers
            .iter()
            .map(|(stream, content)| put_both(session, six(), content, stream))
            .collect();
        let twice = gzip(six(), &layers[1].0);
        let (digest, size) = (Digest::of(&twice), twice.len() as u64);
        let replay = replay(six(), &twice, &layers[1].0);
        session.put_encoded(digest, size, digests[1], &replay).unwrap();
        session.keep_only(&HashSet::from([digests[0], digest]));
        assert_eq!(session.blob(digests[2]).unwrap(), None);
    });
    let store = scratch.open();
    for (number, (stream, content)) in layers.iter().enumerate() {
        for blob in [stream, content] {
            let found = store.blob(Digest::of(blob)).unwrap().is_some();
            assert_eq!(found, number < 2, "{number}");
        }
    }
}

#[test]
fn blobs_stand_on_one_another_four_deep() {
    let scratch = Scratch::new();
    let mut streams = vec![mixed(1, 20_000)];
    for _ in 0..5 {
        streams.push(gzip(six(), streams.last().unwrap()));
    }
    let digests: Vec<_> = streams.iter().map(|stream| Digest::of(stream)).collect();
    let replay = |at: usize| replay(six(), &streams[at], &streams[at - 1]);
    scratch.save(|session| {
        session.put_layer(&mut &streams[0][..]).unwrap();
        for at in 1..6 {
            let size = streams[at].len() as u64;
            let put = session.put_encoded(digests[at], size, digests[at - 1], &replay(at));
            assert_eq!(put.is_ok(), at < 5);
        }
        let pending = Pending::Encode { of: digests[4], replay: replay(5).to_bytes() };
        put_recipe(session, digests[5], streams[5].len() as u64, pending);
    });
    let store = scratch.open();
    assert!(read(&store, digests[4]).unwrap() == streams[4]);
    let deep = "it stands on others more than four deep";
    assert_eq!(recipe_error(read(&store, digests[5])), deep);
    assert_eq!(store.blob(digests[5]).unwrap(), None);
    assert_eq!(store.decoding_ahead(&digests[5..], || ()).unwrap(), ());
    assert!(store.stored_bytes(digests[5]).is_err());
}

#[test]
fn a_circle_is_an_error() {
    let scratch = Scratch::new();
    let content = mixed(1, 20_000);
    let stream = gzip(six(), &content);
    let (digest, of) = (Digest::of(&stream), Digest::of(&content));
    let itself = Digest::of(b"itself");
    scratch.save(|session| {
        let replay = replay(six(), &stream, &content).to_bytes();
        let encode = Pending::Encode { of, replay: replay.clone() };
        put_recipe(session, digest, stream.len() as u64, encode);
        let compression = Compression::Gzip;
        let decode = Pending::Decode { of: digest, compression, sections: Vec::new() };
        put_recipe(session, of, content.len() as u64, decode);
        put_recipe(session, itself, 6, Pending::Encode { of: itself, replay });
    });
    let store = scratch.open();
    for digest in [digest, of, itself] {
        assert_eq!(recipe_error(read(&store, digest)), "it stands on itself");
        assert_eq!(store.blob(digest).unwrap(), None);
        let read = store.decoding_ahead(&[digest], || read(&store, digest)).unwrap();
        assert_eq!(recipe_error(read), "it stands on itself");
    }
}

#[test]
fn wrong_replays_are_errors() {
    let scratch = Scratch::new();
    let content = tar(&[&mixed(1, 400_000)]);
    let stream = gzip(six(), &content);
    let of = Digest::of(&content);
    let right = replay(six(), &stream, &content);
    let mut other = right.clone();
    other.encoder = id("go-flate-1");
    let mut shorter = right.clone();
    shorter.members[0].length -= 1;
    let mut longer = right.clone();
    longer.members[0].length += 1;
    let mut unknown = right.to_bytes();
    unknown[1] = b'?';
    let size = stream.len() as u64;
    let replays = [
        (other.to_bytes(), size),
        (shorter.to_bytes(), size),
        (longer.to_bytes(), size),
        (b"\x01".to_vec(), size),
        (right.to_bytes(), size - 1),
        (right.to_bytes(), size + 1),
        (unknown, size),
    ];
    let digest = |at: usize| Digest::of(&[u8::try_from(at).unwrap()]);
    scratch.save(|session| {
        session.put_layer(&mut &*content).unwrap();
        for (at, (replay, size)) in replays.iter().enumerate() {
            put_recipe(session, digest(at), *size, Pending::Encode { of, replay: replay.clone() });
        }
    });
    let store = scratch.open();
    let all: Vec<_> = (0..replays.len()).map(digest).collect();
    let errors = |ahead: &[Digest]| {
        let errors = || all.iter().map(|digest| read(&store, *digest).unwrap_err());
        store.decoding_ahead(ahead, || errors().map(|e| format!("{e:?}")).collect::<Vec<_>>())
    };
    let (alone, ahead) = (errors(&[]).unwrap(), errors(&all).unwrap());
    assert_eq!(alone, ahead);
    for (error, start) in alone.iter().zip([
        "Recipe",
        "Recipe",
        "Recipe",
        "Recipe",
        "Recipe",
        "Recipe",
        "Unsupported",
    ]) {
        assert!(error.starts_with(start), "{error}");
    }
    assert!(read(&store, of).unwrap() == content);
}

#[test]
fn what_stands_on_lost_chunks_is_not_whole() {
    let content = tar(&[&mixed(1, 50_000)]);
    let stream = gzip(six(), &content);
    let (other, other_stream) = (mixed(2, 60_000), zstd(&mixed(2, 60_000)));
    let scratch = Scratch::new();
    scratch.save(|session| {
        put_both(session, six(), &content, &stream);
        put_as_is(session, &other_stream, &other, Compression::Zstd);
    });
    let data = scratch.packs().into_iter().max_by_key(|path| length(path)).unwrap();
    damage(&data, None);
    let mut store = scratch.open();
    for digest in [&stream, &content, &other_stream, &other].map(|blob| Digest::of(blob)) {
        assert!(read(&store, digest).unwrap_err().is_damage());
        assert_eq!(store.blob(digest).unwrap(), None);
    }
    // They can be put again.
    let mut session = store.begin(Levels::for_content(1)).unwrap();
    put_both(&mut session, six(), &content, &stream);
    put_as_is(&mut session, &other_stream, &other, Compression::Zstd);
    let source = Source { name: "test".to_owned(), dialect: "test".to_owned() };
    session.commit(SaveRecord::new("test", source, Vec::new()), Time::from_nanos(1), true).unwrap();
    drop(store);
    let store = scratch.open();
    for blob in [&stream, &content, &other_stream, &other] {
        assert!(read(&store, Digest::of(blob)).unwrap() == *blob);
    }
}

#[test]
fn a_damaged_chunk_is_named_whatever_stands_on_it() {
    let content = mixed(2, 3_000_000);
    let stream = zstd(&content);
    let scratch = Scratch::new();
    scratch.save(|session| put_as_is(session, &stream, &content, Compression::Zstd));
    let data = scratch.packs().into_iter().max_by_key(|path| length(path)).unwrap();
    damage(&data, Some(stream.len() / 2));
    let store = scratch.open();
    let error = read(&store, Digest::of(&content)).unwrap_err();
    assert!(matches!(error, StoreError::Pack(_)), "{error:?}");
}

#[test]
fn what_can_not_be_decompressed_is_told() {
    let content = mixed(2, 300_000);
    let mut stream = zstd(&content);
    let half = stream.len() / 2;
    stream[half..].fill(0xff);
    let scratch = Scratch::new();
    let [_, shorter] = scratch.save(|session| {
        put_as_is(session, &stream, &content, Compression::Zstd);
        put_as_is(session, &zstd(&content), &[&content[..], b"more"].concat(), Compression::Zstd)
    });
    let store = scratch.open();
    let error = read(&store, Digest::of(&content)).unwrap_err();
    assert!(matches!(error, StoreError::Decompress { .. }) && error.is_damage(), "{error:?}");
    let less = "less is decompressed than the recipe says";
    assert_eq!(recipe_error(read(&store, shorter.digest)), less);
}

#[test]
fn an_output_that_fails_ends_what_decompresses() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let content = mixed(2, 3_000_000);
    let (zstded, gzipped) = (zstd(&content), gzip(six(), &content));
    let scratch = Scratch::new();
    scratch.save(|session| {
        put_as_is(session, &zstded, &content, Compression::Zstd);
        let size = gzipped.len() as u64;
        let of = Digest::of(&content);
        let replay = replay(six(), &gzipped, &content);
        session.put_encoded(Digest::of(&gzipped), size, of, &replay).unwrap();
    });
    let store = scratch.open();
    for digest in [&content, &gzipped].map(|blob| Digest::of(blob)) {
        for room in [0, 100_000, 700_000] {
            let error = store.write_blob(digest, &mut Full(room)).unwrap_err();
            let StoreError::Output(error) = error else { panic!("{error:?}") };
            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        }
    }
    assert!(read(&store, Digest::of(&gzipped)).unwrap() == gzipped);
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Flips a bit of a file, or removes it.
#[expect(clippy::disallowed_methods, reason = "damages files")]
fn damage(path: &Path, at: Option<usize>) {
    let Some(at) = at else { return std::fs::remove_file(path).unwrap() };
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}
