//! Four processes at once on one real store, each of which may be killed at any
//! moment: a read may fail where its image was removed, and is never wrong;
//! afterwards the store is whole.
//!
//! Every other image is removed again and again, by name and by rule, while garbage
//! is collected; it shares content with those that stay, and what stays stands on it.
//! A process is killed when another one ends, which is at no moment in particular.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use orlop::fs::sim::Random;

use crate::support::Scratch;
use crate::support::stores::{archive, expected, export, layer, listed, names, noise, open_disk};

static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
const SLOTS: usize = 4;
/// How many images there are; some are saved again and again.
const IMAGES: usize = 24;
/// How many of them are there from the beginning.
const FIRST: usize = 8;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Save,
    Export,
    Remove,
    Forget,
    Undo,
    Collect,
    Optimize,
    Reindex,
    List,
}

impl Kind {
    fn any(random: &mut Random) -> Self {
        match random.below(24) {
            0..=7 => Self::Save,
            8..=13 => Self::Export,
            14 => Self::Remove,
            15 => Self::Forget,
            16 => Self::Undo,
            17..=20 => Self::Collect,
            21 => Self::Optimize,
            22 => Self::Reindex,
            _ => Self::List,
        }
    }

    /// Whether it may take away what is removed at all.
    fn removes(self) -> bool {
        matches!(self, Self::Remove | Self::Forget)
    }

    /// How it may end, other than well: whoever asks for an image may not find it,
    /// garbage is collected by one at a time, what began before may need it still,
    /// and there may be nothing to undo.
    fn may_end_with(self, code: i32, known: bool, said: &str) -> bool {
        let not_found = code == 12 && !known;
        let locked = code == 11 && said.contains("another process");
        match self {
            Self::Save | Self::Reindex | Self::List | Self::Forget => false,
            Self::Export | Self::Remove => not_found,
            Self::Undo => locked || (code == 1 && said.starts_with("error: cannot undo\n")),
            Self::Collect => locked || code == 3,
            Self::Optimize => locked,
        }
    }
}

struct Image {
    name: String,
    file: String,
    expected: Vec<u8>,
    /// Whether it is removed now and then.
    loose: bool,
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
    /// Images that were said to be saved, and that nobody began to remove since.
    known: BTreeSet<usize>,
    /// How many that remove are at work, and how many began.
    removing: (usize, usize),
    processes: usize,
    killed: usize,
    kinds: BTreeMap<Kind, Ends>,
}

