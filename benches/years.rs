//! A store that is kept for years.
//!
//! First a year of cron: a nightly save of a made-up image for 365 nights (or the
//! first argument that is a number), `forget` each night with 7 days, 4 weeks and
//! 12 months, and `gc` each week. Prints the size of the store each month, what
//! collecting freed and wrote, and the size of a fresh store of just what was kept;
//! all that was kept is compared with what was saved.
//! Then a store of 10,000 revisions (or the second number): how long `gc` takes
//! there with nothing to do, and `forget` to say what would go.
//!
//! A night's image has the files of the night before. A few percent of them have
//! changed, and all times are new; each month its lowest layer is another one.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a bench prints ratios of its own, made-up numbers"
)]
#![allow(clippy::disallowed_methods, reason = "a bench looks at files")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use orlop::catalog::RevisionRow;
use orlop::codec::Levels;
use orlop::digest::Digest;
use orlop::fs::Disk;
use orlop::ops::action::Author;
use orlop::ops::forget::plan;
use orlop::ops::forget::policy::{Limit, Policy};
use orlop::ops::gc::{self, GcOptions, WASTE, gc};
use orlop::ops::input::Input;
use orlop::ops::original::Original;
use orlop::ops::save::{Original as Keep, SaveOptions, save};
use orlop::store::gc::Outcome;
use orlop::store::{OpenOptions, Store};
use orlop::time::{Time, Zone};

/// Nights between two months' figures.
const MONTH: u32 = 30;
/// How many of the many images are in an archive.
const TOGETHER: usize = 4;
/// Files in a layer, and what they hold together.
const FILES: usize = 300;
/// Midnight of the first day, in seconds.
const FIRST_DAY: i64 = 1_704_067_200;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let nights = numbers.next().unwrap_or(365);
    let revisions = numbers.next().unwrap_or(10_000);
    let folder = tempfile::tempdir().expect("a folder");
    if nights > 0 {
        year(&folder.path().join("year"), &folder.path().join("fresh"), nights);
    }
    if revisions > 0 {
        many(&folder.path().join("many"), revisions);
    }
}

/// What collecting came to so far.
#[derive(Default)]
struct Sum {
    saved: u64,
    removed: u64,
    written: u64,
    runs: u32,
    writing: u32,
}

fn year(root: &Path, fresh: &Path, nights: u32) {
    let policy = Policy {
        daily: Some(Limit::Newest(7)),
        weekly: Some(Limit::Newest(4)),
        monthly: Some(Limit::Newest(12)),
        ..Policy::default()
    };
    let mut image = Image::default();
    let mut saved: BTreeMap<Time, (u32, Digest)> = BTreeMap::new();
    let mut sum = Sum::default();
    let started = Instant::now();
    println!("night  kept    packs    files  catalog    saved    freed  written  waste");
    for night in 0..nights {
        let archive = image.night(night);
        saved.insert(at(night, 2), (night, Digest::of(&archive)));
        let before = bytes(&root.join("packs")).0;
        save_at(root, archive, at(night, 2));
        sum.saved += bytes(&root.join("packs")).0 - before;
        let mut store = open(root);
        let author = Author { program: "bench", now: at(night, 3) };
        let mut going = plan(&store, None, &policy, &Zone::utc()).expect("a plan");
        going.carry_out(&mut store, author).expect("a record");
        drop(store);
        let mut waste = None;
        if night % 7 == 6 || night + 1 == nights {
            let outcome = collect(root, at(night, 4));
            waste = Some(outcome.collected.waste);
            sum.runs += 1;
            sum.writing += u32::from(outcome.collected.written > 0);
            sum.removed += outcome.collected.removed;
            sum.written += outcome.collected.written;
        }
        if night % MONTH == MONTH - 1 || night + 1 == nights {
            row(root, night, &sum, waste);
        }
    }
    println!("{nights} nights took {:.0} s", started.elapsed().as_secs_f64());
    println!("of {} collections {} wrote something", sum.runs, sum.writing);
    compare(root, fresh, &saved);
}

/// The figures of a month.
fn row(root: &Path, night: u32, sum: &Sum, waste: Option<u64>) {
    let kept = revisions(&open(root)).len();
    let (packs, files) = bytes(&root.join("packs"));
    let catalog = std::fs::metadata(root.join("catalog.sqlite")).map_or(0, |file| file.len());
    let waste = waste.map_or(String::new(), |waste| format!("{:6.1}%", percent(waste, packs)));
    println!(
        "{:5}  {kept:4}  {:7.2}  {files:7}  {:7.2}  {:7.2}  {:7.2}  {:7.2}  {waste}",
        night + 1,
        mega(packs),
        mega(catalog),
        mega(sum.saved),
        mega(sum.removed.saturating_sub(sum.written)),
        mega(sum.written),
    );
}

