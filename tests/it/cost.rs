//! What saving, opening and exporting cost: reads, writes, syncs and decoded bytes.
//!
//! Counts, never seconds. The store's own file access is counted by a file system
//! that lists it; that of an input by the kernel, for a process of its own
//! (`/proc/PID/io`). Assumes the format's footers and frame
//! tables (docs/FORMAT.md, 4.4 and 4.5).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use orlop::store::{OpenOptions, Store};

use crate::support::counting::{Act, Counting};
use crate::support::images::{Image, Layout, Place, archive};
use crate::support::shelf::{Shelf, Way};
use crate::support::tars;

const KIB: usize = 1 << 10;

/// A layer with files of all sizes; `seed` makes their content differ.
fn layer(seed: u8, files: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for number in 0..files {
        let stream = seed.wrapping_mul(32).wrapping_add(u8::try_from(number % 32).unwrap());
        let body = tars::body(stream | 1, 100 + number * 7000);
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("files/{number}"), body.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn image(name: &str, layers: Vec<Vec<u8>>) -> Image {
    Image { names: vec![format!("docker.io/library/{name}")], layers, comment: name.to_owned() }
}

/// Saves an archive by the command itself; bytes that it read and wrote, on all its threads.
fn saving(shelf: &Shelf, archive: &Path) -> (u64, u64) {
    // What a child that was waited for did counts as its parent's.
    let script = "\"$0\" \"$@\" && cat /proc/$$/io";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_orlop"), "-q", "--store"]).arg(shelf.root());
    let output = command.args(["save", "-i"]).arg(archive).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    (field("rchar:"), field("wchar:"))
}

fn counted_shelf() -> (Counting, Shelf) {
    let counting = Counting::default();
    let shelf = Shelf::on(Arc::new(counting.clone()));
    counting.take();
    (counting, shelf)
}

fn count(acts: &[Act], wanted: impl Fn(&Act) -> bool) -> usize {
    acts.iter().filter(|act| wanted(act)).count()
}

fn is_sync(act: &Act) -> bool {
    matches!(act, Act::Sync(_))
}

fn is_folder_sync(act: &Act) -> bool {
    matches!(act, Act::SyncFolder(_))
}

fn packs(shelf: &Shelf) -> Vec<PathBuf> {
    let is_pack = |path: &PathBuf| path.extension().is_some_and(|end| end == "pack");
    shelf.files().into_keys().filter(is_pack).map(|path| shelf.root().join(path)).collect()
}

/// What a pack's file says of itself.
struct Pack {
    is_data: bool,
    /// Where its tables begin, and how long it is.
    tables: u64,
    size: u64,
    /// Offset and raw length of each frame.
    frames: Vec<(u64, u64)>,
}

fn read_pack(path: &Path) -> Pack {
    let bytes = std::fs::read(path).unwrap();
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let footer = bytes.len() - 96;
    let table = footer - usize::try_from(u32_at(footer + 12)).unwrap();
    let frames = (0..usize::try_from(u32_at(table + 8)).unwrap()).map(|number| {
        let at = table + 16 + 32 * number;
        (u64_at(at), u64::from(u32_at(at + 16)))
    });
    Pack {
        is_data: bytes[10] == 1,
        tables: u64_at(footer),
        size: bytes.len() as u64,
        frames: frames.collect(),
    }
}

#[test]
fn saving_what_is_known_reads_next_to_nothing() {
    let (counting, mut shelf) = counted_shelf();
    let image = image("app:1", (0..3).map(|seed| layer(seed, 60)).collect());
    let archive = archive(&[image], Layout::Legacy, Place::Last);
    let length = archive.len() as u64;
    let path = shelf.root().with_file_name("app.tar");
    std::fs::write(&path, &archive).unwrap();

    let (read, _) = saving(&shelf, &path);
    assert!(read >= length, "what the command reads is counted");

    let files = shelf.files();
    let (read, written) = saving(&shelf, &path);
    counting.take();
    let outcome = shelf.save_file(&path).unwrap();
    assert!(outcome.save.is_none());
    println!("{read} of {length} bytes read, {written} written");
    assert!(read < length / 100, "{read} of {length} bytes read");
    assert_eq!(shelf.files(), files);
    // Of the store, only the lock of the writer is written.
    let acts = counting.take();
    let made: Vec<_> = acts.iter().filter(|act| matches!(act, Act::Create(_))).collect();
    assert!(matches!(made[..], [Act::Create(path)] if path.ends_with("lock")), "{made:?}");
    assert_eq!(count(&acts, |act| matches!(act, Act::Rename(_))), 0);
    assert_eq!(count(&acts, |act| is_sync(act) || is_folder_sync(act)), 0);
    assert!(written < 4096, "{written}");
}

#[test]
fn a_layer_that_is_known_under_another_image_is_not_read() {
    let (_, mut shelf) = counted_shelf();
    let base: Vec<Vec<u8>> = (0..3).map(|seed| layer(seed, 60)).collect();
    let first = image("app:1", base.clone());
    shelf.save(&archive(&[first], Layout::Legacy, Place::Last), Way::File).unwrap();
    let top = layer(9, 3);
    let own = top.len() as u64;
    let second = image("app:2", [base, vec![top]].concat());
    let archive = archive(&[second], Layout::Hybrid, Place::First);
    let path = shelf.root().with_file_name("app.tar");
    std::fs::write(&path, &archive).unwrap();
    let (read, _) = saving(&shelf, &path);
    let outcome = shelf.save_file(&path).unwrap();
    assert!(outcome.images[0].unchanged && outcome.images[0].layers_known == 4);
    let most = own + archive.len() as u64 / 50;
    println!("{read} bytes read for a new layer of {own}");
    assert!(read < most, "{read} bytes read for a new layer of {own}");
}

#[test]
fn a_save_syncs_each_file_and_each_folder_once() {
    let (counting, mut shelf) = counted_shelf();
    for number in 1..=3 {
        let image = image(&format!("app:{number}"), vec![layer(number, 20)]);
        let before = shelf.files();
        let archive = archive(&[image], Layout::Legacy, Place::Last);
        counting.take();
        shelf.save(&archive, Way::Stream).unwrap();
        let acts = counting.take();
        let added: Vec<PathBuf> =
            shelf.files().into_keys().filter(|path| !before.contains_key(path)).collect();
        // A data pack, a metadata pack and the record.
        assert_eq!(added.len(), 3, "{added:?}");
        assert_eq!(count(&acts, is_sync), 3);
        assert_eq!(count(&acts, |act| matches!(act, Act::Rename(_))), 3);
        // For each the folder that it goes to, and the one above where that is new.
        let in_tmp = |path: &Path| path.starts_with(shelf.root().join("tmp"));
        let new = count(&acts, |act| matches!(act, Act::Folder(path) if !in_tmp(path)));
        assert_eq!(count(&acts, is_folder_sync), 3 + new);
        check_order(&acts);
    }
}

/// Nothing has its name before its content is durable, and all that the record
/// names is durable before it.
fn check_order(acts: &[Act]) {
    let place = |wanted: &dyn Fn(&Act) -> bool| acts.iter().position(wanted).unwrap();
    let is_record = |path: &Path| path.extension().is_some_and(|end| end == "json");
    let record = place(&|act| matches!(act, Act::Create(path) if is_record(path)));
    let is_pack = |path: &Path| path.extension().is_some_and(|end| end == "pack");
    let named = |act: &Act| matches!(act, Act::Rename(path) if is_pack(path));
    assert_eq!(count(&acts[..record], named), 2);
    assert_eq!(count(&acts[record..], named), 0);
    for (at, act) in acts.iter().enumerate().filter(|(_, act)| named(act)) {
        let Act::Rename(path) = act else { continue };
        assert!(count(&acts[..at], is_sync) > 0);
        let folder = path.parent().unwrap();
        let synced = |act: &Act| matches!(act, Act::SyncFolder(path) if path == folder);
        assert!(acts[at..record].iter().any(synced), "{}", path.display());
    }
    assert_eq!(count(&acts[..record], is_sync), 2);
}

#[test]
fn opening_reads_no_pack_that_the_catalog_knows() {
    let (_, mut shelf) = counted_shelf();
    let image = image("app:1", (0..3).map(|seed| layer(seed, 60)).collect());
    shelf.save(&archive(&[image], Layout::Legacy, Place::Last), Way::File).unwrap();
    let packs = packs(&shelf);
    let root = shelf.root();
    let open = || {
        let counting = Counting::default();
        Store::open(Arc::new(counting.clone()), &root, &OpenOptions::default()).unwrap();
        counting.take()
    };
    let is_pack = |path: &PathBuf| packs.contains(path);
    let opened = |acts: &[Act]| count(acts, |act| matches!(act, Act::Open(path) if is_pack(path)));
    assert_eq!(opened(&open()), 0, "the catalog knows all");

    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(root.join(format!("catalog.sqlite{suffix}"))));
    }
    let acts = open();
    // To index each pack, and to note the paths in it. Once would do.
    assert!(opened(&acts) <= 2 * packs.len(), "{acts:?}");
    for path in &packs {
        let pack = read_pack(path);
        let of_it = |act: &&Act| matches!(act, Act::Read(read, ..) if read == path);
        let read: u64 = acts
            .iter()
            .filter(of_it)
            .map(|act| if let Act::Read(_, _, length) = act { *length } else { 0 })
            .sum();
        // The header with its features is read as if these were as long as can be.
        let tables = pack.size - pack.tables + 24 + 4096;
        let most = 2 * if pack.is_data { tables } else { pack.size + tables };
        assert!(read <= most, "{read} bytes of {}, at most {most}", path.display());
    }
    assert_eq!(opened(&open()), 0, "the catalog knows all again");
}

