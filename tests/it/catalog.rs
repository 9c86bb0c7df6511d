//! The catalog is a cache: deleted, foreign, old or of a sister store, it is
//! noticed, and nothing is lost or wrong.
//!
//! Assumes nothing of the catalog but its name. Guarantees that after each of
//! these the store's images are listed and come out as they went in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use orlop::codec::Levels;
use orlop::digest::Id;
use orlop::store::{Notice, Store};

use crate::support::Scratch;
use crate::support::stores::{
    archive, copy, expected, export, files, layer, listed, names, noise, open_disk, save,
};

fn image(number: u64) -> (String, Vec<u8>) {
    let name = format!("app:{number}");
    let lower = layer(&[("shared", &noise(99, 50_000)), ("own", &noise(number, 9000))]);
    let archive = archive(&name, &[lower]);
    (name, archive)
}

fn catalog(root: &Path) -> PathBuf {
    root.join("catalog.sqlite")
}

/// A store with these images.
fn filled(root: &Path, numbers: impl IntoIterator<Item = u64>) {
    let mut store = open_disk(root);
    for number in numbers {
        save(&mut store, &image(number).1).unwrap();
    }
}

/// The store lists and exports exactly these images.
fn check(store: &Store, numbers: &[u64]) {
    let images: Vec<_> = numbers.iter().map(|number| image(*number)).collect();
    assert_eq!(listed(store), images.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    for (name, archive) in &images {
        assert!(export(store, name) == expected(archive, name), "{name}");
    }
}

/// What the store said when it was opened, and is as expected.
fn reopened(root: &Path, numbers: &[u64]) -> Vec<Notice> {
    let mut store = open_disk(root);
    let notices = store.take_notices();
    check(&store, numbers);
    // Said once.
    assert_eq!(open_disk(root).take_notices(), []);
    notices
}

fn rebuilt(reason: &'static str, records: usize) -> Vec<Notice> {
    vec![Notice::CatalogRebuilt { reason, records }]
}

#[test]
fn a_catalog_that_is_deleted_is_built_again_and_said_so() {
    let scratch = Scratch::new();
    let root = scratch.store();
    filled(&root, [1, 2]);
    for arguments in [
        &["images"][..],
        &["inspect", "app:1"],
        &["export", "app:2", "-o", "out.tar"],
        &["save", "-i", "app.tar"],
    ] {
        fs::write(scratch.path("app.tar"), image(2).1).unwrap();
        fs::remove_file(catalog(&root)).unwrap();
        let output = scratch.run(arguments);
        assert!(output.status.success(), "{output:?}");
        let notes = String::from_utf8(output.stderr).unwrap();
        let first = notes.lines().next().unwrap();
        assert_eq!(first, "rebuilt the catalog from 2 records: it was missing", "{arguments:?}");
        let again = scratch.run(arguments);
        assert!(again.status.success());
        assert!(!String::from_utf8(again.stderr).unwrap().contains("rebuilt"));
    }
    assert_eq!(reopened(&root, &[1, 2]), []);
}

#[test]
fn a_catalog_that_is_none_is_built_again() {
    let scratch = Scratch::new();
    let root = scratch.store();
    filled(&root, [1, 2]);
    let reason = "it was damaged, or not this store's";
    for content in [b"not a database, though it may look like a file".to_vec(), vec![0xff; 20_000]]
    {
        fs::write(catalog(&root), &content).unwrap();
        assert_eq!(reopened(&root, &[1, 2]), rebuilt(reason, 2));
    }
    // An empty file is an empty database.
    fs::write(catalog(&root), b"").unwrap();
    assert_eq!(reopened(&root, &[1, 2]), rebuilt("it was missing", 2));
    let whole = fs::read(catalog(&root)).unwrap();
    for length in [1, 100, 4096, whole.len() / 2] {
        fs::write(catalog(&root), &whole[..length]).unwrap();
        let mut store = open_disk(&root);
        assert!(matches!(store.take_notices()[..], [Notice::CatalogRebuilt { .. }]), "{length}");
        check(&store, &[1, 2]);
    }
    for suffix in ["-wal", "-shm"] {
        fs::write(root.join(format!("catalog.sqlite{suffix}")), [0x55; 9000]).unwrap();
        check(&open_disk(&root), &[1, 2]);
    }
}

#[test]
fn another_stores_catalog_is_not_believed() {
    let scratch = Scratch::new();
    let (root, other) = (scratch.store(), scratch.path("other"));
    filled(&root, [1, 2]);
    filled(&other, [3]);
    fs::copy(catalog(&other), catalog(&root)).unwrap();
    let reason = "it was damaged, or not this store's";
    assert_eq!(reopened(&root, &[1, 2]), rebuilt(reason, 2));
}

#[test]
fn an_older_catalog_learns_what_it_missed() {
    let scratch = Scratch::new();
    let (root, kept) = (scratch.store(), scratch.path("kept"));
    filled(&root, [1]);
    fs::copy(catalog(&root), &kept).unwrap();
    filled(&root, [2, 3]);
    fs::copy(&kept, catalog(&root)).unwrap();
    assert_eq!(reopened(&root, &[1, 2, 3]), []);
}

#[test]
fn a_record_that_is_removed_takes_its_revision_along() {
    let scratch = Scratch::new();
    let root = scratch.store();
    filled(&root, [1]);
    let first = files(&root.join("records"));
    filled(&root, [2, 3]);
    fs::remove_file(first.first().unwrap()).unwrap();
    assert_eq!(reopened(&root, &[2, 3]), []);
    // Its content is still of use, and named by the record of who uses it.
    let before = files(&root.join("packs")).len();
    filled(&root, [1]);
    assert_eq!(reopened(&root, &[1, 2, 3]), []);
    assert_eq!(files(&root.join("packs")).len(), before + 1, "recipes alone are new");
    fs::remove_file(catalog(&root)).unwrap();
    assert_eq!(reopened(&root, &[1, 2, 3]), rebuilt("it was missing", 3));
}

/// A copy of the store went its own way; its catalog names packs that are not
/// here, and a save must not refer to them.
#[test]
fn a_diverged_copys_catalog_misleads_nobody() {
    for with_record in [true, false] {
        let scratch = Scratch::new();
        let (root, copied) = (scratch.store(), scratch.path("copied"));
        filled(&root, [1]);
        copy(&root, &copied);
        filled(&copied, [2]);
        if !with_record {
            // Only packs without a record make the difference.
            let known = files(&root.join("records"));
            let place = |path: &PathBuf| copied.join(path.strip_prefix(&root).unwrap());
            let known: Vec<PathBuf> = known.iter().map(place).collect();
            for record in files(&copied.join("records")) {
                if !known.contains(&record) {
                    fs::remove_file(record).unwrap();
                }
            }
            let mut store = open_disk(&copied);
            drop(store.begin(Levels::for_content(1)).unwrap());
        }
        fs::copy(catalog(&copied), catalog(&root)).unwrap();
        // The same image: all of its content seems to be known.
        let mut store = open_disk(&root);
        save(&mut store, &image(2).1).unwrap();
        check(&store, &[1, 2]);
        drop(store);
        fs::remove_file(catalog(&root)).unwrap();
        reopened(&root, &[1, 2]);
    }
}

#[test]
fn reindex_builds_it_again() {
    let scratch = Scratch::new();
    let root = scratch.store();
    filled(&root, [1, 2]);
    let output = scratch.run(["reindex"]);
    assert!(output.status.success() && output.stdout.is_empty());
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(notes, "rebuilt the catalog from 2 records: it was asked for\n");
    assert_eq!(reopened(&root, &[1, 2]), []);
}

#[test]
fn nobody_else_can_read_a_store() {
    let scratch = Scratch::new();
    let root = scratch.store();
    fs::write(scratch.path("app.tar"), image(1).1).unwrap();
    let mut command = Command::new("sh");
    let wanted =
        format!("umask 022; exec {} -s store save -i app.tar", env!("CARGO_BIN_EXE_orlop"));
    command.args(["-c", &wanted]).current_dir(scratch.path("."));
    assert!(command.status().unwrap().success());
    // As they are while the catalog is in use.
    let store = open_disk(&root);
    check(&store, &[1]);
    let all = files(&root);
    assert!(all.contains(&root.join("catalog.sqlite-wal")));
    for file in all {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
        let folder = fs::metadata(file.parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(folder & 0o777, 0o700, "{}", file.display());
    }
}

/// A folder that is mounted on itself, without the right to write.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn new(path: &'a Path) -> Option<Self> {
        let run = |arguments: &[&str]| {
            let done = Command::new("mount").args(arguments).arg(path).output();
            done.is_ok_and(|output| output.status.success())
        };
        if run(&["--bind", path.to_str().unwrap()]) {
            let mounted = Self(path);
            if run(&["-o", "remount,bind,ro"]) {
                return Some(mounted);
            }
        }
        eprintln!("skipped: cannot mount");
        None
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0).status());
    }
}