/// Exports all that was kept, compares it with what was saved, and saves it in a
/// fresh store, in order.
fn compare(root: &Path, fresh: &Path, saved: &BTreeMap<Time, (u32, Digest)>) {
    let store = open(root);
    let kept = revisions(&store);
    for revision in &kept {
        let mut archive = Vec::new();
        let original = Original::of(&store, revision.record).expect("an archive");
        original.write(&mut archive, &()).expect("its bytes");
        assert_eq!(Digest::of(&archive), saved[&revision.saved_at].1, "{}", revision.saved_at);
        save_at(fresh, archive, revision.saved_at);
    }
    // Its small packs are merged as well.
    let unmerged = bytes(&fresh.join("packs")).0;
    collect(fresh, at(1000, 0));
    let (grown, ideal) = (bytes(&root.join("packs")).0, bytes(&fresh.join("packs")).0);
    println!("all {} that were kept came out as they were saved", kept.len());
    println!(
        "{:.2} MB where a fresh store of these takes {:.2} MB ({:.2} before its packs are merged): {:.3}",
        mega(grown),
        mega(ideal),
        mega(unmerged),
        grown as f64 / ideal as f64
    );
    for root in [root, fresh] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        let status = command.arg("--store").arg(root).arg("stats").status();
        assert!(status.is_ok_and(|it| it.success()));
    }
}

fn many(root: &Path, count: u32) {
    let started = Instant::now();
    for first in (0..count).step_by(TOGETHER) {
        let images: Vec<(String, Vec<Vec<u8>>)> = (first..count).take(TOGETHER).map(tiny).collect();
        save_at(root, archive(&images), Time::from_nanos(second(first / 24, first % 24)));
        if first % 2000 == 0 {
            collect(root, at(first / 24, 23));
        }
    }
    println!("{count} revisions after {:.0} s", started.elapsed().as_secs_f64());
    collect(root, at(count, 0));
    for _ in 0..3 {
        let started = Instant::now();
        let outcome = collect(root, at(count, 1));
        assert_eq!((outcome.collected.packs, outcome.collected.written), (0, 0));
        println!("gc with nothing to do: {:.2} s", started.elapsed().as_secs_f64());
    }
    for _ in 0..3 {
        let started = Instant::now();
        let policy = Policy { last: Some(Limit::Newest(50)), ..Policy::default() };
        let mut store = open(root);
        let going = plan(&store, None, &policy, &Zone::utc()).expect("a plan");
        let planned = started.elapsed().as_secs_f64();
        let freed = gc::plan(&mut store, WASTE, &going.removed()).expect("a plan");
        println!(
            "forget {} of them: planned in {planned:.2} s, and that it frees {} bytes in {:.2} s",
            going.going(),
            freed.free(),
            started.elapsed().as_secs_f64()
        );
    }
}

/// One of many images.
fn tiny(number: u32) -> (String, Vec<Vec<u8>>) {
    let body = format!("this is {number}\n").repeat(20);
    let base = layer(&[("etc/base".to_owned(), vec![b'b'; 4000])], 0);
    let own = layer(&[("srv/number".to_owned(), body.into_bytes())], i64::from(number));
    (format!("app-{}:{number}", number % 97), vec![base, own])
}

fn open(root: &Path) -> Store {
    if !root.exists() {
        Store::create(&Disk, root, "bench").expect("a store");
    }
    Store::open(Arc::new(Disk), root, &OpenOptions::default()).expect("a store")
}

fn save_at(root: &Path, archive: Vec<u8>, now: Time) {
    let input = Input::from_stream("-".to_owned(), std::io::Cursor::new(archive)).expect("input");
    let options = SaveOptions {
        tag: None,
        level: 6,
        now,
        now_as_given: true,
        program: "bench",
        original: Keep::Keep,
    };
    save(&mut open(root), input, &options, &()).expect("a save");
}

fn collect(root: &Path, now: Time) -> Outcome {
    let options = GcOptions { waste: WASTE, levels: Levels::for_content(6), now, program: "bench" };
    let outcome = gc(&mut open(root), &options, &()).expect("a collection");
    assert!(outcome.waiting_for.is_empty() && !outcome.collected.no_room, "{outcome:?}");
    outcome
}

