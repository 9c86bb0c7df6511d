//! Real processes that are killed when something appears on the disk, and what is
//! left of the catalog then: as it is, in part, old, or another store's.
//!
//! SQLite does its own file access, so this is beyond what is simulated. Also what
//! a simulation can't do: file descriptors that run out, and a clock that is set
//! back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use orlop::fs::Disk;
use orlop::image::Query;
use orlop::ops::input::Input;
use orlop::ops::resolve::resolve;
use orlop::ops::save::{self, Original, SaveOptions};
use orlop::store::{Notice, OpenOptions, Store};
use orlop::time::Time;
use serde_json::Value;

use super::Image;
use crate::support::Scratch;
use crate::support::stores::{
    NOW, archive, copy, expected, export, files, layer, listed, names, noise, open_disk, save,
};

const SECOND: i64 = 1_000_000_000;
const YEAR: i64 = 365 * 24 * 3600 * SECOND;

fn image(name: &'static str, seed: u64) -> Image {
    let lower = layer(&[("shared", &noise(99, 200_000)), ("own", &noise(seed, 300_000))]);
    Image::new(name, &[lower, layer(&[("upper", name.as_bytes())])])
}

/// What appears during a save, one after the other.
#[derive(Debug, Clone, Copy)]
enum Event {
    Folder,
    Pack,
    Record,
    /// The catalog grows when there is a record.
    Catalog,
}

impl Event {
    fn has_come(self, root: &Path, before: &State) -> bool {
        match self {
            Self::Folder => !names(&root.join("tmp")).is_empty(),
            Self::Pack => files(&root.join("packs")).len() > before.packs,
            Self::Record => files(&root.join("records")).len() > before.records,
            Self::Catalog => {
                files(&root.join("records")).len() > before.records && log_length(root) > before.log
            }
        }
    }
}

/// Counts of what is there before.
struct State {
    packs: usize,
    records: usize,
    log: u64,
}

fn catalog(root: &Path, suffix: &str) -> PathBuf {
    root.join(format!("catalog.sqlite{suffix}"))
}

fn log_length(root: &Path) -> u64 {
    fs::metadata(catalog(root, "-wal")).map_or(0, |metadata| metadata.len())
}

