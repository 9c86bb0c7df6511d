//! The store header, records, and the chunks of many packs, sections 3, 4 and 7 of
//! docs/FORMAT.md.
//!
//! Holds all decoded chunks in memory: made for small stores. What the text
//! forbids is a panic. Knows the fields of records that a reader needs, not more.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::format::bytes::{Hash, digest, hash, hex, id, index};
use crate::format::pack::{self, Frame};

/// How packs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Front and back are both read, and compared.
    Whole,
    /// The back isn't looked at, nor is the hash of the file.
    Scan,
}

/// The parameters of the cutter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunking {
    pub(crate) min: usize,
    pub(crate) average: usize,
    pub(crate) max: usize,
    pub(crate) whole: usize,
}

/// Reads the store header.
pub(crate) fn header(store: &Path) -> Chunking {
    let header: Value =
        serde_json::from_slice(&fs::read(store.join("orlop.json")).unwrap()).unwrap();
    assert_eq!(header["format"], 1);
    hash(header["store"].as_str().unwrap());
    assert!(header["id_key"].is_null());
    no_refused_features(&header);
    let chunking = &header["chunking"];
    assert_eq!(chunking["algorithm"], "gear-1");
    let number = |name: &str| index(chunking[name].as_u64().unwrap());
    Chunking {
        min: number("min"),
        average: number("average"),
        max: number("max"),
        whole: number("whole"),
    }
}

fn no_refused_features(document: &Value) {
    let refuse = document["features"]["refuse"].as_array().unwrap();
    assert!(refuse.is_empty(), "unknown features {refuse:?}");
}

/// The files `FOLDER/ab/<id>SUFFIX`.
pub(crate) fn list(folder: &Path, suffix: &str) -> Vec<(Hash, PathBuf)> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let mut files = Vec::new();
    for file in entries(folder).iter().flat_map(|part| entries(part)) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let digits = name.strip_suffix(suffix).unwrap();
        assert_eq!(file.parent().unwrap().file_name().unwrap().to_str(), Some(&digits[..2]));
        files.push((hash(digits), file));
    }
    files
}

/// A revision in a record.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    /// The digest of the manifest.
    pub(crate) root: Hash,
    pub(crate) size: u64,
    /// The digest of the config.
    pub(crate) image: Hash,
    pub(crate) references: Vec<String>,
    pub(crate) not_shipped: HashSet<Hash>,
}

/// A record of the kind `save`.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    order: (String, u64, Hash),
    /// The name of the archive.
    pub(crate) name: String,
    /// The blob that puts the archive together, and the length of that.
    pub(crate) assembly: Option<(Hash, u64)>,
    pub(crate) packs: Vec<Hash>,
    pub(crate) revisions: Vec<Revision>,
}

/// A digest as it is written in JSON.
pub(crate) fn digest_of(value: &Value) -> Hash {
    hash(value.as_str().unwrap().strip_prefix("sha256:").unwrap())
}

fn revision(value: &Value) -> Revision {
    let digests = |name: &str| value[name].as_array().unwrap().iter().map(digest_of).collect();
    let references = value["references"].as_array().unwrap();
    Revision {
        root: digest_of(&value["root"]["digest"]),
        size: value["root"]["size"].as_u64().unwrap(),
        image: digest_of(&value["image_id"]),
        references: references.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        not_shipped: digests("not_shipped"),
    }
}

/// The record in these bytes.
pub(crate) fn record(bytes: &[u8]) -> Record {
    let record: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(record["format"], 1);
    assert_eq!(record["kind"], "save");
    no_refused_features(&record);
    let saved_at = record["saved_at"].as_str().unwrap().to_owned();
    assert_eq!((saved_at.len(), saved_at.as_bytes()[29]), (30, b'Z'), "{saved_at}");
    let archive = &record["archive"];
    let assembly = Some(&record["assembly"]).filter(|digest| !digest.is_null()).map(|digest| {
        assert!(archive["compression"].is_null(), "none of these was compressed");
        (digest_of(digest), archive["size"].as_u64().unwrap())
    });
    assert_eq!(assembly.is_none(), archive.is_null());
    let packs = record["packs"].as_array().unwrap();
    Record {
        order: (saved_at, record["sequence"].as_u64().unwrap(), id(bytes)),
        name: record["source"]["name"].as_str().unwrap().to_owned(),
        assembly,
        packs: packs.iter().map(|pack| hash(pack.as_str().unwrap())).collect(),
        revisions: record["revisions"].as_array().unwrap().iter().map(revision).collect(),
    }
}

/// All records, in order.
pub(crate) fn records(store: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    for (name, path) in list(&store.join("records"), ".json") {
        let bytes = fs::read(path).unwrap();
        assert_eq!(id(&bytes), name, "id of the record");
        records.push(record(&bytes));
    }
    records.sort_by(|a, b| a.order.cmp(&b.order));
    records
}

/// A chunk, and the depth of its frame.
#[derive(Debug, Clone)]
struct Chunk {
    bytes: Vec<u8>,
    depth: u8,
}

