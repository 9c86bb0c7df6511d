//! Stores in which garbage was collected, as the text tells them: what wasn't removed
//! comes back exactly, and names mean what the program says.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use super::chunks::Way;
use super::samples::Random;
use super::{Read, archives, bytes, names, read};
use crate::support::{Scratch, docker};

/// The layers of a version: one whose files change a little from one version to the
/// next, so that they stand on those before, and one of many small files.
fn layers(version: u64) -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = (1..7).map(|file| Random(file).text(150_000)).collect();
    for number in 1..=version {
        for (file, at) in (1..).zip(&mut files) {
            let place = bytes::index(number * 9_000 + file * 700);
            at[place..place + 26]
                .copy_from_slice(format!("changed in version {number:07}").as_bytes());
        }
    }
    // Of this version alone, and as large as two chunks or so.
    files.push(Random(100 + version).bytes(140_000));
    let small = (0..300).map(|file| Random(1000 + file + version / 2 * 150).text(60)).collect();
    [files, small].into_iter().map(|files: Vec<Vec<u8>>| tar(&files)).collect()
}

fn tar(files: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (number, file) in files.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.len() as u64);
        tar.append_data(&mut header, format!("usr/{number}"), &file[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A store, and what should be in it.
struct Kept {
    scratch: Scratch,
    /// The archive and the layers of each version that was saved.
    versions: HashMap<u64, (Vec<u8>, Vec<Vec<u8>>)>,
}

impl Kept {
    fn new() -> Self {
        Self { scratch: Scratch::new(), versions: HashMap::new() }
    }

    fn save(&mut self, name: &str, version: u64) {
        let layers = layers(version);
        let archive = docker::archive(&[(name, &layers[..])]);
        fs::write(self.scratch.path(format!("{version}.tar")), &archive).unwrap();
        self.scratch.ok(["save", "-i", &format!("{version}.tar")]);
        self.versions.insert(version, (archive, layers));
    }

    /// Each of these names must mean these versions, in this order, the oldest first,
    /// and all of them must come back, with their archives.
    fn check(&self, way: Way, expected: &[(&str, &[u64])]) -> Read {
        let store = self.scratch.store();
        let said = names::agree(&self.scratch, &[]);
        let mut read = read(&store, way);
        let mut found = BTreeMap::new();
        for (name, keys) in &said.meant {
            let version = |key| {
                let blobs = read.revisions[key].iter().map(|layer| &read.blobs[layer].bytes);
                let layers: Vec<&Vec<u8>> = blobs.collect();
                let is_it = |(_, known): &&(Vec<u8>, Vec<Vec<u8>>)| known.iter().eq(layers.clone());
                let found = self.versions.iter().find(|(_, version)| is_it(version));
                *found.expect("layers that were saved").0
            };
            found.insert(name.clone(), keys.iter().map(version).collect::<Vec<u64>>());
        }
        let long = |name: &str| format!("docker.io/library/{name}");
        let expected: BTreeMap<String, Vec<u64>> =
            expected.iter().map(|(name, versions)| (long(name), versions.to_vec())).collect();
        assert_eq!(found, expected);

        let archives = archives(&store, &mut read);
        assert_eq!(archives.len(), read.revisions.len());
        for (name, archive) in archives {
            let version: u64 = name.strip_suffix(".tar").unwrap().parse().unwrap();
            assert!(archive == self.versions[&version].0, "{name}");
        }
        read
    }

    fn run(&self, commands: &[&[&str]]) {
        for command in commands {
            self.scratch.ok(*command);
        }
    }
}

/// How many blobs name a directory whose pack is gone.
fn on_kept(read: &Read) -> usize {
    let recipes = read.chunks.blobs().flat_map(|digest| read.chunks.recipes(digest));
    let names_kept = |recipe: &&Vec<u8>| match super::blob::recipe(recipe).body {
        super::blob::Body::Sections { directories, .. } => {
            directories.iter().any(|directory| read.chunks.is_kept(directory))
        }
        _ => false,
    };
    recipes.filter(names_kept).count()
}

#[test]
fn the_document_is_enough_to_read_what_was_collected() {
    let mut kept = Kept::new();
    for version in 0..6 {
        kept.save(&format!("app:{version}"), version);
    }
    let all: [(&str, &[u64]); 6] = [
        ("app:0", &[0]),
        ("app:1", &[1]),
        ("app:2", &[2]),
        ("app:3", &[3]),
        ("app:4", &[4]),
        ("app:5", &[5]),
    ];
    let read = kept.check(Way::Whole, &all);
    assert!(read.chunks.seen.foreign_bases > 3, "{:?}", read.chunks.seen);

    kept.run(&[&["tag", "app:1", "other:x"], &["pin", "app:3"], &["rm", "app:0", "app:1"]]);
    kept.run(&[&["rm", "app:2"], &["rm", "app:4"], &["undo"]]);
    let left: [(&str, &[u64]); 4] =
        [("app:3", &[3]), ("app:4", &[4]), ("app:5", &[5]), ("other:x", &[1])];
    kept.check(Way::Whole, &left);
    kept.run(&[&["gc", "--max-waste", "0%"]]);
    let first = kept.check(Way::Whole, &left);
    assert!(first.chunks.seen.generations > 0, "{:?}", first.chunks.seen);
    assert!(first.chunks.pieces().1 > 0 && on_kept(&first) > 0);
    kept.check(Way::Scan, &left);

    // More saves, which stand on what was moved, and the same names anew.
    kept.save("app:5", 6);
    kept.save("app:nightly", 7);
    kept.save("app:nightly", 8);
    let more: [(&str, &[u64]); 5] = [
        ("app:3", &[3]),
        ("app:4", &[4]),
        ("app:5", &[5, 6]),
        ("app:nightly", &[7, 8]),
        ("other:x", &[1]),
    ];
    kept.check(Way::Whole, &more);
    kept.run(&[&["optimize"]]);
    let optimized = kept.check(Way::Whole, &more);
    let seen = &optimized.chunks.seen;
    assert!(seen.same > 0 && seen.optimized >= seen.same, "{seen:?}");
    kept.check(Way::Scan, &more);

    kept.run(&[&["gc"], &["forget", "--keep-last", "2", "--yes", "app"]]);
    let last: [(&str, &[u64]); 3] = [("app:3", &[3]), ("app:nightly", &[7, 8]), ("other:x", &[1])];
    kept.check(Way::Whole, &last);
    kept.run(&[&["gc", "--max-waste", "0%"]]);
    let second = kept.check(Way::Whole, &last);
    assert!(second.chunks.seen.moved_bases > 0, "{:?}", second.chunks.seen);
    assert!(second.chunks.pieces().1 > 0 && on_kept(&second) > 0);
    kept.save("app:nightly", 9);
    kept.run(&[&["rm", "other:x"], &["gc"], &["optimize"], &["gc"]]);
    let end: [(&str, &[u64]); 2] = [("app:3", &[3]), ("app:nightly", &[7, 8, 9])];
    kept.check(Way::Whole, &end);
    kept.check(Way::Scan, &end);
}

#[test]
fn packs_that_are_about_to_go_are_not_needed() {
    let mut kept = Kept::new();
    for version in 0..4 {
        kept.save(&format!("app:{version}"), version);
    }
    kept.run(&[&["rm", "app:0", "app:1", "app:2"]]);
    // One that lives, and that may read them: nobody reads what it writes.
    let mut reader =
        kept.scratch.command().args(["export", "app:3"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = reader.stdout.take().unwrap();
    out.read_exact(&mut [0; 512]).unwrap();
    let output = kept.scratch.run(["gc", "--max-waste", "0%"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let root = kept.scratch.store();
    let doomed = super::store::doomed(&root);
    let there = |pack: &bytes::Hash| {
        let digits = bytes::hex(pack);
        root.join(format!("packs/{}/{digits}.pack", &digits[..2])).exists()
    };
    assert!(!doomed.is_empty() && doomed.iter().all(there));
    kept.check(Way::Whole, &[("app:3", &[3])]);
    // What is saved meanwhile names none of them.
    kept.save("app:again", 0);
    let expected: [(&str, &[u64]); 2] = [("app:3", &[3]), ("app:again", &[0])];
    kept.check(Way::Whole, &expected);
    reader.kill().unwrap();
    reader.wait().unwrap();
    kept.run(&[&["gc", "--max-waste", "0%"]]);
    assert!(super::store::doomed(&root).is_empty());
    assert!(!doomed.iter().any(there));
    kept.check(Way::Whole, &expected);
    kept.check(Way::Scan, &expected);
}
