//! Compressed blobs in a store, read by the second reader: what it finds, and what
//! the store gives back, must be of one content.

use std::collections::HashMap;
use std::io::Write;

use orlop::chunk::recipe::{Body, Recipe};
use orlop::codec::Levels;
use orlop::digest::Digest;
use orlop::gzip::{EncoderId, Member, Rebuild, Replay};
use orlop::store::record::{SaveRecord, Source};
use orlop::store::{Store, WriteSession};
use orlop::time::Time;

use crate::format::chunks::Way;
use crate::format::samples;
use crate::format::{bytes, read};
use crate::support::Scratch;
use crate::support::stores::{NOW, open_disk};

/// The content of a blob that is compressed, and how it is, by its code.
struct Sample {
    content: Vec<u8>,
    stream: Vec<u8>,
    how: How,
}

enum How {
    Encode(Replay),
    Decode(u8),
}

/// A stream of members of these lengths by an encoder.
fn encoded(encoder: EncoderId, content: Vec<u8>, lengths: &[usize]) -> Sample {
    let header = |at: usize| {
        let name = format!("member {at}\0");
        [b"\x1f\x8b\x08\x08\0\0\0\0\0\xff", name.as_bytes()].concat()
    };
    let members = lengths.iter().enumerate().map(|(at, length)| Member {
        // The last ones are alike.
        header: (at < 2).then(|| header(at)),
        length: *length as u64,
        flushed: at == 1,
        trailer: (at == 2).then_some(*b"whatever"),
    });
    let replay = Replay { encoder, members: members.collect() };
    let (mut rebuild, mut stream) = (Rebuild::new(replay.clone()), Vec::new());
    rebuild.write(&content, &mut stream).unwrap();
    rebuild.finish(&mut stream).unwrap();
    Sample { content, stream, how: How::Encode(replay) }
}

fn samples() -> Vec<Sample> {
    let encoders = ["go-flate-6", "go-flate-1", "pgzip-a", "klauspost-b5"];
    let mut layers = samples::layers(1).into_iter();
    let mut all = Vec::new();
    for (name, content) in encoders.iter().zip(&mut layers) {
        let whole = content.len();
        all.push(encoded(EncoderId::named(name).unwrap(), content, &[whole]));
    }
    let content = samples::Random(5).text(100_000);
    let six = EncoderId::named("go-flate-6").unwrap();
    all.push(encoded(six, content, &[40_000, 1000, 9000, 0, 50_000]));

    let lines = |from| (from..from + 2000).flat_map(|n| format!("{n}\n").into_bytes());
    let lines: Vec<u8> = lines(0).chain(lines(7000)).collect();
    let (bzip2, xz) = ("two-streams.bz2", "two-streams.xz");
    let file = |name: &str| std::fs::read(format!("tests/data/codec/{name}")).unwrap();
    let mut decode = |code, content: Vec<u8>, stream: Vec<u8>| {
        all.push(Sample { content, stream, how: How::Decode(code) });
    };
    for (content, code) in (&mut layers).zip([1, 2, 2, 1]) {
        let stream = if code == 1 {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            gzip.write_all(&content).unwrap();
            gzip.finish().unwrap()
        } else {
            zstd::encode_all(&content[..], 1).unwrap()
        };
        decode(code, content, stream);
    }
    decode(3, lines.clone(), file(bzip2));
    // The beginning of what comes out is a blob as well.
    decode(4, lines[..10_000].to_vec(), file(xz));
    all
}

/// Puts a sample.
fn put(session: &mut WriteSession<'_>, Sample { content, stream, how }: &Sample) {
    let (digest, size) = (Digest::of(stream), stream.len() as u64);
    match how {
        How::Encode(replay) => {
            let of = session.put_layer(&mut &content[..]).unwrap().digest;
            session.put_encoded(digest, size, of, replay).unwrap();
        }
        How::Decode(code) => {
            session.put_opaque(&mut &stream[..]).unwrap();
            // What the code of the document is to the program.
            let recipe = recipe(6, content, &[digest.as_bytes(), &[*code], &[0]]);
            let Body::Decode { compression, .. } = Recipe::decode(&recipe).unwrap().body else {
                panic!("another kind");
            };
            session.index_compressed(&mut &content[..], digest, compression).unwrap();
        }
    }
}

/// A recipe of a blob, by hand.
fn recipe(kind: u8, blob: &[u8], rest: &[&[u8]]) -> Vec<u8> {
    let mut recipe = vec![1, kind];
    recipe.extend_from_slice(&bytes::digest(blob));
    orlop::varint::put(&mut recipe, blob.len() as u64);
    recipe.extend(rest.concat());
    recipe
}

fn store(scratch: &Scratch, samples: &[Sample]) -> Store {
    let mut store = open_disk(&scratch.store());
    let mut session = store.begin(Levels::for_content(1)).unwrap();
    for sample in samples {
        put(&mut session, sample);
    }
    let source = Source { name: "made".to_owned(), dialect: "made".to_owned() };
    let record = SaveRecord::new("test", source, Vec::new());
    session.commit(record, Time::from_nanos(NOW), true).unwrap();
    store
}

#[test]
fn the_second_reader_finds_what_compressed_blobs_stand_on() {
    let (scratch, samples) = (Scratch::new(), samples());
    let store = store(&scratch, &samples);
    let read = read(&scratch.store(), Way::Whole);
    let mut found = HashMap::new();
    for Sample { content, stream, how } in &samples {
        let (digest, of) = (bytes::digest(stream), bytes::digest(content));
        let (blob, below) = (&read.blobs[&digest], &read.blobs[&of]);
        assert!(below.bytes == *content);
        assert_eq!(blob.size, stream.len() as u64);
        let mut given = Vec::new();
        store.write_blob(Digest::from_bytes(digest), &mut given).unwrap();
        assert!(given == *stream);
        match how {
            How::Encode(replay) => {
                let (from, known) = blob.encoded.as_ref().unwrap();
                assert_eq!(*from, of);
                known.check(&given, content);
                let encoder = (known.encoder.as_str(), known.version);
                let version = u64::from(replay.encoder.version());
                assert_eq!(encoder, (replay.encoder.name(), version));
                *found.entry(known.members()).or_default() += 1;
            }
            How::Decode(code) => {
                assert!(blob.bytes == *stream);
                assert_eq!(below.decoded, Some((digest, *code)));
                assert!(below.sections > 0);
                *found.entry(usize::from(*code) + 100).or_default() += 1;
            }
        }
    }
    let expected = [(1, 4), (5, 1), (101, 2), (102, 2), (103, 1), (104, 1)];
    assert_eq!(found, HashMap::from(expected));
}
