//! `gc` as a command: what it reads, and what it says.
//!
//! What is collected, and that the rest comes back, is tested beside the code.

use std::fs;
use std::path::Path;

use orlop::fs::Disk;
use orlop::pack::format::PackKind;
use orlop::pack::reader::PackReader;
use serde_json::Value;

use crate::support::Scratch;
use crate::support::stores::{archive, expected, export, files, layer, open_disk, save};

/// Text that is alike in no two places.
fn lines(seed: usize) -> Vec<u8> {
    let line = |at: usize| format!("{}\n", at * at % (seed + 89)).into_bytes();
    (0..20_000).flat_map(line).collect()
}

/// Stores an image of one layer with one file.
fn put(root: &Path, name: &str, seed: usize) {
    save(&mut open_disk(root), &archive(name, &[layer(&[(name, &lines(seed))])])).unwrap();
}

/// Runs `gc` with more arguments, and reads what it prints.
fn gc(scratch: &Scratch, arguments: &[&str]) -> Value {
    let output = scratch.run(["gc", "--json"].into_iter().chain(arguments.iter().copied()));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Damages the content of every frame in packs of content; returns how many.
fn spoil(root: &Path) -> usize {
    let mut spoiled = 0;
    for path in files(&root.join("packs")) {
        let pack = PackReader::open(&Disk, &path).unwrap();
        if pack.kind() == PackKind::Data {
            let mut bytes = fs::read(&path).unwrap();
            for entry in pack.frames() {
                bytes[usize::try_from(entry.offset).unwrap() + entry.header_len as usize] ^= 1;
                spoiled += 1;
            }
            fs::write(&path, bytes).unwrap();
        }
    }
    spoiled
}

#[test]
fn no_content_is_read_that_is_not_written_again() {
    let scratch = Scratch::new();
    let root = scratch.store();
    put(&root, "one:1", 1);
    put(&root, "two:1", 1000);
    assert!(spoil(&root) >= 2);
    let before = files(&root.join("packs"));
    assert_eq!(gc(&scratch, &[])["packs"], 0);
    assert_eq!(files(&root.join("packs")), before);

    assert!(scratch.run(["rm", "one:1"]).status.success());
    let planned = gc(&scratch, &["--dry-run", "--max-waste", "0"]);
    assert_eq!(files(&root.join("packs")), before);
    let done = gc(&scratch, &["--max-waste", "100"]);
    assert_eq!((&done["written"], done["removed"].as_u64() > Some(0)), (&Value::from(0), true));
    assert!(planned["free"].as_i64() >= done["free"].as_i64(), "{planned} {done}");
    let after = files(&root.join("packs"));
    assert!(after.len() < before.len() && after.iter().all(|path| before.contains(path)));
    // It is damaged all the same, and whoever reads it is told.
    assert_eq!(scratch.run(["export", "two:1"]).status.code(), Some(13));
}

#[test]
fn what_forget_says_is_what_gc_frees() {
    let scratch = Scratch::new();
    let root = scratch.store();
    for seed in [1, 1000, 2000] {
        put(&root, "one:1", seed);
    }
    let newest = export(&open_disk(&root), "one:1");
    let output = scratch.run(["forget", "--keep-last", "1", "--yes", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!told["record"].is_null(), "{told}");
    let planned = gc(&scratch, &["--dry-run"]);
    assert_eq!(told["gc"]["before"], planned["before"]);
    assert_eq!(told["gc"]["free"], planned["free"]);
    let done = gc(&scratch, &[]);
    let (told, done) = (told["gc"]["free"].as_i64().unwrap(), done["free"].as_i64().unwrap());
    assert!(done > 0 && done >= told * 9 / 10 && done <= told * 11 / 10, "{told} and {done}");
    assert!(export(&open_disk(&root), "one:1") == newest);
}

#[test]
fn forget_goes_on_where_what_gc_frees_cannot_be_told() {
    let scratch = Scratch::new();
    let root = scratch.store();
    put(&root, "one:1", 1);
    put(&root, "one:1", 1000);
    let mut store = open_disk(&root);
    let lock = store.keep_garbage().unwrap();
    let output = scratch.run(["forget", "--keep-last", "1", "--yes", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((told["record"].is_null(), &told["gc"]), (false, &Value::Null));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("cannot tell what gc would free"), "{text}");
    drop(lock);
    assert!(gc(&scratch, &["--dry-run"])["free"].as_i64() > Some(0));
}

/// A layer of files, some of which change from night to night.
fn night(number: usize) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> = (0..12)
        .map(|at| {
            let changed = if at % 4 == number % 4 { number } else { number / 8 };
            let mut body = lines(at * 100);
            body.truncate(30_000 + at * 1000);
            body.splice(9000..9000, format!("changed {changed}\n").into_bytes());
            (format!("srv/{at}"), body)
        })
        .collect();
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, body)| (name.as_str(), body.as_slice())).collect();
    layer(&files)
}

#[test]
fn weeks_of_collecting_write_nothing_for_nothing() {
    let scratch = Scratch::new();
    let root = scratch.store();
    let mut kept = Vec::new();
    for week in 0..4 {
        for number in week * 7..week * 7 + 7 {
            let archive = archive("app:1", &[night(number)]);
            save(&mut open_disk(&root), &archive).unwrap();
            kept.push(archive);
        }
        scratch.ok(["forget", "--keep-last", "5", "--yes", "--json"]);
        kept.drain(..kept.len() - 5);
        let collected = gc(&scratch, &[]);
        // What was merged or moved is not merged or moved again.
        let again = gc(&scratch, &[]);
        assert_eq!((&again["packs"], &again["written"]), (&Value::from(0), &Value::from(0)));
        assert!(collected["written"].as_u64() <= collected["before"].as_u64(), "{collected}");
    }
    for (back, archive) in kept.iter().rev().enumerate() {
        let exported = export(&open_disk(&root), &format!("app:1~{back}"));
        assert!(exported == expected(archive, "app:1"), "app:1~{back}");
    }
}
