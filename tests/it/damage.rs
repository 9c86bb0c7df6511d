//! Every kind of damage, in every place, seen by every command.
//!
//! Assumes a store of two images that share nothing. Guarantees for each: the
//! promised exit code, a message that names the damaged file, no wrong bytes, no
//! file left behind, no crash. Does not know how damage is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use orlop::fs::Disk;
use orlop::pack::format::{FrameHeader, PackKind};
use orlop::pack::reader::{PackError, PackReader};

use crate::support::stores::{
    archive, copy, expected, export, files, layer, listed, names, noise, open_disk, save,
};
use crate::support::{Scratch, hello};

/// A store with `app:1`, whose files are damaged, and `other:1`.
struct Sample {
    scratch: Scratch,
    app: Vec<u8>,
    other: Vec<u8>,
    /// Of `app:1`.
    data: PathBuf,
    metadata: PathBuf,
    record: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Delete,
    Truncate,
    Flip,
    Zero,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    PackHeader,
    DataFrame,
    MetadataFrame,
    Directory,
    Footer,
    Record,
    Catalog,
}

fn app() -> Vec<u8> {
    let lower = layer(&[("noise", &noise(5, 40_000)), ("text", &b"text ".repeat(9000))]);
    archive("app:1", &[lower, layer(&[("upper", b"upper layer")])])
}

fn other() -> Vec<u8> {
    archive("other:1", &[layer(&[("unlike", &noise(6, 30_000))])])
}

/// Of the packs in a store that aren't in `known`: the data pack, the other one.
fn packs(root: &Path, known: &[PathBuf]) -> (PathBuf, PathBuf) {
    let mut data = None;
    let mut metadata = None;
    for path in files(&root.join("packs")) {
        if !known.contains(&path) {
            let kind = PackReader::open(&Disk, &path).unwrap().kind();
            let place = if kind == PackKind::Data { &mut data } else { &mut metadata };
            assert!(place.replace(path).is_none());
        }
    }
    (data.unwrap(), metadata.unwrap())
}

impl Sample {
    fn new() -> Self {
        let scratch = Scratch::new();
        let root = scratch.path("template");
        save(&mut open_disk(&root), &app()).unwrap();
        let (data, metadata) = packs(&root, &[]);
        let record = files(&root.join("records")).pop_first().unwrap();
        save(&mut open_disk(&root), &other()).unwrap();
        let relative = |path: &Path| path.strip_prefix(&root).unwrap().to_owned();
        let (data, metadata, record) = (relative(&data), relative(&metadata), relative(&record));
        fs::write(scratch.path("app.tar"), app()).unwrap();
        let third = archive("third:1", &[layer(&[("third", &noise(7, 20_000))])]);
        fs::write(scratch.path("third.tar"), third).unwrap();
        let (app, other) = (expected(&app(), "app:1"), expected(&other(), "other:1"));
        Self { scratch, app, other, data, metadata, record }
    }

    /// Puts an undamaged store in place.
    fn reset(&self) {
        let store = self.scratch.store();
        if store.exists() {
            fs::remove_dir_all(&store).unwrap();
        }
        copy(&self.scratch.path("template"), &store);
    }

    /// The file that a place is in, and where in it.
    fn locate(&self, place: Place) -> (PathBuf, usize) {
        let store = self.scratch.store();
        let pack = |path: &Path| PackReader::open(&Disk, &store.join(path)).unwrap();
        let footer = |path: &Path| pack(path).size() - 60;
        let payload = |path: &Path| {
            let frame = pack(path).frames()[0];
            frame.offset + u64::from(frame.header_len) + 10
        };
        let (file, at) = match place {
            Place::Header => (Path::new("orlop.json"), 0),
            Place::PackHeader => (self.data.as_path(), 3),
            Place::DataFrame => (self.data.as_path(), payload(&self.data)),
            Place::MetadataFrame => (self.metadata.as_path(), payload(&self.metadata)),
            Place::Directory => {
                let frames = pack(&self.data).frames().to_vec();
                let last = frames.last().unwrap();
                let end = last.offset + u64::from(last.header_len) + u64::from(last.stored_len);
                (self.data.as_path(), end + 20)
            }
            Place::Footer => (self.metadata.as_path(), footer(&self.metadata)),
            Place::Record => (self.record.as_path(), 30),
            Place::Catalog => (Path::new("catalog.sqlite"), 10),
        };
        (store.join(file), usize::try_from(at).unwrap())
    }

