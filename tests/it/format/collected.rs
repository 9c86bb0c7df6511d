//! Stores in which garbage was collected, as the text tells them: what wasn't removed
//! comes back exactly, and names mean what the program says.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::chunks::Way;
use super::samples::Random;
use super::{Read, archives, bytes, names, read};
use crate::support::stores::open_disk;
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
    /// The layers of each version that was saved.
    versions: HashMap<u64, Vec<Vec<u8>>>,
    /// The archive of each file that was saved.
    archives: HashMap<String, Vec<u8>>,
}

impl Kept {
    fn new() -> Self {
        Self { scratch: Scratch::new(), versions: HashMap::new(), archives: HashMap::new() }
    }

    fn save(&mut self, name: &str, version: u64) {
        let layers = layers(version);
        let archive = docker::archive(&[(name, &layers[..])]);
        let file = format!("{}-{version}.tar", name.replace(':', "-"));
        fs::write(self.scratch.path(&file), &archive).unwrap();
        self.scratch.ok(["save", "-i", &file]);
        self.versions.insert(version, layers);
        self.archives.insert(file, archive);
    }

    /// All that is left must come back, with its archives, as some version that was
    /// saved. Returns which versions each name means, the oldest first.
    fn look(&self, way: Way) -> (Read, BTreeMap<String, Vec<u64>>) {
        let store = self.scratch.store();
        let said = names::agree(&self.scratch, &[]);
        let mut read = read(&store, way);
        let mut found = BTreeMap::new();
        for (name, keys) in &said.meant {
            let version = |key| {
                let blobs = read.revisions[key].iter().map(|layer| &read.blobs[layer].bytes);
                let layers: Vec<&Vec<u8>> = blobs.collect();
                let found = self.versions.iter().find(|(_, known)| known.iter().eq(layers.clone()));
                *found.expect("layers that were saved").0
            };
            found.insert(name.clone(), keys.iter().map(version).collect::<Vec<u64>>());
        }
        let archives = archives(&store, &mut read);
        assert_eq!(archives.len(), read.revisions.len());
        for (name, archive) in archives {
            assert!(archive == self.archives[&name], "{name}");
        }
        (read, found)
    }

    /// The same; and each of these names must mean these versions.
    fn check(&self, way: Way, expected: &[(&str, &[u64])]) -> Read {
        let (read, found) = self.look(way);
        let long = |name: &str| format!("docker.io/library/{name}");
        let expected: BTreeMap<String, Vec<u64>> =
            expected.iter().map(|(name, versions)| (long(name), versions.to_vec())).collect();
        assert_eq!(found, expected);
        read
    }

    fn run(&self, commands: &[&[&str]]) {
        for command in commands {
            self.scratch.ok(*command);
        }
    }
}

impl Kept {
    /// Optimizes while nothing can be removed, so that all packs are there twice.
    fn optimize_and_leave(&self) {
        let mut other = open_disk(&self.scratch.store());
        let lock = other.keep_garbage().unwrap();
        self.run(&[&["optimize"]]);
        drop(lock);
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
    kept.optimize_and_leave();
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

#[test]
fn copies_that_optimizing_left_keep_what_they_stand_on() {
    let mut kept = Kept::new();
    kept.save("app:2", 1);
    for (name, version) in [("app:1", 9), ("app:1", 10), ("app:3", 11)] {
        kept.save(name, version);
    }
    kept.run(&[&["rm", "app:2"]]);
    kept.optimize_and_leave();
    kept.save("app:1", 3);
    kept.run(&[&["gc", "--max-waste", "0%"]]);
    kept.check(Way::Whole, &[("app:1", &[9, 10, 3]), ("app:3", &[11])]);
}

/// Does something, by chance; whether packs may have changed.
fn step(kept: &mut Kept, random: &mut Random, version: &mut u64) -> bool {
    let name = format!("app:{}", random.number() % 4);
    match random.number() % 10 {
        0..4 => {
            let anew = random.number().is_multiple_of(4);
            *version = if anew { random.number() % 12 } else { *version + 1 };
            eprintln!("save {name} {version}");
            kept.save(&name, *version);
        }
        4 | 5 => eprintln!("rm {name}: {:?}", kept.scratch.run(["rm", &name]).status.code()),
        6 => {
            let forget = ["forget", "--keep-last", "2", "--yes"];
            eprintln!("forget: {:?}", kept.scratch.run(forget).status.code());
        }
        7 | 8 => {
            let waste = ["0%", "5%", "20%", "60%"][bytes::index(random.number() % 4)];
            eprintln!("gc {waste}");
            kept.run(&[&["gc", "--max-waste", waste]]);
            return true;
        }
        _ => {
            eprintln!("optimize");
            kept.run(&[&["optimize"]]);
        }
    }
    false
}

/// Commands by chance, which follow from a number.
fn commands(number: u64) {
    eprintln!("ORLOP_SIM_FIRST={number} repeats this");
    let mut random = Random((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (mut kept, mut version) = (Kept::new(), 1);
    kept.save("app:0", version);
    for _ in 0..14 {
        if step(&mut kept, &mut random, &mut version) {
            kept.look(Way::Whole);
        }
    }
    kept.run(&[&["gc"]]);
    kept.look(Way::Whole);
}

#[test]
fn commands_by_chance() {
    (0..3).for_each(commands);
}

#[test]
#[ignore = "takes as long as it is told to: see CONTRIBUTING.md"]
fn commands_by_chance_as_long_as() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (start, first) = (Instant::now(), number("ORLOP_SIM_FIRST").unwrap_or(0));
    let seconds = number("ORLOP_SIM_SECONDS").unwrap_or(60);
    let mut count = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        commands(first + count);
        count += 1;
    }
    println!("{count} histories of commands");
}