/// What is in a store, oldest first.
fn revisions(store: &Store) -> Vec<RevisionRow> {
    let named = store.catalog().revisions_named(true, |_, _| true).expect("revisions");
    let mut revisions: Vec<RevisionRow> = named.into_iter().map(|(_, it)| it).collect();
    revisions.sort_by_key(|it| (it.saved_at, it.position));
    revisions
}

/// Bytes of the files in the folders of a folder, and their number.
fn bytes(folder: &Path) -> (u64, usize) {
    let (mut bytes, mut count) = (0, 0);
    for folder in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            bytes += file.metadata().map_or(0, |file| file.len());
            count += 1;
        }
    }
    (bytes, count)
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn at(night: u32, hour: u32) -> Time {
    Time::from_nanos(second(night, hour))
}

fn second(night: u32, hour: u32) -> i64 {
    (FIRST_DAY + i64::from(night) * 86_400 + i64::from(hour) * 3600) * 1_000_000_000
}

/// The files of an image, which change from night to night.
#[derive(Default)]
struct Image {
    base: Vec<(String, Vec<u8>)>,
    app: Vec<(String, Vec<u8>)>,
    state: u64,
}

impl Image {
    /// The archive of a night.
    fn night(&mut self, night: u32) -> Vec<u8> {
        if night == 0 {
            self.state = 7;
            self.base = (0..FILES).map(|at| (format!("usr/lib/{at}.so"), self.body(2))).collect();
            self.app = (0..FILES).map(|at| (format!("srv/app/{at}.py"), self.body(1))).collect();
        }
        if night.is_multiple_of(MONTH) {
            self.change(true, FILES / 4);
        }
        self.change(false, FILES / 33);
        let time = FIRST_DAY + i64::from(night) * 86_400;
        let month = time - i64::from(night % MONTH) * 86_400;
        let layers = vec![layer(&self.base, month), layer(&self.app, time)];
        archive(&[("nightly:latest".to_owned(), layers)])
    }

    /// Changes some files: most of them in places, and one to another one.
    fn change(&mut self, base: bool, count: usize) {
        for number in 0..count {
            let at = self.random() as usize % FILES;
            let new = self.body(1);
            let offset = self.random() as usize;
            let files = if base { &mut self.base } else { &mut self.app };
            let body = &mut files[at].1;
            if number == 0 {
                *body = new;
                continue;
            }
            let from = offset % body.len();
            let piece = &new[..new.len().min(300)];
            body.splice(from..from, piece.iter().copied());
            body.truncate(60_000);
        }
    }

    /// Words, some of which are often there, as in programs.
    fn body(&mut self, scale: usize) -> Vec<u8> {
        let length = (500 + self.random() as usize % 12_000) * scale;
        let mut body = Vec::with_capacity(length);
        while body.len() < length {
            let word = self.random();
            let word = if word.is_multiple_of(3) { word } else { word % 700 };
            body.extend_from_slice(format!("{word:x} ").as_bytes());
        }
        body
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 11
    }
}

/// A layer of files that all have the same time.
fn layer(files: &[(String, Vec<u8>)], time: i64) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for (name, body) in files {
        append(&mut layer, name, body, time);
    }
    layer.into_inner().expect("a tar")
}

/// A docker archive.
fn archive(images: &[(String, Vec<Vec<u8>>)]) -> Vec<u8> {
    let mut outer = tar::Builder::new(Vec::new());
    let mut items = Vec::new();
    for (number, (name, layers)) in images.iter().enumerate() {
        let ids: Vec<String> =
            layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer))).collect();
        let config = format!(
            r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            ids.join(",")
        );
        append(&mut outer, &format!("{number}.json"), config.as_bytes(), 0);
        let mut names = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            append(&mut outer, &format!("{number}/{at}.tar"), layer, 0);
            names.push(format!("\"{number}/{at}.tar\""));
        }
        let names = names.join(",");
        items.push(format!(
            r#"{{"Config":"{number}.json","RepoTags":["{name}"],"Layers":[{names}]}}"#
        ));
    }
    append(&mut outer, "manifest.json", format!("[{}]", items.join(",")).as_bytes(), 0);
    outer.into_inner().expect("a tar")
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, body: &[u8], time: i64) {
    let mut header = tar::Header::new_ustar();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(time.unsigned_abs());
    builder.append_data(&mut header, name, body).expect("a member");
}
