//! `optimize`, from beginning to end: as a command, with little time, and on damage.
//!
//! Guarantees that images come back as they were, that a run goes on where the one
//! before ended, and that what is damaged keeps nothing else from being optimized.
//! What is in the packs is tested beside the code.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use orlop::digest::Id;
use orlop::fs::Disk;
use orlop::ops::optimize::{OptimizeOptions, OptimizeOutcome, Plan, Watch, least_memory, optimize};
use orlop::pack::reader::PackReader;
use orlop::progress::Progress;
use orlop::time::Time;

use crate::support::Scratch;
use crate::support::stores::{archive, expected, export, files, layer, open_disk, save};

/// Lines that a better search makes smaller.
fn lines(seed: usize) -> Vec<u8> {
    let line = |at: usize| format!("{} {} line {}\n", at * seed % 97, at * at % 89, at % 13);
    (0..6000).map(line).collect::<String>().into_bytes()
}

/// A store with two images of one layer each, and the archives that come out.
fn sample() -> (Scratch, [Vec<u8>; 2]) {
    let scratch = Scratch::new();
    let images = [("app:1", "one", 3), ("app:2", "another", 5)].map(|(name, file, seed)| {
        let archive = archive(name, &[layer(&[(file, &lines(seed))])]);
        save(&mut open_disk(&scratch.store()), &archive).unwrap();
        expected(&archive, name)
    });
    (scratch, images)
}

/// Has time for so many packs.
#[derive(Default)]
struct Packs {
    time: AtomicU64,
    planned: Mutex<Option<Plan>>,
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress for Packs {
    fn begin(&self, total: Option<u64>) {
        self.total.store(total.unwrap(), Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
    }

    fn finish(&self) {}
}

impl Watch for Packs {
    fn planned(&self, plan: &Plan) {
        *self.planned.lock().unwrap() = Some(*plan);
    }

    fn has_time(&self) -> bool {
        let left = |left: u64| left.checked_sub(1);
        self.time.fetch_update(Relaxed, Relaxed, left).is_ok()
    }
}

fn run(root: &Path, time: u64) -> (OptimizeOutcome, Packs) {
    let watch = Packs { time: AtomicU64::new(time), ..Packs::default() };
    let (memory, now) = (least_memory(), Time::from_nanos(0));
    let options = OptimizeOptions { memory, now, program: "test" };
    (optimize(&mut open_disk(root), &options, &watch).unwrap(), watch)
}

#[test]
fn a_run_goes_on_where_the_last_one_had_no_more_time() {
    let (scratch, images) = sample();
    let root = scratch.store();
    let old: u64 = files(&root.join("packs")).iter().map(|path| size(path)).sum();
    let (mut before, mut after) = (0, 0);
    for left in [4, 3, 1, 0, 0] {
        let known = files(&root.join("packs"));
        let records = files(&root.join("records"));
        let time = match left {
            4 => 0,
            1 => 2,
            _ => 1,
        };
        let (outcome, watch) = run(&root, time);
        assert_eq!(outcome.left, left);
        let made: Vec<_> =
            files(&root.join("packs")).into_iter().filter(|path| !known.contains(path)).collect();
        assert_eq!((outcome.packs, made.len() as u64), (watch_packs(&watch) - left, outcome.packs));
        assert_eq!(outcome.after, made.iter().map(|path| size(path)).sum::<u64>());
        assert_eq!(watch.done.load(Relaxed) == watch.total.load(Relaxed), left == 0);
        let named: Vec<_> = files(&root.join("records"))
            .into_iter()
            .filter(|path| !records.contains(path))
            .collect();
        let grown: u64 = made.iter().chain(&named).map(|path| size(path)).sum();
        assert!(grown <= watch.planned.lock().unwrap().map_or(0, |plan| plan.space), "{grown}");
        // Nobody else is there who may need what was replaced.
        let gone = known.iter().filter(|path| !path.exists());
        assert_eq!((outcome.stay, gone.count() as u64), (0, outcome.packs));
        assert_eq!(outcome.removed, outcome.before);
        before += outcome.before;
        after += outcome.after;
        for (name, bytes) in ["app:1", "app:2"].iter().zip(&images) {
            assert!(export(&open_disk(&root), name) == *bytes, "{name}");
        }
    }
    assert_eq!(before, old);
    assert!(after * 100 < before * 95, "{before} became {after}");
}

fn watch_packs(watch: &Packs) -> u64 {
    watch.planned.lock().unwrap().map_or(0, |plan| plan.packs)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn what_is_damaged_is_left_alone_and_told_of() {
    let (scratch, images) = sample();
    let packs = files(&scratch.store().join("packs"));
    let of_app_1 = |path: &&PathBuf| {
        let pack = PackReader::open(&Disk, path).unwrap();
        pack.directory().ids.contains(&Id::of(&lines(3)))
    };
    let damaged = packs.iter().find(of_app_1).unwrap();
    let mut bytes = fs::read(damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(damaged, &bytes).unwrap();

    let output = scratch.run(["optimize", "--json"]);
    assert_eq!(output.status.code(), Some(13), "{output:?}");
    let name = damaged.file_stem().unwrap().to_str().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&format!("error: cannot optimize pack `{}`", &name[..12])), "{told}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["packs"], 3);
    assert_eq!(document["damaged"][0]["pack"], name);
    assert_eq!(fs::read(damaged).unwrap(), bytes);
    assert!(export(&open_disk(&scratch.store()), "app:2") == images[1]);
    let kept = files(&scratch.store().join("tmp"));
    let of_collections = |path: &&PathBuf| path.starts_with(scratch.store().join("tmp/gc"));
    assert!(kept.iter().filter(of_collections).count() == kept.len(), "{kept:?}");
}

#[test]
fn what_was_optimized_stays_so_when_it_is_collected() {
    let scratch = Scratch::new();
    let mut images = Vec::new();
    for number in 1..=9 {
        let (name, file) = (format!("app:{number}"), format!("file-{number}"));
        let archive = archive(&name, &[layer(&[(&file, &lines(2 * number + 1))])]);
        save(&mut open_disk(&scratch.store()), &archive).unwrap();
        images.push((expected(&archive, &name), name));
    }
    run(&scratch.store(), u64::MAX);
    let bytes =
        || -> u64 { files(&scratch.store().join("packs")).iter().map(|path| size(path)).sum() };
    let before = bytes();
    scratch.ok(["gc"]);
    // Small packs became one of each kind, which is no larger than they were.
    assert_eq!(files(&scratch.store().join("packs")).len(), 2);
    assert!(bytes() <= before, "{before} became {}", bytes());
    assert_eq!(run(&scratch.store(), u64::MAX).0.packs, 0);
    for (archive, name) in images {
        assert!(export(&open_disk(&scratch.store()), &name) == archive, "{name}");
    }
}

#[test]
fn what_others_may_need_is_told_of_and_goes_with_the_next_run() {
    let (scratch, images) = sample();
    let mut other = open_disk(&scratch.store());
    let lock = other.keep_garbage().unwrap();
    let told = scratch.ok(["optimize"]);
    let left = "4 old packs left to the next gc, as others use the store: orlop gc\n";
    assert!(told.ends_with(left), "{told}");
    drop(lock);
    let told = scratch.ok(["optimize"]);
    assert!(
        told.starts_with("removed ") && told.ends_with("that were replaced before\n"),
        "{told}"
    );
    assert_eq!(files(&scratch.store().join("packs")).len(), 4);
    for (name, bytes) in ["app:1", "app:2"].iter().zip(&images) {
        assert!(export(&open_disk(&scratch.store()), name) == *bytes, "{name}");
    }
}
