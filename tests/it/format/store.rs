//! The store header, records, and which packs they name, sections 3, 7 and 10.1 of
//! docs/FORMAT.md.
//!
//! What the text forbids is a panic. Knows the fields of records that a reader
//! needs, not more.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::format::bytes::{Hash, digest, hash, hex, id, index};
use crate::format::chunks::Way;

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
    /// The images that it was built on.
    pub(crate) ancestors: Vec<Revision>,
}

/// A record, as far as it says what there is.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    order: (String, u64, Hash),
    pub(crate) kind: String,
    /// The name of the archive that was saved.
    pub(crate) name: String,
    /// The blob that puts the archive together, and the length of that.
    pub(crate) assembly: Option<(Hash, u64)>,
    pub(crate) packs: Vec<Hash>,
    /// Packs that may be missing.
    dropped: Vec<Hash>,
    /// Whether it is of a collection.
    pub(crate) collected: bool,
    pub(crate) revisions: Vec<Revision>,
}

impl Record {
    /// Its id.
    pub(crate) fn id(&self) -> Hash {
        self.order.2
    }
}

/// A digest as it is written in JSON.
pub(crate) fn digest_of(value: &Value) -> Hash {
    hash(value.as_str().unwrap().strip_prefix("sha256:").unwrap())
}

fn revision(value: &Value) -> Revision {
    let digests = |name: &str| -> HashSet<Hash> {
        value[name].as_array().unwrap().iter().map(digest_of).collect()
    };
    let references = value["references"].as_array().unwrap();
    let listed = value["ancestors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ancestors = listed.iter().map(|ancestor| Revision {
        root: digest_of(&ancestor["root"]["digest"]),
        size: ancestor["root"]["size"].as_u64().unwrap(),
        image: digest_of(&ancestor["image_id"]),
        references: Vec::new(),
        not_shipped: digests("not_shipped"),
        ancestors: Vec::new(),
    });
    Revision {
        ancestors: ancestors.collect(),
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
    no_refused_features(&record);
    let with_ancestors = record["revisions"].as_array().is_some_and(|revisions| {
        revisions.iter().any(|revision| revision.get("ancestors").is_some())
    });
    let read_only = if with_ancestors { vec!["ancestors"] } else { Vec::new() };
    assert_eq!(record["features"]["read_only"], serde_json::json!(read_only));
    let kind = record["kind"].as_str().unwrap().to_owned();
    let known = ["save", "tag", "remove", "pin", "undo", "repack"].contains(&&*kind);
    assert!(known, "a record of the kind {kind}");
    let saved_at = record["saved_at"].as_str().unwrap().to_owned();
    assert_eq!((saved_at.len(), saved_at.as_bytes()[29]), (30, b'Z'), "{saved_at}");
    let packs = |name: &str| -> Vec<Hash> {
        record[name].as_array().unwrap().iter().map(|id| hash(id.as_str().unwrap())).collect()
    };
    let mut read = Record {
        order: (saved_at, record["sequence"].as_u64().unwrap(), id(bytes)),
        kind,
        name: String::new(),
        assembly: None,
        packs: Vec::new(),
        dropped: Vec::new(),
        collected: false,
        revisions: Vec::new(),
    };
    match &*read.kind {
        "save" => {
            record["source"]["name"].as_str().unwrap().clone_into(&mut read.name);
            read.packs = packs("packs");
            let archive = &record["archive"];
            let assembly = Some(&record["assembly"]).filter(|digest| !digest.is_null());
            read.assembly = assembly.map(|digest| {
                assert!(archive["compression"].is_null(), "none of these was compressed");
                (digest_of(digest), archive["size"].as_u64().unwrap())
            });
            assert_eq!(read.assembly.is_none(), archive.is_null());
            read.revisions = record["revisions"].as_array().unwrap().iter().map(revision).collect();
        }
        "repack" => {
            read.packs = packs("packs");
            read.dropped = packs("dropped");
            read.collected = record.get("optimized").is_none_or(|is| is == false);
        }
        _ => {}
    }
    read
}

/// The packs that are about to be removed, as the open generation says.
pub(crate) fn doomed(store: &Path) -> HashSet<Hash> {
    let folder = store.join("tmp/gc");
    let files = fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap());
    let number = |name: &str| name.strip_suffix(".json")?.parse::<u64>().ok();
    let open = files.filter_map(|file| number(file.file_name().to_str().unwrap())).max();
    let Some(number) = open else { return HashSet::new() };
    let bytes = fs::read(folder.join(format!("{number}.json"))).unwrap();
    let generation: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(generation["number"], number);
    let doomed = generation["doomed"].as_object().unwrap();
    assert!(doomed.values().all(|since| since.as_u64().unwrap() <= number));
    doomed.keys().map(|id| hash(id)).collect()
}

/// The packs that records name and that aren't about to be removed. One that is
/// missing must have been dropped.
pub(crate) fn packs(store: &Path, records: &[Record]) -> Vec<Hash> {
    let dropped: HashSet<&Hash> = records.iter().flat_map(|record| &record.dropped).collect();
    let doomed = doomed(store);
    let (mut packs, mut known) = (Vec::new(), HashSet::new());
    for pack in records.iter().flat_map(|record| &record.packs) {
        if !known.insert(pack) || doomed.contains(pack) {
            continue;
        }
        if file_of(store, pack).exists() {
            packs.push(*pack);
        } else {
            assert!(dropped.contains(pack), "pack {} is missing", hex(pack));
        }
    }
    packs
}

fn file_of(store: &Path, pack: &Hash) -> PathBuf {
    let digits = hex(pack);
    store.join(format!("packs/{}/{digits}.pack", &digits[..2]))
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

/// Reads packs from files.
pub(crate) fn read_packs(store: &Path, packs: &[Hash], way: Way) -> Vec<Vec<u8>> {
    let read = |name: &Hash| {
        let bytes = fs::read(file_of(store, name)).unwrap();
        assert!(way == Way::Scan || id(&bytes) == *name, "id of the pack {}", hex(name));
        bytes
    };
    packs.iter().map(read).collect()
}

/// Checks a blob against the digest it was asked for by.
pub(crate) fn check(blob: &[u8], asked: &Hash) {
    assert_eq!(hex(&digest(blob)), hex(asked), "digest of a blob of {} bytes", blob.len());
}
