//! Tests of optimizing: chunks, directories and depths stay, whatever happens.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Scratch, list, mixed, read, tar};
use crate::codec::Levels;
use crate::digest::{Digest, Id};
use crate::fs::faulty::{Fault, Faulty};
use crate::fs::{Disk, Fs};
use crate::pack::reader::PackReader;
use crate::store::optimize::{Candidate, Optimized, Optimizer, memory_min};
use crate::store::record::{SaveRecord, Source};
use crate::store::{Notice, OpenOptions, Result, Store};
use crate::time::Time;

/// A layer of two files that is changed a little from version to version, so that
/// the second stands on the first, and the third on the second.
fn layer(version: u64) -> Vec<u8> {
    let mut large = mixed(1, 180_000);
    let mut small = mixed(2, 40_000);
    for number in 1..=version {
        for (content, step) in [(&mut large, 50_000), (&mut small, 9_000)] {
            let at = usize::try_from(number).unwrap() * step;
            content[at..at + 26]
                .copy_from_slice(format!("changed in version {number:07}").as_bytes());
        }
    }
    tar(&[&large, &small])
}

/// A store with so many versions of a layer, and their digests.
fn versions(count: u64) -> (Scratch, Vec<Digest>) {
    let scratch = Scratch::new();
    let put = |version| scratch.save(|session| session.put_layer(&mut &*layer(version)).unwrap());
    let digests = (0..count).map(|version| put(version).digest).collect();
    (scratch, digests)
}

/// Puts new packs in place for all that aren't optimized.
fn rewrite_all(optimizer: &mut Optimizer<'_>) -> Result<Vec<(Candidate, Optimized)>> {
    let candidates = optimizer.candidates()?;
    assert!(candidates.damaged.is_empty());
    candidates.packs.iter().map(|pack| Ok((*pack, optimizer.rewrite(pack.id, &())?))).collect()
}

/// The same, and lets go of the old ones, in two steps.
fn optimize_all(store: &mut Store) -> Result<Vec<(Candidate, Optimized)>> {
    let mut optimizer = store.begin_optimizing(memory_min())?;
    let optimized = rewrite_all(&mut optimizer)?;
    let pairs: Vec<(Id, Id)> = optimized.iter().map(|(old, new)| (old.id, new.id)).collect();
    for part in pairs.chunks(4) {
        optimizer.replace(part, "test", Time::from_nanos(0))?;
    }
    Ok(optimized)
}

/// The same, and removes the old ones that nobody may need; returns how many stay.
fn optimize_and_remove(store: &mut Store) -> Result<u64> {
    optimize_all(store)?;
    let mut optimizer = store.begin_optimizing(memory_min())?;
    optimizer.candidates()?;
    let gone = optimizer.remove_replaced()?;
    optimizer.finish();
    Ok(gone.stay)
}

fn path_of(scratch: &Scratch, pack: Id) -> PathBuf {
    let name = pack.to_string();
    scratch.root().join("packs").join(&name[..2]).join(format!("{name}.pack"))
}

fn open_pack(path: &Path) -> PackReader {
    PackReader::open(&Disk, path).unwrap()
}

/// The depth of every chunk.
fn depths(pack: &PackReader) -> Vec<u8> {
    let frames = pack.frames().iter();
    frames.flat_map(|frame| std::iter::repeat_n(frame.depth, frame.count as usize)).collect()
}

#[test]
fn all_packs_become_smaller_and_nothing_else_changes() {
    let (scratch, digests) = versions(3);
    let optimized = optimize_all(&mut scratch.open()).unwrap();
    assert_eq!(optimized.len(), 6);
    let mut deepest = 0;
    for (old, new) in &optimized {
        let before = open_pack(&path_of(&scratch, old.id));
        let after = open_pack(&path_of(&scratch, new.id));
        assert_eq!((old.size, new.size), (before.size(), after.size()));
        assert_eq!(before.directory_id(), after.directory_id());
        assert_eq!(depths(&before), depths(&after));
        assert!(after.is_optimized());
        // The line in its header takes 12 bytes.
        assert!(after.size() <= before.size() + 12);
        deepest = depths(&after).into_iter().max().max(Some(deepest)).unwrap();
    }
    assert_eq!(deepest, 2);
    let sum = |size: fn(&(Candidate, Optimized)) -> u64| optimized.iter().map(size).sum::<u64>();
    assert!(sum(|(_, new)| new.size) * 10 < sum(|(old, _)| old.size) * 9);
    // The new packs alone give everything back, to whoever knew the old ones too.
    let mut known = scratch.open();
    for (old, _) in &optimized {
        Disk.remove_file(&path_of(&scratch, old.id)).unwrap();
    }
    for reindexed in [false, true] {
        let mut store = scratch.open();
        if reindexed {
            store.reindex().unwrap();
            store.take_notices();
        } else {
            drop(known.begin(Levels::for_content(1)).unwrap());
        }
        for (digest, version) in digests.iter().zip(0..) {
            assert!(read(&store, *digest).unwrap() == layer(version));
        }
        let mut optimizer = store.begin_optimizing(memory_min()).unwrap();
        assert_eq!(optimizer.candidates().unwrap().packs, []);
        drop(optimizer);
        assert_eq!(store.take_notices(), []);
    }
}