/// How processes of a kind ended.
#[derive(Debug, Default)]
struct Ends {
    well: usize,
    killed: usize,
    /// By their exit codes.
    failed: BTreeMap<i32, usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn images(scratch: &Scratch) -> Vec<Image> {
    let make = |number: usize| {
        let loose = number % 2 == 1;
        let name = format!("{}-{}:{number}", if loose { "loose" } else { "app" }, number % 3);
        let own = noise(number as u64, 150_000);
        // All versions are alike, so that one is compressed against another.
        let mut text = noise(77, 100_000);
        for at in [10_000, 50_000, 90_000] {
            text.splice(at..at, name.bytes());
        }
        let files: [(&str, &[u8]); 3] =
            [("shared", &noise(99, 200_000)), ("own", &own), ("text", &text)];
        let archive = archive(&name, &[layer(&files), layer(&[("upper", name.as_bytes())])]);
        let file = format!("{number}.tar");
        fs::write(scratch.path(&file), &archive).unwrap();
        Image { expected: expected(&archive, &name), name, file, loose }
    };
    (0..IMAGES).map(make).collect()
}

impl Thrash<'_> {
    fn arguments(kind: Kind, image: &Image, out: &str) -> Vec<String> {
        let arguments = match kind {
            Kind::Save => vec!["save", "-i", &image.file],
            Kind::Export => vec!["export", &image.name, "-o", out],
            Kind::Remove => vec!["rm", "--all-revisions", &image.name],
            Kind::Forget => vec!["forget", "--keep-last", "1", "--yes", "loose-*"],
            Kind::Undo => vec!["undo"],
            Kind::Collect => vec!["gc", "--max-waste", "0"],
            Kind::Optimize => vec!["optimize", "--time", "1s"],
            Kind::Reindex => vec!["reindex"],
            Kind::List => vec!["images", "--json"],
        };
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// The end of a process, in a word.
    fn wait(&self, slot: usize, arguments: &[String]) -> (Option<i32>, String) {
        let mut command = self.scratch.command();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = child.stderr.take().unwrap();
        *lock(&self.running[slot]) = Some(child);
        let mut said = String::new();
        errors.read_to_string(&mut said).unwrap();
        // Its end of the pipe is closed, so it ends now.
        let mut child = lock(&self.running[slot]).take().unwrap();
        (child.wait().unwrap().code(), said)
    }

    /// What is known of images when one begins to be removed.
    fn begin(&self, kind: Kind, number: usize) -> (usize, bool) {
        let counts = &mut *lock(&self.counts);
        if kind.removes() {
            counts.removing.0 += 1;
            counts.removing.1 += 1;
            counts.known.retain(|known| !self.images[*known].loose);
        }
        // Nothing is known of what is saved while another removes it.
        let sure = !self.images[number].loose || counts.removing.0 == 0;
        (counts.removing.1, sure)
    }

    /// One process from its start to its end. Nothing here is worth a word unless
    /// it is wrong.
    fn one(&self, slot: usize, random: &mut Random) {
        let kind = Kind::any(random);
        let mut number = random.below(IMAGES);
        if kind == Kind::Remove {
            number |= 1;
        }
        let image = &self.images[number];
        let out = format!("out-{slot}.tar");
        let known = lock(&self.counts).known.contains(&number);
        let arguments = Self::arguments(kind, image, &out);
        let (begun, sure) = self.begin(kind, number);
        eprintln!("{:?} {slot} begin {arguments:?}", START.elapsed());
        let (code, said) = self.wait(slot, &arguments);
        eprintln!("{:?} {slot} end {arguments:?} {code:?} {said:?}", START.elapsed());
        let counts = &mut *lock(&self.counts);
        counts.processes += 1;
        counts.removing.0 -= usize::from(kind.removes());
        let known = known && counts.known.contains(&number);
        let exported = fs::read(self.scratch.path(&out));
        if let (Kind::Export, Ok(exported)) = (kind, &exported) {
            assert!(*exported == image.expected, "{arguments:?} gave something else");
            fs::remove_file(self.scratch.path(&out)).unwrap();
        }
        let ends = counts.kinds.entry(kind).or_default();
        match code {
            None => {
                ends.killed += 1;
                counts.killed += 1;
            }
            Some(0) => {
                ends.well += 1;
                assert!(kind != Kind::Export || exported.is_ok());
                let sure = sure && (!image.loose || counts.removing.1 == begun);
                if kind == Kind::Save && sure {
                    counts.known.insert(number);
                }
            }
            Some(code) => {
                assert!(kind.may_end_with(code, known, &said), "{arguments:?}: {code}: {said}");
                *ends.failed.entry(code).or_default() += 1;
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

/// What is known to be there is, and all that is listed comes out as it went in.
fn check(scratch: &Scratch, images: &[Image], counts: &Counts) {
    let store = open_disk(&scratch.store());
    let found = listed(&store);
    for (number, image) in images.iter().enumerate() {
        let there = found.contains(&image.name);
        assert!(there || !counts.known.contains(&number), "{} is gone", image.name);
        assert!(!there || export(&store, &image.name) == image.expected, "{}", image.name);
    }
}

fn thrash(seed: u64, goes_on: impl Fn(&Counts) -> bool + Sync) {
    let scratch = std::mem::ManuallyDrop::new(Scratch::new());
    let images = images(&scratch);
    let thrash = Thrash {
        scratch: &scratch,
        images: &images,
        running: [const { Mutex::new(None) }; SLOTS],
        counts: Mutex::default(),
    };
    for image in &images[..FIRST] {
        scratch.ok(["save", "-i", &image.file]);
    }
    lock(&thrash.counts).known.extend(0..FIRST);
    thread::scope(|scope| {
        for slot in 0..SLOTS {
            let (thrash, goes_on) = (&thrash, &goes_on);
            scope.spawn(move || {
                let mut random = Random::new(seed + slot as u64);
                while goes_on(&lock(&thrash.counts)) && !thrash.counts.is_poisoned() {
                    thrash.one(slot, &mut random);
                    if random.one_in(2) {
                        thrash.kill_another(slot, &mut random);
                    }
                }
            });
        }
    });
    let counts = lock(&thrash.counts);
    println!("{counts:#?}");
    assert!(counts.killed > 0 && !counts.known.is_empty());
    scratch.ok(["save", "-i", "0.tar"]);
    // The folder in which collections are counted stays.
    let mut left = names(&scratch.store().join("tmp"));
    left.retain(|name| name != "gc");
    assert_eq!(left, [""; 0]);
    check(&scratch, &images, &counts);
    scratch.ok(["reindex"]);
    check(&scratch, &images, &counts);
    scratch.ok(["gc", "--max-waste", "0"]);
    check(&scratch, &images, &counts);
    scratch.ok(["reindex"]);
    check(&scratch, &images, &counts);
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
