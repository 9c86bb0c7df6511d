//! Saves that end at every single file operation: killed, cut from power, or
//! with one error; and processes that really are killed. What is below is so on the
//! real file system, the modules on a simulated one, which is worse.
//!
//! Assumes that a save's file operations come in the same order each time.
//! Guarantees that a store afterwards opens, holds each image whole or not at
//! all, and takes the same save again. Does not know what the operations are.

mod cuts;
mod faults;
mod processes;
mod seeds;
mod thrash;
mod turns;
mod world;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;

use orlop::fs::Disk;
use orlop::fs::faulty::{Fault, Faulty};
use orlop::pack::format::PackKind;
use orlop::pack::reader::PackReader;
use orlop::store::Store;

use crate::support::Scratch;
use crate::support::stores::{
    archive, copy, expected, export, files, layer, listed, names, noise, open, open_disk, save,
};

/// A save, into nothing or into a store with another image that shares a file.
struct Case {
    scratch: Scratch,
    /// Name and archive of what is there before.
    before: Option<Image>,
    image: Image,
}

struct Image {
    name: &'static str,
    archive: Vec<u8>,
    expected: Vec<u8>,
}

impl Image {
    fn new(name: &'static str, layers: &[Vec<u8>]) -> Self {
        let archive = archive(name, layers);
        let expected = expected(&archive, name);
        Self { name, archive, expected }
    }
}

impl Case {
    fn new(with_before: bool) -> Self {
        let shared = noise(1, 150_000);
        let one = layer(&[("shared", &shared), ("one", b"of the first")]);
        let two =
            layer(&[("shared", &shared), ("two", &noise(2, 9000)), ("text", b"of the second")]);
        let before = with_before.then(|| Image::new("app:1", std::slice::from_ref(&one)));
        let image = Image::new("app:2", &[two, layer(&[("upper", b"of both")])]);
        let case = Self { scratch: Scratch::new(), before, image };
        if let Some(before) = &case.before {
            save(&mut open_disk(&case.scratch.path("template")), &before.archive).unwrap();
        }
        case
    }

    /// The root of a store in the state before the save.
    fn root(&self, number: u64) -> PathBuf {
        let root = self.scratch.path(format!("store-{number}"));
        if self.before.is_some() {
            copy(&self.scratch.path("template"), &root);
        }
        root
    }

    fn count(&self) -> u64 {
        let fs = Faulty::counting();
        let root = self.scratch.path("counted");
        if self.before.is_some() {
            copy(&self.scratch.path("template"), &root);
        }
        save(&mut open(Arc::new(fs.clone()), &root).unwrap(), &self.image.archive).unwrap();
        let operations = fs.operations();
        assert!((20..200).contains(&operations), "{operations}");
        operations
    }

    /// What is listed, with and without the image.
    fn listing(&self, with_image: bool) -> Vec<&str> {
        let before = self.before.iter().map(|image| image.name);
        before.chain(with_image.then_some(self.image.name)).collect()
    }

    /// The store holds what it held, and the image whole or not at all.
    fn check_whole_or_none(&self, store: &Store, when: &str) -> bool {
        let found = listed(store);
        let whole = found == self.listing(true);
        assert!(whole || found == self.listing(false), "{when}: {found:?}");
        if let Some(before) = &self.before {
            assert!(export(store, before.name) == before.expected, "{when}: {}", before.name);
        }
        assert!(!whole || export(store, self.image.name) == self.image.expected, "{when}");
        whole
    }

    /// The next save on the real file system makes all well.
    fn check_next_save(&self, root: &Path, when: &str) {
        if Store::exists(&Disk, root) {
            self.check_whole_or_none(&open_disk(root), when);
        }
        let mut store = open_disk(root);
        save(&mut store, &self.image.archive).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert!(self.check_whole_or_none(&store, when), "{when}");
        drop(store);
        assert!(self.check_whole_or_none(&open_disk(root), when), "{when}");
        assert_eq!(names(&root.join("tmp")), [""; 0], "{when}");
    }

    /// Saves with a frozen file system; whether it was said to have worked.
    fn save_frozen(&self, fs: &Faulty, root: &Path) -> bool {
        open(Arc::new(fs.clone()), root)
            .is_ok_and(|mut store| save(&mut store, &self.image.archive).is_ok())
    }
}

fn data_packs(root: &Path) -> usize {
    let packs = files(&root.join("packs"));
    let kinds = packs.iter().map(|path| PackReader::open(&Disk, path).unwrap().kind());
    kinds.filter(|kind| *kind == PackKind::Data).count()
}

/// Freezes the save at each operation; `after` is what happens then.
fn freeze_everywhere(with_before: bool, after: impl Fn(&Case, &Faulty, &Path)) {
    let case = Case::new(with_before);
    let mut worked = 0;
    for at in 0..case.count() {
        let (root, fs) = (case.root(at), Faulty::at(at, Fault::Freeze));
        if case.save_frozen(&fs, &root) {
            worked += 1;
            assert!(case.check_whole_or_none(&open_disk(&root), "said to have worked"));
        }
        after(&case, &fs, &root);
        let packs = 1 + usize::from(with_before);
        let when = format!("frozen at {at}");
        case.check_next_save(&root, &when);
        assert_eq!(data_packs(&root), packs, "{when}: whole packs are used");
        std::fs::remove_dir_all(&root).unwrap();
    }
    // Only the removal of the writer's folder may fail unsaid.
    assert_eq!(worked, 1);
}