#[test]
fn the_next_version_stands_on_optimized_packs() {
    let (scratch, _) = versions(3);
    let optimized = optimize_all(&mut scratch.open()).unwrap();
    for (old, _) in &optimized {
        Disk.remove_file(&path_of(&scratch, old.id)).unwrap();
    }
    let before = scratch.packs();
    let put = scratch.save(|session| session.put_layer(&mut &*layer(3)).unwrap());
    assert!(read(&scratch.open(), put.digest).unwrap() == layer(3));
    let added = scratch.packs().into_iter().filter(|path| !before.contains(path));
    let (mut bytes, mut deepest) = (0, 0);
    for pack in added.map(|path| open_pack(&path)) {
        bytes += pack.size();
        deepest = depths(&pack).into_iter().max().max(Some(deepest)).unwrap();
    }
    assert!(deepest > 0 && bytes < 4000, "depth {deepest}, {bytes} bytes");
}

#[test]
fn what_is_saved_meanwhile_stands_on_either_pack() {
    let (scratch, _) = versions(2);
    let mut store = scratch.open();
    let mut session = store.begin(Levels::for_content(1)).unwrap();
    let optimized = optimize_all(&mut scratch.open()).unwrap();
    let put = session.put_layer(&mut &*layer(2)).unwrap();
    let source = Source { name: "test".to_owned(), dialect: "test".to_owned() };
    let record = SaveRecord::new("test", source, Vec::new());
    let (_, record) = session.commit(record, Time::from_nanos(0), true).unwrap();
    let saved = record.packs.iter().map(|id| depths(&open_pack(&path_of(&scratch, *id))));
    assert_eq!(saved.flatten().max(), Some(2));
    for (old, new) in &optimized {
        // With either of them alone.
        let [gone, hidden] = [old.id, new.id].map(|id| path_of(&scratch, id));
        Disk.rename(&hidden, &scratch.root().join("hidden")).unwrap();
        assert!(read(&reindexed(&scratch), put.digest).unwrap() == layer(2));
        Disk.rename(&scratch.root().join("hidden"), &hidden).unwrap();
        Disk.remove_file(&gone).unwrap();
        assert!(read(&reindexed(&scratch), put.digest).unwrap() == layer(2));
    }
}

fn reindexed(scratch: &Scratch) -> Store {
    let mut store = scratch.open();
    store.reindex().unwrap();
    store
}

#[test]
fn what_was_replaced_stays_while_others_may_need_it() {
    let (scratch, digests) = versions(3);
    let old = scratch.packs();
    let hold = OpenOptions { hold: true, ..OpenOptions::default() };
    let reader = Store::open(Arc::new(Disk), &scratch.root(), &hold).unwrap();
    let mut writer = scratch.open();
    let mut session = writer.begin(Levels::for_content(1)).unwrap();
    let mut store = scratch.open();
    assert_eq!(optimize_and_remove(&mut store).unwrap(), 6);
    assert_eq!(optimize_and_remove(&mut store).unwrap(), 6);
    assert!(old.iter().all(|path| path.exists()));
    // Who begins now doesn't keep them, and takes no notice of them.
    let late = Store::open(Arc::new(Disk), &scratch.root(), &hold).unwrap();
    session.put_layer(&mut &*layer(3)).unwrap();
    let source = Source { name: "test".to_owned(), dialect: "test".to_owned() };
    let record = SaveRecord::new("test", source, Vec::new());
    session.commit(record, Time::from_nanos(0), true).unwrap();
    drop(writer);
    for (digest, version) in digests.iter().zip(0..) {
        assert!(read(&reader, *digest).unwrap() == layer(version));
    }
    drop(reader);
    assert_eq!(optimize_and_remove(&mut store).unwrap(), 2);
    assert!(old.iter().all(|path| !path.exists()));
    for store in [late, reindexed(&scratch)] {
        for (digest, version) in digests.iter().zip(0..) {
            assert!(read(&store, *digest).unwrap() == layer(version));
        }
    }
    assert_eq!(optimize_and_remove(&mut store).unwrap(), 0);
    assert_eq!(scratch.packs().len(), 8);
}