/// How often something was met, to know that it was tested.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// (pack kind, codec, depth): frames.
    pub(crate) frames: HashMap<(u8, u8, u8), usize>,
    /// Frames with bases in other packs.
    pub(crate) foreign_bases: usize,
}

/// The chunks of the packs that were added so far.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    directories: HashMap<Hash, Vec<Chunk>>,
    sections: HashMap<Hash, Vec<u8>>,
    recipes: HashMap<Hash, Vec<Vec<u8>>>,
    pub(crate) seen: Seen,
}

impl Chunks {
    /// Adds packs from files.
    pub(crate) fn add(&mut self, store: &Path, packs: &[Hash], way: Way) {
        let read = |name: &Hash| {
            let digits = hex(name);
            let file = store.join(format!("packs/{}/{digits}.pack", &digits[..2]));
            let bytes = fs::read(file).unwrap();
            assert!(way == Way::Scan || id(&bytes) == *name, "id of the pack {digits}");
            bytes
        };
        self.add_bytes(packs.iter().map(read), way);
    }

    /// Adds packs, in whatever order their bases ask for.
    pub(crate) fn add_bytes(&mut self, packs: impl IntoIterator<Item = Vec<u8>>, way: Way) {
        let mut waiting: Vec<(Vec<u8>, Vec<Frame>)> = Vec::new();
        for bytes in packs {
            let (frames, end) = pack::scan(&bytes);
            if way == Way::Whole {
                let tail = pack::tail(&bytes);
                assert_eq!(tail.offset, end as u64, "the directory follows the frames");
                let rows: Vec<_> = frames.iter().map(|frame| frame.row.clone()).collect();
                assert_eq!(tail.rows, rows, "the frame table tells what the scan finds");
            }
            waiting.push((bytes, frames));
        }
        while !waiting.is_empty() {
            let ready = waiting.iter().position(|(_, frames)| self.has_bases(frames));
            let (bytes, frames) = waiting.remove(ready.expect("packs without their bases"));
            self.add_pack(&bytes, &frames, way);
        }
    }

    fn has_bases(&self, frames: &[Frame]) -> bool {
        let mut directories =
            frames.iter().flat_map(|frame| &frame.runs).filter_map(|run| run.directory);
        directories.all(|directory| self.directories.contains_key(&directory))
    }

    fn add_pack(&mut self, bytes: &[u8], frames: &[Frame], way: Way) {
        let mut chunks: Vec<Chunk> = Vec::new();
        for frame in frames {
            assert_eq!(index(frame.row.first), chunks.len());
            let (prefix, depth) = self.prefix(frame, &chunks);
            assert_eq!(frame.row.depth, depth);
            let key = (bytes[10], frame.row.codec, depth);
            *self.seen.frames.entry(key).or_default() += 1;
            for bytes in frame.decode(&prefix) {
                match frame.row.kind {
                    2 => {
                        let digest = bytes[2..34].try_into().unwrap();
                        self.recipes.entry(digest).or_default().push(bytes.clone());
                    }
                    3 => drop(self.sections.insert(id(&bytes), bytes.clone())),
                    _ => {}
                }
                chunks.push(Chunk { bytes, depth });
            }
        }
        let length = |chunk: &Chunk| u32::try_from(chunk.bytes.len()).unwrap();
        let directory = chunks.iter().map(|chunk| (length(chunk), id(&chunk.bytes))).collect();
        let rebuilt = pack::directory_bytes(&directory);
        if way == Way::Whole {
            let tail = pack::tail(bytes);
            assert_eq!(tail.directory, directory);
            assert_eq!(tail.directory_bytes, rebuilt);
            assert_eq!(tail.directory_id, id(&rebuilt));
        }
        self.directories.insert(id(&rebuilt), chunks);
    }

    /// The prefix of a frame, and the depth that follows from it.
    fn prefix(&mut self, frame: &Frame, before: &[Chunk]) -> (Vec<u8>, u8) {
        let (mut prefix, mut depth) = (Vec::new(), 0);
        for run in &frame.runs {
            let directory = match run.directory {
                None => before,
                Some(directory) => {
                    self.seen.foreign_bases += 1;
                    &self.directories[&directory]
                }
            };
            for chunk in &directory[index(run.first)..][..index(run.count)] {
                prefix.extend(&chunk.bytes);
                depth = depth.max(1 + chunk.depth);
            }
        }
        (prefix, depth)
    }

    /// The chunk at a position of a directory.
    pub(crate) fn at(&self, directory: &Hash, position: u64) -> &[u8] {
        &self.directories[directory][index(position)].bytes
    }

    /// The section with this id.
    pub(crate) fn section(&self, id: &Hash) -> &[u8] {
        &self.sections[id]
    }

    /// The recipes of a blob.
    pub(crate) fn recipes(&self, digest: &Hash) -> &[Vec<u8>] {
        self.recipes.get(digest).map_or(&[], Vec::as_slice)
    }

    /// All blobs that there is a recipe for.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Hash> {
        self.recipes.keys()
    }
}

/// Checks a blob against the digest it was asked for by.
pub(crate) fn check(blob: &[u8], asked: &Hash) {
    assert_eq!(hex(&digest(blob)), hex(asked), "digest of a blob of {} bytes", blob.len());
}
