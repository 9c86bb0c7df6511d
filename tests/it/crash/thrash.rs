//! Four processes at once on one real store, each of which may be killed at any
//! moment: a read may fail, and is never wrong; afterwards the store is whole.
//!
//! A process is killed when another one ends, which is at no moment in particular.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use orlop::fs::sim::Random;

use crate::support::Scratch;
use crate::support::stores::{archive, expected, export, layer, listed, names, noise, open_disk};

const SLOTS: usize = 4;
/// How many images there are; some are saved again and again.
const IMAGES: usize = 24;

struct Image {
    name: String,
    file: String,
    expected: Vec<u8>,
}

/// What all slots share.
struct Thrash<'s> {
    scratch: &'s Scratch,
    images: &'s [Image],
    running: [Mutex<Option<Child>>; SLOTS],
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Images that were said to be saved.
    saved: BTreeSet<usize>,
    processes: usize,
    killed: usize,
    exports: usize,
    failed: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn images(scratch: &Scratch) -> Vec<Image> {
    let make = |number: usize| {
        let name = format!("app-{}:{number}", number % 3);
        let own = noise(number as u64, 150_000);
        let text = format!("text of {name}\n").repeat(3000);
        let files: [(&str, &[u8]); 3] =
            [("shared", &noise(99, 200_000)), ("own", &own), ("text", text.as_bytes())];
        let archive = archive(&name, &[layer(&files), layer(&[("upper", name.as_bytes())])]);
        let file = format!("{number}.tar");
        fs::write(scratch.path(&file), &archive).unwrap();
        Image { expected: expected(&archive, &name), name, file }
    };
    (0..IMAGES).map(make).collect()
}

impl Thrash<'_> {
    /// One process from its start to its end. Nothing here is worth a word unless
    /// it is wrong.
    fn one(&self, slot: usize, random: &mut Random) {
        let number = random.below(IMAGES);
        let image = &self.images[number];
        let out = format!("out-{slot}.tar");
        let known = lock(&self.counts).saved.contains(&number);
        let kind = random.below(20);
        let arguments = match kind {
            0..=9 => vec!["save", "-i", &image.file],
            10..=16 => vec!["export", &image.name, "-o", &out],
            17 => vec!["optimize", "--time", "1s"],
            18 => vec!["reindex"],
            _ => vec!["images", "--json"],
        };
        let mut command = self.scratch.command();
        command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = child.stderr.take().unwrap();
        *lock(&self.running[slot]) = Some(child);
        let mut said = String::new();
        errors.read_to_string(&mut said).unwrap();
        // Its end of the pipe is closed, so it ends now.
        let mut child = lock(&self.running[slot]).take().unwrap();
        let status = child.wait().unwrap();
        let counts = &mut *lock(&self.counts);
        counts.processes += 1;
        let exported = fs::read(self.scratch.path(&out));
        if let (10..=16, Ok(exported)) = (kind, &exported) {
            assert!(*exported == image.expected, "{arguments:?} gave something else");
            fs::remove_file(self.scratch.path(&out)).unwrap();
        }
        match status.code() {
            None => counts.killed += 1,
            Some(0) if kind <= 9 => drop(counts.saved.insert(number)),
            Some(0) if kind <= 16 => {
                assert!(exported.is_ok());
                counts.exports += 1;
            }
            Some(0) => {}
            Some(_) => {
                assert!(!known && (10..=16).contains(&kind), "{arguments:?}: {said}");
                counts.failed += 1;
            }
        }
    }

    /// Kills what runs in another slot, if anything does.
    fn kill_another(&self, slot: usize, random: &mut Random) {
        let other = (slot + 1 + random.below(SLOTS - 1)) % SLOTS;
        if let Some(child) = &mut *lock(&self.running[other]) {
            child.kill().unwrap();
        }
    }
}

fn thrash(seed: u64, goes_on: impl Fn(&Counts) -> bool + Sync) {
    let scratch = Scratch::new();
    let images = images(&scratch);
    let thrash = Thrash {
        scratch: &scratch,
        images: &images,
        running: [const { Mutex::new(None) }; SLOTS],
        counts: Mutex::default(),
    };
    scratch.ok(["save", "-i", "0.tar"]);
    thread::scope(|scope| {
        for slot in 0..SLOTS {
            let (thrash, goes_on) = (&thrash, &goes_on);
            scope.spawn(move || {
                let mut random = Random::new(seed + slot as u64);
                while goes_on(&lock(&thrash.counts)) {
                    thrash.one(slot, &mut random);
                    if random.one_in(2) {
                        thrash.kill_another(slot, &mut random);
                    }
                }
            });
        }
    });
    let counts = lock(&thrash.counts);
    println!("{counts:?}");
    assert!(counts.killed > 0 && !counts.saved.is_empty());
    scratch.ok(["save", "-i", "0.tar"]);
    let mut left = names(&scratch.store().join("tmp"));
    left.retain(|name| name != "gc");
    assert_eq!(left, [""; 0]);
    for rebuilt in [false, true] {
        if rebuilt {
            scratch.ok(["reindex"]);
        }
        let store = open_disk(&scratch.store());
        let found = listed(&store);
        for (number, image) in images.iter().enumerate() {
            let there = found.contains(&image.name);
            assert!(there || !counts.saved.contains(&number), "{} is gone", image.name);
            assert!(!there || export(&store, &image.name) == image.expected, "{}", image.name);
        }
    }
}

#[test]
fn processes_that_are_killed_at_any_moment() {
    thrash(1, |counts| counts.processes < 60);
}

/// For as long as `ORLOP_SIM_SECONDS`.
#[test]
#[ignore = "takes as long as it is told"]
fn killed_as_long_as() {
    let (start, time) = (Instant::now(), super::seeds::seconds());
    thrash(super::seeds::first(), |_| start.elapsed() < time);
}