#[test]
fn nothing_is_removed_while_garbage_is_collected() {
    let (scratch, _) = versions(2);
    let old = scratch.packs();
    let mut collecting = scratch.open();
    let collection = collecting.collect(0).unwrap();
    assert_eq!(optimize_and_remove(&mut scratch.open()).unwrap(), 4);
    drop(collection);
    assert!(old.iter().all(|path| path.exists()));
    assert_eq!(optimize_and_remove(&mut scratch.open()).unwrap(), 0);
    assert!(old.iter().all(|path| !path.exists()));
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let (scratch, _) = versions(3);
    assert_eq!(optimize_all(&mut scratch.open()).unwrap().len(), 6);
    assert_eq!(optimize_all(&mut scratch.open()).unwrap(), []);
    assert_eq!(scratch.packs().len(), 12);
}

#[test]
fn packs_that_no_record_names_yet_are_taken_as_they_are() {
    let (scratch, _) = versions(3);
    let mut store = scratch.open();
    let first = rewrite_all(&mut store.begin_optimizing(memory_min()).unwrap()).unwrap();
    drop(store);
    let fs = Faulty::counting();
    let open = Store::open(Arc::new(fs.clone()), &scratch.root(), &OpenOptions::default());
    let again = rewrite_all(&mut open.unwrap().begin_optimizing(memory_min()).unwrap()).unwrap();
    assert_eq!(again, first);
    assert_eq!(scratch.packs().len(), 12);
    // Folders that are made durable, its own and the lock in it; six packs would be
    // four operations each.
    assert!(fs.operations() < 24, "{}", fs.operations());
}

#[test]
fn one_of_them_that_is_damaged_is_made_again() {
    let (scratch, _) = versions(3);
    let mut store = scratch.open();
    let first = rewrite_all(&mut store.begin_optimizing(memory_min()).unwrap()).unwrap();
    drop(store);
    let path = path_of(&scratch, first[0].1.id);
    damage(&path);
    assert_eq!(optimize_all(&mut scratch.open()).unwrap(), first);
    let pack = open_pack(&path);
    let none = |_: &_| Ok::<_, crate::pack::reader::PackError>(Vec::new());
    assert!(pack.frame(0, none).is_ok());
}

/// Changes a byte in the payload of the first frame.
#[expect(clippy::disallowed_methods, reason = "changes files behind the store's back")]
fn damage(path: &Path) {
    let entry = open_pack(path).frames()[0];
    let mut bytes = std::fs::read(path).unwrap();
    let at = usize::try_from(entry.offset).unwrap() + entry.header_len as usize + 100;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_run_that_ends_anywhere_leaves_the_store_whole() {
    let (scratch, digests) = versions(2);
    let template: Vec<(PathBuf, Vec<u8>)> = files(&scratch.root());
    let mut found: HashMap<bool, u32> = HashMap::new();
    for number in 1.. {
        restore(&scratch.root(), &template);
        let fs = Faulty::at(number, Fault::Freeze);
        let run = Store::open(Arc::new(fs.clone()), &scratch.root(), &OpenOptions::default())
            .and_then(|mut store| optimize_and_remove(&mut store));
        *found.entry(run.is_ok()).or_default() += 1;
        let mut store = scratch.open();
        for (digest, version) in digests.iter().zip(0..) {
            assert!(read(&store, *digest).unwrap() == layer(version), "{number}");
        }
        assert_eq!(optimize_and_remove(&mut store).unwrap(), 0, "{number}");
        assert_eq!(optimize_all(&mut store).unwrap(), [], "{number}");
        drop(store);
        assert_eq!(scratch.packs().len(), 4, "{number}");
        let mut store = reindexed(&scratch);
        for (digest, version) in digests.iter().zip(0..) {
            assert!(read(&store, *digest).unwrap() == layer(version), "{number}");
        }
        let notices = store.take_notices();
        assert!(matches!(notices[..], [Notice::CatalogRebuilt { .. }]), "{notices:?}");
        assert_eq!(list(&scratch.root().join("tmp")), [scratch.root().join("tmp/gc")], "{number}");
        if run.is_ok() && fs.operations() < number {
            break;
        }
    }
    assert!(found[&false] > 30, "{found:?}");
}

/// All files but the catalog, and what is in them.
#[expect(clippy::disallowed_methods, reason = "looks at files as they are")]
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in list(folder) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.to_string_lossy().contains("catalog.sqlite") {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// Makes a store of these files alone.
#[expect(clippy::disallowed_methods, reason = "changes files behind the store's back")]
fn restore(root: &Path, files: &[(PathBuf, Vec<u8>)]) {
    Disk.remove_dir_all(root).unwrap();
    for name in ["packs", "records", "tmp"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    for (path, bytes) in files {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