#[test]
fn a_store_that_cannot_be_written_can_be_read() {
    let scratch = Scratch::new();
    let root = scratch.store();
    filled(&root, [1, 2]);
    let cache = scratch.path(".cache/orlop");
    // With its catalog, without, and with one that lacks a record.
    let whole = fs::read(catalog(&root)).unwrap();
    for state in 0..3 {
        match state {
            0 => {}
            1 => fs::remove_file(catalog(&root)).unwrap(),
            _ => fs::write(catalog(&root), &whole).unwrap(),
        }
        let before = files(&root);
        let Some(mounted) = ReadOnly::new(&root) else { return };
        for with_home in [true, false] {
            let command = |arguments: &[&str]| {
                let mut command = scratch.command();
                if !with_home {
                    command.env("XDG_CACHE_HOME", "/proc/none").env("HOME", "/proc/none");
                }
                command.args(arguments).output().unwrap()
            };
            for _ in 0..2 {
                let output = command(&["images"]);
                assert!(output.status.success(), "{output:?}");
                assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
            }
            let output = command(&["export", "app:2"]);
            assert!(output.stdout == expected(&image(2).1, "app:2"), "{state}");
            fs::write(scratch.path("app.tar"), image(3).1).unwrap();
            let output = command(&["save", "-i", "app.tar"]);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(cache.is_dir());
        }
        drop(mounted);
        assert_eq!(files(&root), before, "nothing was written");
        fs::remove_dir_all(&cache).unwrap();
    }
    // What the cache folder held is no hindrance when it can be written again.
    assert_eq!(reopened(&root, &[1, 2]), []);
}