/// Kills a save of the file `app.tar` as soon as something has come.
fn killed_at(scratch: &Scratch, event: Event) {
    let root = scratch.store();
    let packs = files(&root.join("packs")).len();
    let records = files(&root.join("records")).len();
    let before = State { packs, records, log: log_length(&root) };
    let mut child = scratch.command().args(["save", "-q", "-i", "app.tar"]).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && !event.has_come(&root, &before) {
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What becomes of the catalog when nobody uses it.
fn spoil(how: usize, root: &Path, old: &Path, other: &Path) {
    let remove = |suffix| drop(fs::remove_file(catalog(root, suffix)));
    let take = |from: &Path, suffix| {
        remove(suffix);
        drop(fs::copy(catalog(from, suffix), catalog(root, suffix)));
    };
    let cut = |suffix, part: u64| {
        if let Ok(file) = fs::File::options().write(true).open(catalog(root, suffix)) {
            file.set_len(file.metadata().unwrap().len() * part / 7).unwrap();
        }
    };
    match how {
        0 => {}
        1 => remove("-wal"),
        2 => remove("-shm"),
        3 => remove(""),
        4 => ["", "-wal", "-shm"].into_iter().for_each(remove),
        5 => take(old, ""),
        6 => ["", "-wal", "-shm"].into_iter().for_each(|suffix| take(old, suffix)),
        7 => take(other, "-wal"),
        8 => take(other, ""),
        9 => ["", "-wal", "-shm"].into_iter().for_each(|suffix| take(other, suffix)),
        10..=15 => cut("", how as u64 - 9),
        _ => cut("-wal", how as u64 - 15),
    }
}

const SPOILT: usize = 22;

/// What `images` lists.
fn shown(scratch: &Scratch) -> Vec<String> {
    let listed: Value = serde_json::from_str(&scratch.ok(["images", "--all", "--json"])).unwrap();
    let text = |image: &Value, key: &str| image[key].as_str().unwrap().to_owned();
    let name = |image: &Value| {
        let repository = text(image, "repository");
        format!("{}:{}", repository.trim_start_matches("docker.io/library/"), text(image, "tag"))
    };
    let mut names: Vec<String> = listed["images"].as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

/// What `export` writes.
fn exported(scratch: &Scratch, name: &str) -> Vec<u8> {
    scratch.ok(["export", name, "-o", "exported.tar"]);
    fs::read(scratch.path("exported.tar")).unwrap()
}

#[test]
fn a_catalog_of_a_killed_save_is_right_or_built_again() {
    let (first, second) = (image("app:1", 1), image("app:2", 2));
    let others = Scratch::new();
    fs::write(others.path("app.tar"), &image("app:9", 9).archive).unwrap();
    killed_at(&others, Event::Catalog);
    let (other, old) = (others.store(), others.path("old"));
    for (how, event) in (0..SPOILT).flat_map(|how| {
        let events = [Event::Folder, Event::Pack, Event::Record, Event::Catalog];
        // All for those that are left as they are, one for the others.
        let one = events[how % events.len()];
        if how == 0 { Vec::from(events) } else { vec![one, Event::Catalog] }
            .into_iter()
            .map(move |event| (how, event))
    }) {
        let when = format!("{event:?}, spoilt {how}");
        let scratch = Scratch::new();
        let root = scratch.store();
        fs::write(scratch.path("app.tar"), &first.archive).unwrap();
        scratch.ok(["save", "-i", "app.tar"]);
        drop(fs::remove_dir_all(&old));
        copy(&root, &old);
        fs::write(scratch.path("app.tar"), &second.archive).unwrap();
        killed_at(&scratch, event);
        spoil(how, &root, &old, &other);
        // The command builds a catalog again whatever part of it turns out to be damaged.
        let found = shown(&scratch);
        assert!(found == ["app:1"] || found == ["app:1", "app:2"], "{when}: {found:?}");
        assert!(exported(&scratch, "app:1") == first.expected, "{when}");
        scratch.ok(["save", "-i", "app.tar"]);
        assert_eq!(shown(&scratch), ["app:1", "app:2"], "{when}");
        assert!(exported(&scratch, "app:1") == first.expected, "{when}");
        assert!(exported(&scratch, "app:2") == second.expected, "{when}");
        assert_eq!(names(&root.join("tmp")), [""; 0], "{when}");
    }
}

#[test]
fn file_descriptors_may_run_out() {
    let (first, second) = (image("app:1", 1), image("app:2", 2));
    let scratch = Scratch::new();
    fs::write(scratch.path("app.tar"), &first.archive).unwrap();
    scratch.ok(["save", "-i", "app.tar"]);
    fs::write(scratch.path("app.tar"), &second.archive).unwrap();
    let limited = |most: u32, arguments: &[&str]| {
        let command = scratch.command();
        let mut shell = Command::new("sh");
        shell.env_clear().current_dir(scratch.path(""));
        for (key, value) in command.get_envs() {
            shell.env(key, value.unwrap());
        }
        shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]);
        shell.arg(command.get_program()).args(command.get_args()).args(arguments);
        shell.output().unwrap()
    };
    let (mut failed, mut saved) = (0, false);
    for most in 3..40 {
        let export = ["export", "app:1", "-o", "out.tar"];
        for arguments in [&["images"][..], &export, &["save", "-i", "app.tar"]] {
            let output = limited(most, arguments);
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            // 127: the loader itself ran out.
            let code = output.status.code();
            assert!([Some(0), Some(1), Some(127)].contains(&code), "{most}: {output:?}");
            if output.status.success() {
                saved |= arguments[0] == "save";
                if arguments[0] == "images" {
                    let list = String::from_utf8(output.stdout).unwrap();
                    assert_eq!(list.lines().count(), 2 + usize::from(saved), "{most}: {list}");
                }
            } else {
                assert!(!errors.is_empty(), "{most}");
                failed += 1;
            }
        }
        if let Ok(exported) = fs::read(scratch.path("out.tar")) {
            assert!(exported == first.expected, "{most}");
            fs::remove_file(scratch.path("out.tar")).unwrap();
        }
    }
    assert!(saved && failed > 5, "{failed}");
    let store = open_disk(&scratch.store());
    assert_eq!(listed(&store), ["app:1", "app:2"]);
    assert!(export(&store, "app:1") == first.expected);
    assert!(export(&store, "app:2") == second.expected);
}

/// Saves at a time of the clock; whether it was said to be behind.
fn save_at(store: &mut Store, archive: &[u8], nanos: i64) -> bool {
    let input = Input::from_stream("a.tar".to_owned(), std::io::Cursor::new(archive.to_vec()));
    let options = SaveOptions {
        tag: None,
        level: 1,
        now: Time::from_nanos(nanos),
        now_as_given: false,
        program: "test",
        original: Original::Keep,
    };
    save::save(store, input.unwrap(), &options, &()).unwrap();
    store.take_notices().contains(&Notice::ClockBehind)
}

#[test]
fn a_clock_that_jumps_by_years_changes_no_order() {
    let scratch = Scratch::new();
    let root = scratch.store();
    let times = [NOW, NOW - 10 * YEAR, NOW + 20 * YEAR, NOW, NOW - 30 * YEAR];
    let mut archives = Vec::new();
    for (seed, time) in (1..).zip(times) {
        let archive = archive("app:1", &[layer(&[("own", &noise(seed, 5000))])]);
        let mut store = open_disk(&root);
        let behind = save_at(&mut store, &archive, time);
        assert_eq!(behind, ![0, 2].contains(&archives.len()), "{time}");
        archives.push(archive);
    }
    for rebuilt in [false, true] {
        let mut store = Store::open(Arc::new(Disk), &root, &OpenOptions::default()).unwrap();
        if rebuilt {
            store.reindex().unwrap();
        }
        for (back, archive) in archives.iter().rev().enumerate() {
            let name = format!("app:1~{back}");
            let query = Query::parse(&name).unwrap();
            let found = resolve(&store, &query, &|_| None).unwrap();
            let alone = scratch.path(format!("alone-{rebuilt}-{back}"));
            let mut single = open_disk(&alone);
            save(&mut single, archive).unwrap();
            let query = Query::parse("app:1").unwrap();
            let expected = resolve(&single, &query, &|_| None).unwrap();
            assert_eq!(found.revision.image_id, expected.revision.image_id, "{name}");
        }
        let newest = expected(archives.last().unwrap(), "app:1");
        assert!(export(&store, "app:1") == newest);
    }
}