/// Where frames were read from, with how often.
fn frames_read(acts: &[Act], packs: &BTreeMap<PathBuf, Pack>) -> BTreeMap<(PathBuf, u64), usize> {
    let mut read = BTreeMap::new();
    for act in acts {
        let Act::Read(path, offset, _) = act else { continue };
        let Some(pack) = packs.get(path) else { continue };
        if pack.is_data && pack.frames.iter().any(|(frame, _)| frame == offset) {
            *read.entry((path.clone(), *offset)).or_default() += 1;
        }
    }
    read
}

#[test]
fn an_export_decodes_each_frame_once() {
    let (counting, mut shelf) = counted_shelf();
    // The second layer has some files of the first, out of order, between its own.
    let first = layer(1, 60);
    let second = [first[30 * 512 * KIB / 16..].to_vec(), layer(2, 60)].concat();
    let image = image("app:1", vec![first, second, layer(3, 60)]);
    shelf.save(&archive(&[image], Layout::Legacy, Place::Last), Way::File).unwrap();
    let packs: BTreeMap<PathBuf, Pack> =
        packs(&shelf).into_iter().map(|path| (path.clone(), read_pack(&path))).collect();
    let frames: BTreeSet<(PathBuf, u64)> = packs
        .iter()
        .filter(|(_, pack)| pack.is_data)
        .flat_map(|(path, pack)| pack.frames.iter().map(|(at, _)| (path.clone(), *at)))
        .collect();
    assert!(frames.len() > 5, "{}", frames.len());
    let raw: u64 = packs.values().flat_map(|pack| &pack.frames).map(|(_, raw)| *raw).sum();

    counting.take();
    let outcome = shelf.export_to(&["app:1".to_owned()], &mut std::io::sink());
    let read = frames_read(&counting.take(), &packs);
    assert!(read.keys().eq(&frames), "{} of {} frames", read.len(), frames.len());
    assert!(read.values().all(|&times| times == 1), "{read:?}");
    println!("{} bytes decoded of {raw}", outcome.decoded);
    assert!(outcome.decoded <= raw, "{} bytes decoded of {raw}", outcome.decoded);
}