#[test]
fn a_first_save_that_is_killed_is_whole_or_nothing() {
    freeze_everywhere(false, |_, _, _| {});
}

#[test]
fn a_later_save_that_is_killed_is_whole_or_nothing() {
    freeze_everywhere(true, |_, _, _| {});
}

#[test]
fn a_first_save_that_loses_power_is_whole_or_nothing() {
    freeze_everywhere(false, |_, fs, _| fs.lose_unsynced().unwrap());
}

#[test]
fn a_later_save_that_loses_power_is_whole_or_nothing() {
    freeze_everywhere(true, |_, fs, _| fs.lose_unsynced().unwrap());
}

/// What a save builds upon that another one left half done must be made durable
/// as well.
#[test]
fn a_save_after_a_killed_one_survives_a_power_cut() {
    for with_before in [false, true] {
        freeze_everywhere(with_before, |case, fs, root| {
            fs.thaw();
            let mut store = open(Arc::new(fs.clone()), root).unwrap();
            save(&mut store, &case.image.archive).unwrap();
            drop(store);
            fs.lose_unsynced().unwrap();
            assert!(Store::exists(&Disk, root));
            assert!(case.check_whole_or_none(&open_disk(root), "after a power cut"));
        });
    }
}

#[test]
fn one_error_leaves_the_store_as_before_and_able_to_save() {
    for with_before in [false, true] {
        let case = Case::new(with_before);
        let mut worked = 0;
        for at in 0..case.count() {
            let root = case.root(at);
            let fs: Arc<Faulty> = Arc::new(Faulty::at(at, Fault::Fail));
            let when = format!("error at {at}");
            let mut store = match open(fs.clone(), &root) {
                Ok(store) => store,
                Err(_) => open(fs, &root).unwrap_or_else(|error| panic!("{when}: {error}")),
            };
            if save(&mut store, &case.image.archive).is_ok() {
                // Where making the store failed, or the removal of a folder.
                worked += 1;
            } else {
                assert_eq!(listed(&store), case.listing(false), "{when}");
                let again = save(&mut store, &case.image.archive);
                again.unwrap_or_else(|error| panic!("{when}: {error}"));
            }
            assert_eq!(export(&store, case.image.name), case.image.expected, "{when}");
            drop(store);
            let store = open_disk(&root);
            let mut found = listed(&store);
            // An error after the commit leaves a revision that nobody knows of.
            found.dedup();
            assert_eq!(found, case.listing(true), "{when}");
            assert_eq!(export(&store, case.image.name), case.image.expected, "{when}");
            std::fs::remove_dir_all(&root).unwrap();
        }
        let creation = if with_before { 0 } else { 20 };
        assert!((1..=1 + creation).contains(&worked), "{worked}");
    }
}

/// Starts a save from a pipe and feeds it all but the end of the archive. What
/// was not read fits into the pipe and one buffer, so the session has begun.
fn half_fed(scratch: &Scratch, archive: &[u8]) -> Child {
    let mut child = scratch
        .command()
        .args(["save", "-i", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(&archive[..archive.len() - 4096]).unwrap();
    child
}

#[test]
fn a_process_that_is_killed_leaves_nothing_that_needs_hands() {
    let image = Image::new("app:1", &[layer(&[("file", &noise(3, 3 << 20))])]);
    for (signal, code) in [("KILL", None), ("TERM", Some(143)), ("INT", Some(130))] {
        let scratch = Scratch::new();
        let mut child = half_fed(&scratch, &image.archive);
        let tmp = scratch.store().join("tmp");
        assert_eq!(names(&tmp).len(), 1, "{signal}: one writer");
        let killed = std::process::Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), code, "{signal}");
        assert_eq!(scratch.ok(["images"]).lines().count(), 1, "{signal}: the header alone");
        let file = scratch.path("app.tar");
        std::fs::write(&file, &image.archive).unwrap();
        scratch.ok(["save", "-i", "app.tar"]);
        assert_eq!(names(&tmp), [""; 0], "{signal}");
        scratch.ok(["export", "app:1", "-o", "out.tar"]);
        assert!(std::fs::read(scratch.path("out.tar")).unwrap() == image.expected, "{signal}");
    }
}

#[test]
fn a_living_writer_keeps_its_folder() {
    let one = Image::new("app:1", &[layer(&[("file", &noise(4, 3 << 20))])]);
    let other = Image::new("app:2", &[layer(&[("file", b"small")])]);
    let scratch = Scratch::new();
    let mut child = half_fed(&scratch, &one.archive);
    let store = scratch.store();
    save(&mut open_disk(&store), &other.archive).unwrap();
    assert_eq!(names(&store.join("tmp")).len(), 1);
    let rest = &one.archive[one.archive.len() - 4096..];
    child.stdin.take().unwrap().write_all(rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(names(&store.join("tmp")), [""; 0]);
    let store = open_disk(&store);
    assert!(export(&store, "app:1") == one.expected);
    assert!(export(&store, "app:2") == other.expected);
}
