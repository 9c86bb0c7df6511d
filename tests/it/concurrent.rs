//! Several processes on one store: writers, readers, and the catalog built anew
//! beside them.
//!
//! Processes are held in the middle of a save by feeding them half of their
//! archive; single file operations are held by doing the other thing in them.
//! Nothing sleeps. Guarantees that all succeed and that no one sees half.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;

use orlop::fs::Disk;
use orlop::fs::faulty::Faulty;
use orlop::store::{Notice, OpenOptions, Store};

use crate::support::Scratch;
use crate::support::stores::{
    archive, copy, expected, export, files, layer, listed, names, noise, open, open_disk, save,
};

/// Bytes of an archive that are held back; all before is more than pipe and
/// buffers hold.
const HELD: usize = 4096;

/// An archive of an image that shares one file with all others.
fn image(number: u64) -> (String, Vec<u8>) {
    let name = format!("app:{number}");
    let lower = layer(&[("shared", &noise(99, 500_000)), ("own", &noise(number, 1 << 20))]);
    let archive = archive(&name, &[lower, layer(&[("upper", name.as_bytes())])]);
    (name, archive)
}

/// A save that has read all but the end of its archive.
struct HalfFed<'a> {
    child: Child,
    rest: &'a [u8],
}

impl<'a> HalfFed<'a> {
    fn new(scratch: &Scratch, archive: &'a [u8]) -> Self {
        let mut child = scratch
            .command()
            .args(["save", "-i", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (first, rest) = archive.split_at(archive.len() - HELD);
        child.stdin.as_mut().unwrap().write_all(first).unwrap();
        Self { child, rest }
    }

    /// Feeds the rest; the process ends when it will.
    fn release(mut self) -> Child {
        self.child.stdin.take().unwrap().write_all(self.rest).unwrap();
        self.child
    }
}

fn succeeded(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let notes = String::from_utf8(output.stderr.clone()).unwrap();
    // Who began first may end last, and then its time is not the newest.
    let expected = |line: &str| line.starts_with("created ") || line.contains(" the clock is ");
    assert!(notes.lines().all(expected), "{notes}");
    output
}

/// Saves archives at once, each in a process: all have begun before one ends.
fn save_at_once(scratch: &Scratch, archives: &[&[u8]]) {
    let held: Vec<HalfFed> = archives.iter().map(|bytes| HalfFed::new(scratch, bytes)).collect();
    let released: Vec<Child> = held.into_iter().map(HalfFed::release).collect();
    for child in released {
        succeeded(child);
    }
}

/// The catalog in the store is true, and was used by all.
fn check(scratch: &Scratch, images: &[(String, Vec<u8>)]) {
    assert!(!scratch.path(".cache").exists(), "the store's own catalog was used");
    let root = scratch.store();
    assert_eq!(names(&root.join("tmp")), [""; 0]);
    for rebuilt in [false, true] {
        let options = OpenOptions::default();
        let mut store = Store::open(Arc::new(Disk), &root, &options).unwrap();
        if rebuilt {
            store.reindex().unwrap();
        } else {
            assert_eq!(store.take_notices(), []);
        }
        let mut found = listed(&store);
        found.dedup();
        let names: Vec<&str> = images.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, names);
        for (name, archive) in images {
            assert!(export(&store, name) == expected(archive, name), "{name}");
        }
    }
}

#[test]
fn two_save_the_same_archive_into_a_store_that_is_not_there() {
    let scratch = Scratch::new();
    let one = image(1);
    save_at_once(&scratch, &[&one.1, &one.1]);
    check(&scratch, &[one]);
}

#[test]
fn two_save_different_archives() {
    let scratch = Scratch::new();
    let (one, two, three) = (image(1), image(2), image(3));
    save(&mut open_disk(&scratch.store()), &three.1).unwrap();
    save_at_once(&scratch, &[&one.1, &two.1]);
    check(&scratch, &[one, two, three]);
}

#[test]
fn eight_save_four_archives_into_a_store_that_is_not_there() {
    let scratch = Scratch::new();
    let images: Vec<_> = (1..=4).map(image).collect();
    let archives: Vec<&[u8]> = images.iter().chain(&images).map(|(_, it)| it.as_slice()).collect();
    save_at_once(&scratch, &archives);
    check(&scratch, &images);
}

/// Processes that start at the same moment make one store.
#[test]
fn many_make_a_store_at_once() {
    for _ in 0..4 {
        let scratch = Scratch::new();
        let small = archive("app:1", &[layer(&[("file", b"content")])]);
        std::fs::write(scratch.path("a.tar"), &small).unwrap();
        let start = || {
            let mut command = scratch.command();
            command.args(["save", "-i", "a.tar"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let children: Vec<Child> = (0..8).map(|_| start()).collect();
        for child in children {
            succeeded(child);
        }
        check(&scratch, &[("app:1".to_owned(), small)]);
    }
}

#[test]
fn readers_beside_a_writer_see_all_or_nothing() {
    let scratch = Scratch::new();
    let (one, two) = (image(1), image(2));
    save(&mut open_disk(&scratch.store()), &one.1).unwrap();
    let right = [expected(&one.1, "app:1"), expected(&two.1, "app:2")];
    let read = || {
        let lines = scratch.ok(["images"]);
        let both = lines.lines().count() == 3;
        assert!(both || lines.lines().count() == 2, "{lines}");
        for (name, right) in ["app:1", "app:2"].iter().zip(&right).take(1 + usize::from(both)) {
            let output = scratch.run(["export", name]);
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            assert!(output.stdout == *right, "{name}");
        }
        both
    };
    let held = HalfFed::new(&scratch, &two.1);
    for _ in 0..3 {
        assert!(!read(), "not committed yet");
    }
    let mut child = held.release();
    while child.try_wait().unwrap().is_none() {
        read();
    }
    succeeded(child);
    assert!(read());
    check(&scratch, &[one, two]);
}

#[test]
fn a_save_beside_reindex() {
    let scratch = Scratch::new();
    let (one, two) = (image(1), image(2));
    save(&mut open_disk(&scratch.store()), &one.1).unwrap();
    let held = HalfFed::new(&scratch, &two.1);
    scratch.ok(["reindex"]);
    let mut child = held.release();
    while child.try_wait().unwrap().is_none() {
        scratch.ok(["reindex"]);
    }
    assert!(child.wait_with_output().unwrap().status.success());
    scratch.ok(["reindex"]);
    check(&scratch, &[one, two]);
}

/// Does something in the middle of a save, at each of its file operations.
fn at_each_operation(act: impl Fn(&Path) + Send + Clone + 'static, images: &[(String, Vec<u8>)]) {
    let scratch = Scratch::new();
    let template = scratch.path("template");
    let (first, second) = (&images[0], &images[1]);
    save(&mut open_disk(&template), &first.1).unwrap();
    let right: Vec<_> =
        images.iter().map(|(name, archive)| (name.as_str(), expected(archive, name))).collect();
    for at in 0.. {
        let root = scratch.path(format!("store-{at}"));
        copy(&template, &root);
        let (act, place) = (act.clone(), root.clone());
        let fs = Faulty::acting(at, move || act(&place));
        let mut store = open(Arc::new(fs.clone()), &root).unwrap();
        save(&mut store, &second.1).unwrap_or_else(|error| panic!("operation {at}: {error}"));
        assert!(export(&store, &second.0) == right[1].1, "operation {at}");
        drop(store);
        if fs.operations() <= at {
            assert!(at > 20, "{at}");
            return;
        }
        let mut store = open_disk(&root);
        assert_eq!(store.take_notices(), [], "operation {at}");
        assert_eq!(listed(&store), right.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, right) in &right {
            assert!(export(&store, name) == *right, "operation {at}: {name}");
        }
        store.reindex().unwrap();
        for (name, right) in &right {
            assert!(export(&store, name) == *right, "operation {at}: {name}, rebuilt");
        }
        drop(store);
        std::fs::remove_dir_all(&root).unwrap();
    }
}

fn small(number: u64) -> (String, Vec<u8>) {
    let name = format!("app:{number}");
    let lower = layer(&[("shared", &noise(99, 20_000)), ("own", &noise(number, 3000))]);
    let archive = archive(&name, &[lower]);
    (name, archive)
}

#[test]
fn reindex_at_each_operation_of_a_save() {
    let reindex = |root: &Path| {
        let mut store = open_disk(root);
        store.reindex().unwrap();
        let notices = store.take_notices();
        assert!(matches!(notices[..], [Notice::CatalogRebuilt { .. }]), "{notices:?}");
    };
    at_each_operation(reindex, &[small(1), small(2)]);
}

#[test]
fn another_save_at_each_operation_of_a_save() {
    let third = small(3);
    let bytes = third.1.clone();
    let other = move |root: &Path| drop(save(&mut open_disk(root), &bytes).unwrap());
    at_each_operation(other, &[small(1), small(2), third]);
}

/// Another process saves the same image, which is then one image.
#[test]
fn the_same_save_at_each_operation_of_a_save() {
    let second = small(2);
    let bytes = second.1.clone();
    let scratch = Scratch::new();
    let right = expected(&second.1, "app:2");
    for at in 0.. {
        let root = scratch.path(format!("store-{at}"));
        // Who makes a store is waited for, so that is not for one thread to try.
        drop(open_disk(&root));
        let (place, bytes) = (root.clone(), bytes.clone());
        let fs = Faulty::acting(at, move || drop(save(&mut open_disk(&place), &bytes).unwrap()));
        let mut store = open(Arc::new(fs.clone()), &root).unwrap();
        save(&mut store, &second.1).unwrap_or_else(|error| panic!("operation {at}: {error}"));
        assert!(export(&store, "app:2") == right, "operation {at}");
        drop(store);
        let mut store = open_disk(&root);
        store.reindex().unwrap();
        assert!(export(&store, "app:2") == right, "operation {at}, rebuilt");
        drop(store);
        std::fs::remove_dir_all(&root).unwrap();
        if fs.operations() <= at {
            assert!(at > 20, "{at}");
            return;
        }
    }
}

/// However many threads work at it: none is what simulations use.
#[test]
fn the_same_packs_come_out_of_any_number_of_threads() {
    let scratch = Scratch::new();
    let packs = |threads| {
        let root = scratch.path(format!("{threads:?}"));
        Store::create(&Disk, &root, "test").unwrap();
        let options = OpenOptions { threads, ..OpenOptions::default() };
        let mut store = Store::open(Arc::new(Disk), &root, &options).unwrap();
        for number in 0..2 {
            let (name, archive) = image(number);
            save(&mut store, &archive).unwrap();
            assert!(export(&store, &name) == expected(&archive, &name), "{name}");
        }
        let packs = files(&root.join("packs"));
        packs.iter().map(|path| path.file_name().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let one = packs(Some(0));
    assert_eq!(one.len(), 4);
    assert_eq!(one, packs(Some(1)));
    assert_eq!(one, packs(Some(3)));
    assert_eq!(one, packs(None));
}
