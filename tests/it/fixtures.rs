//! Archives that other tools wrote, and hand-made hostile ones, through the command.
//!
//! Assumes the folder of fixtures beside the repository and its table INDEX.md;
//! skipped, aloud, where it is absent. Each archive goes in as a file and through
//! standard input, with the same outcome. What is saved comes out bit for bit, the
//! blobs of its images and the archive as a whole; what is refused leaves the store
//! as it was. With `--nocapture`, a row for each. Arbitrary archives are
//! `roundtrip`'s, damaged ones `cut`'s.

mod check;
mod layers;
mod refused;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use check::{Given, check_refused, check_saved, check_saved_folder, print_head, save};
use refused::REFUSED;

use crate::limits::bounded;
use crate::support::{Scratch, fixtures, hello};

/// What the command may use on a bomb, in KiB.
const BOMB_MEMORY: u64 = 64 << 10;

/// The names in the first cells of a section of INDEX.md, which must be there.
fn listed(folder: &Path, section: &str) -> Vec<(String, PathBuf)> {
    let index = std::fs::read_to_string(folder.join("INDEX.md")).unwrap();
    let section = index.split("\n## ").find(|part| part.starts_with(section)).unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let found: Vec<_> = names.map(|name| (name.to_owned(), folder.join(name))).collect();
    for (name, path) in &found {
        assert!(path.exists(), "{name} is listed and absent");
    }
    found
}

/// A store with something in it.
fn used_store() -> Scratch {
    let scratch = Scratch::new();
    scratch.ok([&"save", &"-i", &hello(1).to_str().unwrap()]);
    scratch
}

/// Counts of a section: what was saved, what was refused, and its layers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    saved: usize,
    refused: usize,
    /// Plain, compressed anew, as they were compressed.
    layers: [usize; 3],
}

/// Hands in all of a section: what is not in the table of refused ones is saved.
#[expect(clippy::print_stdout, reason = "a table for whoever runs it")]
fn hand_in(section: &str) -> Option<Sums> {
    let folder = fixtures()?;
    let table: BTreeMap<_, _> =
        REFUSED.iter().map(|(name, code, text)| (*name, (*code, *text))).collect();
    let store = used_store();
    let mut sums = Sums::default();
    print_head();
    for (name, path) in listed(&folder, section) {
        if let Some((code, text)) = table.get(name.as_str()) {
            check_refused(&store, &name, &path, *code, text);
            sums.refused += 1;
            continue;
        }
        let kinds = if path.is_dir() {
            check_saved_folder(&name, &path)
        } else {
            check_saved(&name, &path)
        };
        sums.saved += 1;
        for (sum, count) in sums.layers.iter_mut().zip(kinds) {
            *sum += count;
        }
    }
    println!("{sums:?}");
    Some(sums)
}

#[test]
fn archives_of_other_tools() {
    let Some(sums) = hand_in("1. ") else { return };
    assert!(sums.saved > 50 && sums.refused == 3, "{sums:?}");
}

#[test]
fn layouts_in_folders() {
    let Some(sums) = hand_in("2. ") else { return };
    assert!(sums.saved > 20 && sums.refused > 10, "{sums:?}");
}

#[test]
fn hand_made_edge_cases() {
    let Some(sums) = hand_in("4. ") else { return };
    assert!(sums.saved > 15 && sums.refused > 10, "{sums:?}");
}

#[test]
fn what_is_refused_is_in_the_tables() {
    let Some(folder) = fixtures() else { return };
    let all: Vec<String> = ["1. ", "2. ", "4. "]
        .into_iter()
        .flat_map(|section| listed(&folder, section))
        .map(|(name, _)| name)
        .collect();
    for (name, _, _) in REFUSED {
        assert!(all.iter().any(|it| it == name), "{name}");
    }
    for entry in std::fs::read_dir(folder.join("synthetic")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(all.contains(&format!("synthetic/{name}")), "nothing is said of {name}");
    }
}

#[test]
fn archives_as_bzip2_come_back() {
    let scratch = Scratch::new();
    let path = scratch.path("hello.tar.bz2");
    let tar = std::fs::read(hello(2)).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&tar).unwrap();
    std::fs::write(&path, bzip2.finish().unwrap()).unwrap();
    check_saved("hello.tar.bz2", &path);
}

#[test]
fn an_empty_member_stands_for_a_layer_that_is_there() {
    let Some(folder) = fixtures() else { return };
    let synthetic = folder.join("synthetic");
    for given in [Given::File, Given::Stream] {
        let scratch = Scratch::new();
        scratch.ok([&"save", &"-i", &synthetic.join("ok-baseline.tar").to_str().unwrap()]);
        let thin = synthetic.join("thin-zero-length-base-layer.tar");
        let output = save(&scratch, &thin, given, &[]);
        assert!(output.status.success(), "{given:?}: {output:?}");
    }
}

/// What an archive lacks may be in the store: after the whole one, a thin one is
/// saved, and comes back as thin as it was.
#[test]
fn thin_archives_are_saved_after_whole_ones() {
    let Some(folder) = fixtures() else { return };
    let synthetic = folder.join("synthetic");
    for (whole, thin) in [
        ("ok-baseline.tar", "thin-missing-base-layer.tar"),
        ("hybrid-ok.tar", "hybrid-thin-missing-base.tar"),
    ] {
        for given in [Given::File, Given::Stream] {
            let scratch = Scratch::new();
            scratch.ok([&"save", &"-i", &synthetic.join(whole).to_str().unwrap()]);
            let thin = synthetic.join(thin);
            let output = save(&scratch, &thin, given, &["--original", "--json"]);
            assert!(output.status.success(), "{given:?}: {output:?}");
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let save = document["saves"][0]["save"].as_str().unwrap();
            let original = scratch.run(["export", "--original", save]).stdout;
            assert!(original == std::fs::read(&thin).unwrap(), "{}", thin.display());
        }
    }
}

/// 64 MiB of zeros in 64 KiB: not more memory than for any other layer.
#[test]
fn a_bomb_is_bounded() {
    let Some(folder) = fixtures() else { return };
    let bomb = folder.join("synthetic/bomb-gzip-layer-64MiB.tar");
    let bomb = bomb.to_str().unwrap();
    for options in [vec![], vec!["--original"]] {
        let scratch = Scratch::new();
        let words = [&["save", "-i", bomb], options.as_slice()].concat();
        let output = bounded(&scratch, BOMB_MEMORY, &words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = bounded(&scratch, BOMB_MEMORY, &["export", "--original", "bomb:1"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == std::fs::read(bomb).unwrap());
    }
}
