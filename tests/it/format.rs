//! A second, minimal reader of the store, written from docs/FORMAT.md alone.
//!
//! Uses nothing of the crate under test but its command, and outside crates for
//! hashes, zstd and JSON. It shows that the text is enough to get every blob back;
//! and it reads everything, so it doesn't know how to be fast or small.

#![expect(clippy::disallowed_methods, reason = "doesn't know the crate, nor its fs")]
#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

pub(crate) mod blob;
pub(crate) mod bytes;
pub(crate) mod chunks;
mod collected;
pub(crate) mod compressed;
mod names;
pub(crate) mod pack;
pub(crate) mod samples;
pub(crate) mod store;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Scratch, built, docker, hello};
use blob::Blob;
use bytes::{Hash, id, index};
use chunks::{Chunks, Way};
use names::Key;
use store::{Chunking, Revision};

/// All that a store says.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The layers of each image, by reference, as saves gave them.
    images: HashMap<String, Vec<Hash>>,
    /// The layers of each revision that wasn't removed.
    revisions: BTreeMap<Key, Vec<Hash>>,
    pub(crate) blobs: HashMap<Hash, Blob>,
    chunks: Chunks,
}

/// Reads a store, record after record; what a record needs must be there by then.
/// Where garbage was collected, all packs come first.
pub(crate) fn read(store: &Path, way: Way) -> Read {
    let mut read = Read::default();
    let records = store::records(store);
    let removed = names::read(store).removed;
    read.chunks.collected = records.iter().any(|record| record.collected);
    if read.chunks.collected {
        let packs = store::packs(store, &records);
        read.chunks.add_bytes(store::read_packs(store, &packs, way), way);
    }
    for record in &records {
        if !read.chunks.collected {
            read.chunks.add_bytes(store::read_packs(store, &record.packs, way), way);
        }
        for (position, revision) in (0..).zip(&record.revisions) {
            let key = (bytes::hex(&record.id()), position);
            if removed.contains(&key) && read.chunks.collected {
                continue;
            }
            let layers = revision_of(&mut read, revision);
            for ancestor in &revision.ancestors {
                let below = revision_of(&mut read, ancestor);
                assert!(layers.starts_with(&below), "layers of what it was built on");
            }
            for reference in &revision.references {
                read.images.insert(reference.clone(), layers.clone());
            }
            read.revisions.insert(key, layers);
        }
    }
    let others: Vec<Hash> = read.chunks.blobs().copied().collect();
    for digest in others {
        // What nothing needs may not be whole any more.
        if !read.chunks.collected || !blob::recipes(&read.chunks, &digest).is_empty() {
            get(&mut read, &digest);
        }
    }
    read
}

/// A blob: by each of its recipes, that must agree.
fn get<'a>(read: &'a mut Read, digest: &Hash) -> &'a Blob {
    if !read.blobs.contains_key(digest) {
        let recipes = if read.chunks.collected {
            blob::recipes(&read.chunks, digest)
        } else {
            read.chunks.recipes(digest).iter().collect()
        };
        assert_ne!(recipes.len(), 0, "no recipe for {}", bytes::hex(digest));
        let mut blobs = recipes.iter().map(|recipe| blob::rebuild(&read.chunks, digest, recipe));
        let mut blob = blobs.next().unwrap();
        for other in blobs {
            assert_eq!(other.size, blob.size);
            // Of one that is compressed the bytes are missing.
            if blob.encoded.is_some() {
                blob = other;
            } else {
                assert!(other.encoded.is_some() || other.bytes == blob.bytes);
            }
        }
        read.blobs.insert(*digest, blob);
    }
    &read.blobs[digest]
}

/// Rebuilds all blobs of a revision; returns the layers.
fn revision_of(read: &mut Read, revision: &Revision) -> Vec<Hash> {
    let manifest = &get(read, &revision.root).bytes;
    assert_eq!(manifest.len() as u64, revision.size);
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let descriptor = |value: &Value| {
        (store::digest_of(&value["digest"]), index(value["size"].as_u64().unwrap()))
    };
    let config = descriptor(&manifest["config"]);
    assert_eq!(config.0, revision.image);
    let layers: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(descriptor).collect();
    for (digest, size) in std::iter::once(&config).chain(&layers) {
        if !revision.not_shipped.contains(digest) {
            assert_eq!(index(get(read, digest).size), *size);
        }
    }
    layers.into_iter().map(|(digest, _)| digest).collect()
}