/// Writes the record of a save that names no packs, in its documented form.
fn write_record(root: &Path, number: u64) {
    let digest = |salt: u64| format!("sha256:{salt:032x}{number:032x}");
    let (day, second) = (1 + number / 3600 % 28, number % 3600);
    let time = format!("2026-02-{day:02}T03:{:02}:{:02}.000000000Z", second / 60, second % 60);
    let record = serde_json::json!({
        "format": 1, "kind": "save", "program": "orlop 0.1.0",
        "features": {"compatible": [], "read_only": [], "refuse": []},
        "saved_at": time, "sequence": number,
        "source": {"name": "app.tar", "dialect": "docker"},
        "packs": [], "assembly": null,
        "revisions": [{
            "root": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(1), "size": 1024,
            },
            "image_id": digest(2),
            "platform": {"os": "linux", "architecture": "amd64", "variant": null},
            "references": [format!("docker.io/library/app-{}:{}", number % 100, number / 100)],
            "not_shipped": [], "created": null,
            "layers": 3, "size": 1000, "added": 10,
        }],
    });
    let bytes = serde_json::to_vec(&record).unwrap();
    let name = Id::of(&bytes).to_string();
    let folder = root.join("records").join(&name[..2]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.json")), bytes).unwrap();
}

#[test]
fn ten_thousand_revisions_are_listed() {
    const COUNT: u64 = 10_000;
    let scratch = Scratch::new();
    let root = scratch.store();
    drop(open_disk(&root));
    for number in 0..COUNT {
        write_record(&root, number);
    }
    let count = |arguments: &[&str]| scratch.ok(arguments).lines().count() as u64 - 1;
    assert_eq!(count(&["images"]), COUNT);
    assert_eq!(count(&["images", "--all"]), COUNT);
    assert_eq!(count(&["images", "app-7:*"]), COUNT / 100);
    let database = rusqlite::Connection::open(catalog(&root)).unwrap();
    for table in ["record", "revision", "reference"] {
        let query = format!("SELECT count(*) FROM {table}");
        let rows: i64 = database.query_row(&query, [], |row| row.get(0)).unwrap();
        assert_eq!(rows.cast_unsigned(), COUNT, "{table}");
    }
    drop(database);
    // One more is one more row, not a new catalog.
    filled(&root, [1]);
    let mut store = open_disk(&root);
    assert_eq!(store.take_notices(), []);
    assert_eq!(listed(&store).len() as u64, COUNT + 1);
    assert_eq!(names(&root.join("tmp")), [""; 0]);
    let name = image(1).0;
    assert!(export(&store, &name) == expected(&image(1).1, &name));
}