#[test]
fn a_stream_of_what_is_known_adds_nothing() {
    let (counting, mut shelf) = counted_shelf();
    let image = image("app:1", (0..2).map(|seed| layer(seed, 60)).collect());
    let archive = archive(&[image], Layout::Podman, Place::First);
    shelf.save(&archive, Way::Stream).unwrap();
    let files = shelf.files();
    counting.take();
    shelf.save(&archive, Way::Stream).unwrap();
    let acts = counting.take();
    assert_eq!(count(&acts, |act| matches!(act, Act::Rename(_)) || is_sync(act)), 0);
    assert_eq!(shelf.files(), files);
}

/// A layer whose framing is large and does not compress.
fn much_framing() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for number in 0..120_u8 {
        let value = tars::body(2 * number + 1, 60 * KIB);
        let record = tars::record(b"SCHILY.xattr.user.x", &value);
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(record.len() as u64);
        tar.append_data(&mut header, "x", record.as_slice()).unwrap();
        let body = tars::body(number, 5000);
        let mut header = tar::Header::new_ustar();
        header.set_size(body.len() as u64);
        tar.append_data(&mut header, format!("{number}"), body.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn a_stream_of_much_framing_that_is_known_adds_nothing() {
    let mut shelf = Shelf::new();
    let image = image("app:1", vec![much_framing()]);
    let archive = archive(&[image], Layout::Legacy, Place::Last);
    shelf.save(&archive, Way::Stream).unwrap();
    let files = shelf.files();
    assert!(shelf.save(&archive, Way::Stream).unwrap().save.is_none());
    assert_eq!(shelf.files(), files);
}