/// The archives that were saved and are kept, in order: name and bytes.
fn archives(store: &Path, read: &mut Read) -> Vec<(String, Vec<u8>)> {
    let mut archives = Vec::new();
    for record in store::records(store).into_iter().filter(|record| record.kind == "save") {
        let mut keys = (0..).zip(&record.revisions).map(|(at, _)| (bytes::hex(&record.id()), at));
        if !keys.all(|key| read.revisions.contains_key(&key)) {
            continue;
        }
        let (assembly, size) = record.assembly.unwrap();
        let assembly = get(read, &assembly).bytes.clone();
        let mut cursor = bytes::Cursor::new(&assembly);
        assert_eq!(cursor.u8(), 1, "version");
        let mut archive = Vec::new();
        while !cursor.is_empty() {
            match cursor.varint() {
                1 => archive.extend_from_slice(&get(read, &cursor.hash()).bytes),
                literal => {
                    assert_eq!(literal % 2, 0);
                    archive.extend_from_slice(cursor.take(index(literal / 2)));
                }
            }
        }
        assert_eq!(archive.len() as u64, size);
        archives.push((record.name, archive));
    }
    archives
}

/// The contents of a blob must be cut as the cutter of the text cuts them.
/// Returns how many were cut.
fn check_cuts(blob: &Blob, gear: &[u64; 256], chunking: Chunking) -> usize {
    let (mut lengths, mut rest, mut count) = (Vec::new(), &blob.content[..], 0);
    for content in &blob.contents {
        let (this, after) = rest.split_at(content.there);
        let cut = blob::cut(gear, chunking, this, content.told);
        count += usize::from(cut.len() > 1);
        lengths.extend(cut);
        rest = after;
    }
    assert_eq!(lengths, blob.chunks);
    count
}

/// A store with the sample archives, and three versions of a made image.
fn scratch() -> (Scratch, HashMap<String, Vec<Vec<u8>>>) {
    let scratch = Scratch::new();
    let mut all = HashMap::new();
    for version in [1, 2] {
        scratch.ok([Path::new("save"), Path::new("-i"), &hello(version)]);
        all.insert(format!("docker.io/library/hello:{version}"), hello_layers(version));
    }
    let mut save = |name: String, layers: Vec<Vec<u8>>, comment: Option<&str>| {
        let images = [(name.as_str(), &layers[..])];
        let bytes = match comment {
            None => docker::archive(&images),
            Some(comment) => docker::archive_with(&images, comment),
        };
        let archive = scratch.path("made.tar");
        fs::write(&archive, bytes).unwrap();
        scratch.ok([Path::new("save"), Path::new("-i"), &archive]);
        all.insert(format!("docker.io/library/{name}"), layers);
    };
    for version in 1..4 {
        save(format!("made:{version}"), samples::layers(version), None);
    }
    let noise = samples::Random(3).bytes(5_000_000);
    let comment = String::from_utf8(samples::Random(4).text(600_000)).unwrap();
    save("noise:1".to_owned(), vec![noise], Some(&comment));
    (scratch, all)
}