    fn damage(&self, act: Act, place: Place) -> PathBuf {
        let (file, at) = self.locate(place);
        damage(&file, act, at);
        file
    }

    /// Runs a command, which must not crash.
    fn run(&self, arguments: &[&str]) -> (i32, Output) {
        let output = self.scratch.run(arguments);
        let code = output.status.code().unwrap_or_else(|| panic!("{arguments:?}: {output:?}"));
        assert!(code != 101 && code != 70, "{arguments:?}: {output:?}");
        assert!(!text(&output).contains("panicked"), "{output:?}");
        (code, output)
    }

    /// Exports to a file: the exit code; what is in the file, if it is there.
    fn export(&self, name: &str) -> (i32, Output, Option<Vec<u8>>) {
        let folder = self.scratch.path("exported");
        fs::create_dir_all(&folder).unwrap();
        let (code, output) = self.run(&["export", name, "-o", "exported/out.tar"]);
        let found = fs::read(folder.join("out.tar")).ok();
        let left = if found.is_some() { vec!["out.tar".to_owned()] } else { Vec::new() };
        assert_eq!(names(&folder), left, "{output:?}");
        fs::remove_dir_all(&folder).unwrap();
        (code, output, found)
    }
}

fn damage(file: &Path, act: Act, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    match act {
        Act::Delete => return fs::remove_file(file).unwrap(),
        Act::Truncate => bytes.truncate(at),
        Act::Flip => bytes[at] ^= 0x20,
        Act::Zero => {
            let end = bytes.len().min(at + 64);
            bytes[at..end].fill(0);
        }
    }
    fs::write(file, bytes).unwrap();
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const ACTS: [Act; 4] = [Act::Delete, Act::Truncate, Act::Flip, Act::Zero];
const PLACES: [Place; 8] = [
    Place::Header,
    Place::PackHeader,
    Place::DataFrame,
    Place::MetadataFrame,
    Place::Directory,
    Place::Footer,
    Place::Record,
    Place::Catalog,
];

/// Exit codes of `images`, `inspect app:1`, `export app:1`, `save third.tar`,
/// `export other:1`.
fn codes(act: Act, place: Place) -> [i32; 5] {
    match (place, act) {
        (Place::Header, Act::Delete) => [10, 10, 10, 1, 10],
        (Place::Header, _) => [13; 5],
        // Only content is damaged, which `inspect` doesn't read.
        (Place::DataFrame, Act::Flip | Act::Zero) => [0, 0, 13, 0, 0],
        (Place::Record, Act::Delete) => [0, 12, 12, 0, 0],
        // The catalog knows what it says.
        (Place::Record | Place::Catalog, _) => [0; 5],
        _ => [0, 13, 13, 0, 0],
    }
}

#[test]
fn each_damage_has_its_exit_code_and_names_the_file() {
    let sample = Sample::new();
    for (act, place) in PLACES.iter().flat_map(|place| ACTS.map(|act| (act, *place))) {
        let what = format!("{act:?} {place:?}");
        let expected = codes(act, place);
        let mut found = [0; 5];
        let mut messages = Vec::new();
        // Each command meets the damage anew.
        for (number, arguments) in
            [vec!["images"], vec!["inspect", "app:1"], vec!["save", "-i", "third.tar"]]
                .iter()
                .enumerate()
        {
            sample.reset();
            let file = sample.damage(act, place);
            let (code, output) = sample.run(arguments);
            found[[0, 1, 3][number]] = code;
            if code == 13 {
                messages.push((file, text(&output)));
            }
        }
        sample.reset();
        let file = sample.damage(act, place);
        let (code, output, bytes) = sample.export("app:1");
        found[2] = code;
        assert!(bytes.is_none_or(|bytes| code == 0 && bytes == sample.app), "{what}");
        if code == 13 {
            messages.push((file, text(&output)));
        }
        let (code, _, bytes) = sample.export("other:1");
        found[4] = code;
        assert!(bytes.is_none_or(|bytes| code == 0 && bytes == sample.other), "{what}");
        assert_eq!(found, expected, "{what}: {messages:?}");
        for (file, message) in messages {
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(message.contains(name), "{what}: {message}");
        }
    }
}

#[test]
fn where_hashes_differ_both_are_told() {
    let sample = Sample::new();
    sample.reset();
    sample.damage(Act::Flip, Place::DataFrame);
    let (_, output, _) = sample.export("app:1");
    let message = text(&output);
    let [error, cause] = message.lines().collect::<Vec<_>>()[..] else { panic!("{message}") };
    assert!(error.starts_with("error: pack `") && error.contains("` is damaged at byte "));
    let words: Vec<&str> = cause.split(' ').collect();
    assert!(cause.starts_with("caused by: the frame is damaged: expected payload "), "{cause}");
    assert_eq!((words[words.len() - 2], words.len()), ("found", 11), "{cause}");

    sample.reset();
    sample.damage(Act::Flip, Place::Record);
    fs::remove_file(sample.scratch.store().join("catalog.sqlite")).unwrap();
    let (code, output) = sample.run(&["images"]);
    let message = text(&output);
    let name = sample.record.file_stem().unwrap().to_str().unwrap();
    assert!(message.contains(&format!("expected {}, found ", &name[..12])), "{message}");
    assert_eq!(code, 13);
}

#[test]
fn a_bad_record_hides_its_own_images_alone() {
    let sample = Sample::new();
    for act in [Act::Truncate, Act::Flip, Act::Zero] {
        sample.reset();
        let file = sample.damage(act, Place::Record);
        fs::remove_file(sample.scratch.store().join("catalog.sqlite")).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        for _ in 0..2 {
            let (code, output) = sample.run(&["images"]);
            let stdout = String::from_utf8(output.stdout.clone()).unwrap();
            assert_eq!(code, 13, "{act:?}: {output:?}");
            assert!(stdout.contains("other") && !stdout.contains("app"), "{stdout}");
            assert!(text(&output).contains(name), "{output:?}");
        }
        assert_eq!(sample.export("app:1").0, 13);
        assert_eq!(sample.export("other:1").2.as_ref(), Some(&sample.other));
        let (code, output) = sample.run(&["save", "-i", "third.tar"]);
        assert_eq!(code, 0, "{output:?}");
        assert!(text(&output).contains("warning: "), "{output:?}");
        // Saved again, it is there again, and no content was stored twice.
        let before = files(&sample.scratch.store().join("packs"));
        assert_eq!(sample.run(&["save", "-i", "app.tar"]).0, 0);
        assert_eq!(sample.export("app:1").2.as_ref(), Some(&sample.app));
        let after = files(&sample.scratch.store().join("packs"));
        assert!(after.len() <= before.len() + 1, "one metadata pack at most");
    }
}

/// What a user expects of a second backup of the same archive.
#[test]
fn saving_the_same_again_heals_a_lost_pack() {
    let sample = Sample::new();
    for act in [Act::Delete, Act::Truncate, Act::Flip] {
        for place in [Place::PackHeader, Place::Directory, Place::Footer] {
            for catalog in [true, false] {
                sample.reset();
                sample.damage(act, place);
                if !catalog {
                    fs::remove_file(sample.scratch.store().join("catalog.sqlite")).unwrap();
                }
                let what = format!("{act:?} {place:?}, catalog: {catalog}");
                let (code, output) = sample.run(&["save", "-i", "app.tar"]);
                assert_eq!(code, 0, "{what}: {output:?}");
                let (code, output, bytes) = sample.export("app:1");
                assert_eq!(code, 0, "{what}: {output:?}");
                assert!(bytes.as_ref() == Some(&sample.app), "{what}");
                fs::remove_file(sample.scratch.store().join("catalog.sqlite")).unwrap();
                let (code, output, bytes) = sample.export("app:1");
                assert_eq!(code, 0, "{what}, rebuilt: {output:?}");
                assert!(bytes.as_ref() == Some(&sample.app), "{what}, rebuilt");
                // And again there is nothing to do.
                let packs = files(&sample.scratch.store().join("packs"));
                let (_, output) = sample.run(&["save", "-i", "app.tar"]);
                assert!(output.stdout.starts_with(b"unchanged "), "{what}: {output:?}");
                assert_eq!(files(&sample.scratch.store().join("packs")), packs, "{what}");
            }
        }
    }
}

/// New images must not be built upon packs that can't be read.
#[test]
fn a_save_does_not_refer_to_lost_packs() {
    let sample = Sample::new();
    let lower = layer(&[("noise", &noise(5, 40_000)), ("text", &b"text ".repeat(9000))]);
    let relative = archive("app:2", &[lower, layer(&[("upper", b"another")])]);
    fs::write(sample.scratch.path("relative.tar"), &relative).unwrap();
    let right = expected(&relative, "app:2");
    for act in [Act::Delete, Act::Truncate, Act::Flip] {
        for place in [Place::PackHeader, Place::Footer] {
            sample.reset();
            sample.damage(act, place);
            let (code, output) = sample.run(&["save", "-i", "relative.tar"]);
            assert_eq!(code, 0, "{act:?} {place:?}: {output:?}");
            let (code, output, bytes) = sample.export("app:2");
            assert_eq!(code, 0, "{act:?} {place:?}: {output:?}");
            assert!(bytes.as_ref() == Some(&right), "{act:?} {place:?}");
        }
    }
}

/// A page of the catalog that is gone costs nothing but time.
#[test]
fn no_page_of_the_catalog_is_needed() {
    let sample = Sample::new();
    let pages = fs::metadata(sample.scratch.path("template/catalog.sqlite")).unwrap().len() / 4096;
    assert!(pages > 10, "{pages}");
    for page in 0..usize::try_from(pages).unwrap() {
        for fill in [0, 0xff] {
            let wreck = || {
                sample.reset();
                let catalog = sample.scratch.store().join("catalog.sqlite");
                let mut bytes = fs::read(&catalog).unwrap();
                bytes[page * 4096..][..4096].fill(fill);
                fs::write(catalog, bytes).unwrap();
            };
            wreck();
            let (code, output) = sample.run(&["images"]);
            assert_eq!(code, 0, "page {page}: {output:?}");
            let lines = String::from_utf8(output.stdout).unwrap();
            assert_eq!(lines.lines().count(), 3, "page {page}: {lines}");
            wreck();
            let (code, output, bytes) = sample.export("app:1");
            assert_eq!(code, 0, "page {page}: {output:?}");
            assert!(bytes.as_ref() == Some(&sample.app), "page {page}");
            wreck();
            let (code, output) = sample.run(&["save", "-i", "third.tar"]);
            assert_eq!(code, 0, "page {page}: {output:?}");
            assert_eq!(
                listed(&open_disk(&sample.scratch.store())),
                ["app:1", "other:1", "third:1"]
            );
        }
    }
}

/// Reads all of a pack; the decoded frames.
fn read_all(path: &Path) -> Result<Vec<Vec<u8>>, PackError> {
    let pack = PackReader::open(&Disk, path)?;
    let none = |_: &FrameHeader| Ok::<_, PackError>(Vec::new());
    (0..pack.frames().len()).map(|number| pack.frame(number, none)).collect()
}

#[test]
fn every_flipped_byte_and_every_length_of_a_pack_is_survived() {
    let scratch = Scratch::new();
    let root = scratch.store();
    let small = layer(&[("a", b"one file, and"), ("b", &noise(8, 100)), ("c", &[b'c'; 300])]);
    save(&mut open_disk(&root), &archive("app:1", &[small])).unwrap();
    let broken = scratch.path("broken.pack");
    let (data, metadata) = packs(&root, &[]);
    for path in [data, metadata] {
        let whole = fs::read(&path).unwrap();
        assert!(whole.len() < 4096, "{}", whole.len());
        let right = read_all(&path).unwrap();
        let mut refused = 0;
        for at in 0..whole.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= mask;
                fs::write(&broken, &bytes).unwrap();
                match read_all(&broken) {
                    Ok(found) => assert_eq!(found, right, "byte {at}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert_eq!(refused, 3 * whole.len(), "every byte of a pack is checked");
        for length in 0..whole.len() {
            fs::write(&broken, &whole[..length]).unwrap();
            assert!(read_all(&broken).is_err(), "cut at {length}");
        }
    }
}

/// Two packs under each other's name are two damaged packs.
#[test]
fn packs_with_swapped_names_never_give_wrong_bytes() {
    let sample = Sample::new();
    let all: Vec<PathBuf> = files(&sample.scratch.path("template/packs")).into_iter().collect();
    for (one, two) in all.iter().zip(all.iter().skip(1)) {
        sample.reset();
        let store = sample.scratch.store();
        let place =
            |path: &Path| store.join(path.strip_prefix(sample.scratch.path("template")).unwrap());
        fs::copy(one, place(two)).unwrap();
        fs::copy(two, place(one)).unwrap();
        for catalog in [true, false] {
            if !catalog {
                fs::remove_file(store.join("catalog.sqlite")).unwrap();
            }
            for (name, right) in [("app:1", &sample.app), ("other:1", &sample.other)] {
                let (code, output, bytes) = sample.export(name);
                assert!(code == 0 || code == 13, "{output:?}");
                assert!(bytes.is_none_or(|bytes| bytes == *right), "{name}");
            }
        }
    }
}

#[test]
fn a_store_without_its_temporary_folder_is_whole() {
    let sample = Sample::new();
    sample.reset();
    fs::remove_dir_all(sample.scratch.store().join("tmp")).unwrap();
    assert_eq!(sample.export("app:1").2.as_ref(), Some(&sample.app));
    assert_eq!(sample.run(&["save", "-i", "third.tar"]).0, 0);
    assert_eq!(listed(&open_disk(&sample.scratch.store())), ["app:1", "other:1", "third:1"]);
    assert_eq!(export(&open_disk(&sample.scratch.store()), "other:1"), sample.other);
}

/// Content that was compressed against a lost pack is lost with it, and stored
/// again when either image is saved again.
#[test]
fn saving_again_heals_deltas_whose_base_is_lost() {
    for again in [vec![2], vec![1, 2], vec![2, 1], vec![1]] {
        let scratch = Scratch::new();
        scratch.ok(["save", "-i", hello(1).to_str().unwrap()]);
        let (data, _) = packs(&scratch.store(), &[]);
        scratch.ok(["save", "-i", hello(2).to_str().unwrap()]);
        let whole = scratch.path("whole.tar");
        scratch.ok(["export", "hello:2", "-o", whole.to_str().unwrap()]);
        let usage = scratch.ok(["stats", "--json"]);
        assert!(!usage.contains("\"content_delta\": 0"), "{usage}");
        fs::remove_file(data).unwrap();
        assert_eq!(scratch.run(["export", "hello:2", "-o", "x.tar"]).status.code(), Some(13));
        for version in &again {
            scratch.ok(["save", "-i", hello(*version).to_str().unwrap()]);
        }
        if again.contains(&2) {
            scratch.ok(["export", "hello:2", "-o", "x.tar"]);
            let found = fs::read(scratch.path("x.tar")).unwrap();
            assert!(found == fs::read(&whole).unwrap(), "{again:?}");
        }
        if again.contains(&1) {
            scratch.ok(["export", "hello:1", "-o", "y.tar"]);
        }
    }
}