/// The layers in a sample archive, by the tar crate.
fn hello_layers(version: u32) -> Vec<Vec<u8>> {
    let archive = fs::read(hello(version)).unwrap();
    let mut files = HashMap::new();
    for entry in tar::Archive::new(&archive[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
    }
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let names = manifest[0]["Layers"].as_array().unwrap();
    names.iter().map(|name| files[name.as_str().unwrap()].clone()).collect()
}

/// Each image must have these layers.
fn check_images(read: &Read, images: &HashMap<String, Vec<Vec<u8>>>) {
    assert_eq!(read.images.keys().collect::<HashSet<_>>(), images.keys().collect());
    for (name, layers) in images {
        let found: Vec<&[u8]> =
            read.images[name].iter().map(|layer| &read.blobs[layer].bytes[..]).collect();
        assert_eq!(found.len(), layers.len(), "{name}");
        for (number, (found, layer)) in found.iter().zip(layers).enumerate() {
            assert!(found == layer, "layer {number} of {name}");
        }
    }
}

#[test]
fn the_document_is_enough_to_read_what_images_were_built_on() {
    let scratch = Scratch::new();
    let (archive, ids) = built::two();
    fs::write(scratch.path("built.tar"), &archive).unwrap();
    scratch.ok(["save", "-i", "built.tar"]);
    let store = scratch.store();
    let revisions: Vec<Revision> =
        store::records(&store).into_iter().flat_map(|record| record.revisions).collect();
    assert_eq!(revisions.len(), 2);
    for (revision, id) in revisions.iter().zip(&ids) {
        let images = std::iter::once(revision).chain(&revision.ancestors);
        let found: Vec<String> = images.map(|it| bytes::hex(&it.image)).collect();
        let expected = [id, &ids[2], &ids[3]].map(|id| id.trim_start_matches("sha256:"));
        assert_eq!(found, expected);
    }
    let mut read = read(&store, Way::Whole);
    assert_eq!(archives(&store, &mut read), [("built.tar".to_owned(), archive)]);
}

#[test]
fn the_document_is_enough_to_read_a_store() {
    let (scratch, images) = scratch();
    let chunking = store::header(&scratch.store());
    let mut read = read(&scratch.store(), Way::Whole);
    check_images(&read, &images);
    let archives = archives(&scratch.store(), &mut read);
    assert_eq!(archives.len(), 6);
    for (number, path) in [(0, hello(1)), (1, hello(2)), (5, scratch.path("made.tar"))] {
        assert!(archives[number].1 == fs::read(path).unwrap(), "{}", archives[number].0);
    }
    let gear = blob::gear();
    let cut: usize = read.blobs.values().map(|blob| check_cuts(blob, &gear, chunking)).sum();
    assert!(cut > 10, "{cut} contents were cut");
    check_coverage(&read);
    let seen = &read.chunks.seen;
    assert_eq!((seen.deeper, seen.lost, seen.same), (0, 0, 0), "{seen:?}");
}

/// The store must have held every feature of the format that the program uses.
fn check_coverage(read: &Read) {
    for (kind, codec) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
        let seen = &read.chunks.seen.frames;
        assert!(seen.contains_key(&(kind, codec, 0)), "pack kind {kind}, codec {codec}: {seen:?}");
    }
    let blobs = || read.blobs.values();
    for operation in 0..5 {
        assert!(blobs().any(|blob| blob.operations[operation] > 0), "operation {operation}");
    }
    assert!(blobs().any(|blob| blob.sections > 1), "no blob of several sections");
    assert!(blobs().any(|blob| blob.sections == 0), "no blob of kind bytes");
    assert!(blobs().any(|blob| blob.operations == [0; 5] && blob.sections > 0), "kind chunks");
    let contents: Vec<_> = blobs().flat_map(|blob| &blob.contents).collect();
    assert!(contents.iter().any(|content| content.there < content.told), "no truncated body");
    let styles = |at: usize| -> HashSet<u8> {
        blobs().flat_map(|blob| &blob.templates).map(|template| template[at]).collect()
    };
    assert_eq!(styles(125), HashSet::from([0, 1, 2, 3, 4, 5, 6]), "styles of size");
    assert_eq!(styles(126), HashSet::from([0, 1, 2, 3, 4, 5, 6]), "styles of mtime");
    assert_eq!(styles(127), HashSet::from([0, 1, 2, 3]), "styles of the checksum");
    let flags = styles(128).iter().fold(0, |all, flags| all | flags);
    assert_eq!(flags, 15, "flags");
}

#[test]
fn a_scan_from_the_front_is_enough_when_the_back_is_lost() {
    let (scratch, images) = scratch();
    for (name, path) in store::list(&scratch.store().join("packs"), ".pack") {
        let mut pack = fs::read(&path).unwrap();
        let (_, end) = pack::scan(&pack);
        pack[end..].fill(0);
        assert_ne!(id(&pack), name);
        fs::remove_file(&path).unwrap();
        fs::write(&path, pack).unwrap();
    }
    let read = read(&scratch.store(), Way::Scan);
    check_images(&read, &images);
}
