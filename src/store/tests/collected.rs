//! Tests of garbage collection: what is needed comes back, whoever else is there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Scratch, mixed, read, tar};
use crate::codec::Levels;
use crate::digest::Digest;
use crate::store::gc::{Collected, Outcome};
use crate::store::record::{SaveRecord, Source};
use crate::store::{Result, Store, StoreError};
use crate::time::Time;

/// A layer of some files, all of which change a little from version to version, so
/// that each stands on the one before; one file is of this version alone.
pub(super) fn layer(version: u64) -> Vec<u8> {
    let mut files: Vec<Vec<u8>> = (0..6).map(|number| mixed(number + 1, 90_000)).collect();
    for number in 1..=version {
        for (file, at) in files.iter_mut().zip([7_000, 9_000, 11_000, 13_000, 5_000, 6_000]) {
            let at = at * usize::try_from(number).unwrap();
            file[at..at + 26].copy_from_slice(format!("changed in version {number:07}").as_bytes());
        }
    }
    files.push(mixed(100 + version, 150_000));
    tar(&files.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// A store with so many versions of a layer, and their digests.
pub(super) fn versions(count: u64) -> (Scratch, Vec<Digest>) {
    let scratch = Scratch::new();
    let put = |version| scratch.save(|session| session.put_layer(&mut &*layer(version)).unwrap());
    let digests = (0..count).map(|version| put(version).digest).collect();
    (scratch, digests)
}

/// Collects what isn't one of these.
pub(super) fn collect(store: &mut Store, kept: &[Digest]) -> Result<Outcome> {
    let mut kept = Some(kept.to_vec());
    carry_out(store, &mut |_: &Store| Ok(kept.take().unwrap_or_default()))
}

pub(super) fn carry_out(
    store: &mut Store,
    needed: &mut dyn FnMut(&Store) -> Result<Vec<Digest>>,
) -> Result<Outcome> {
    let writer = ("test", Time::from_nanos(1));
    store.collect(100)?.carry_out(needed, writer, Levels::for_content(1), &())
}

pub(super) fn names(scratch: &Scratch) -> BTreeSet<PathBuf> {
    scratch.packs().into_iter().collect()
}

/// Opens the store without its catalog, and compares the layers of these versions.
pub(super) fn check(scratch: &Scratch, digests: &[Digest], versions: impl Iterator<Item = usize>) {
    let store = scratch.open_anew();
    for version in versions {
        let bytes = read(&store, digests[version]).unwrap();
        assert_eq!(bytes, layer(u64::try_from(version).unwrap()), "version {version}");
    }
}

#[test]
fn what_is_needed_stays_and_the_rest_goes() {
    for kept in [vec![5], vec![0], vec![2, 5], vec![0, 1, 2, 3, 4, 5], vec![1, 3]] {
        let (scratch, digests) = versions(6);
        let before = names(&scratch);
        let mut store = scratch.open();
        let needed: Vec<Digest> = kept.iter().map(|version| digests[*version]).collect();
        let outcome = collect(&mut store, &needed).unwrap();
        assert!(outcome.waiting_for.is_empty(), "{:?}", outcome.waiting_for);
        drop(store);
        check(&scratch, &digests, kept.iter().copied());
        let after = names(&scratch);
        let store = scratch.open();
        for (version, digest) in digests.iter().enumerate() {
            let there = store.blob(*digest).unwrap().is_some();
            assert_eq!(there, kept.contains(&version), "version {version} of {kept:?}");
        }
        drop(store);
        let size = |names: &BTreeSet<PathBuf>| {
            let open = |path: &PathBuf| crate::fs::Fs::open(&crate::fs::Disk, path).unwrap();
            names.iter().map(|path| open(path).len().unwrap()).sum::<u64>()
        };
        if kept.len() < 6 {
            assert!(before.is_disjoint(&after) || outcome.collected.dead > 0);
            // What one version takes, in another store, and a little.
            let fresh = Scratch::new();
            for version in &kept {
                let bytes = layer(u64::try_from(*version).unwrap());
                fresh.save(|session| session.put_layer(&mut &*bytes).unwrap());
            }
            let (is, should) = (size(&after), size(&names(&fresh)));
            // Versions that stood on one that is gone come to stand alone.
            assert!(is * 100 <= should * 125, "{kept:?} takes {is}, and {should} by itself");
        }
        // What is left may look different then; but soon there is nothing to do.
        let again = (0..3).find(|_| {
            let again = collect(&mut scratch.open(), &needed).unwrap();
            check(&scratch, &digests, kept.iter().copied());
            again.collected.packs == 0
        });
        assert!(again.is_some(), "{kept:?}");
        let after = names(&scratch);
        collect(&mut scratch.open(), &needed).unwrap();
        assert_eq!(names(&scratch), after);
    }
}

#[test]
fn to_look_changes_nothing() {
    let (scratch, digests) = versions(4);
    let before = names(&scratch);
    let mut store = scratch.open();
    let mut kept = Some(vec![digests[3]]);
    let mut needed = |_: &Store| Ok(kept.take().unwrap_or_default());
    let looked = store.collect(100).unwrap().look(&mut needed).unwrap();
    assert!(looked.dead + looked.again > looked.written, "{looked:?}");
    assert_eq!(looked.removed, 0);
    drop(store);
    assert_eq!(names(&scratch), before);
    check(&scratch, &digests, 0..4);
}

#[test]
fn one_process_at_a_time_collects() {
    let (scratch, digests) = versions(2);
    let (mut one, mut other) = (scratch.open(), scratch.open());
    let collection = one.collect(100).unwrap();
    assert!(matches!(collect(&mut other, &digests), Err(StoreError::Locked { .. })));
    assert!(matches!(other.keep_garbage(), Err(StoreError::Locked { .. })));
    drop(collection);
    let kept = other.keep_garbage().unwrap();
    assert!(matches!(collect(&mut one, &digests), Err(StoreError::Locked { .. })));
    drop(kept);
    collect(&mut one, &digests).unwrap();
}

#[test]
fn what_an_older_process_may_read_stays_until_it_ends() {
    let (scratch, digests) = versions(4);
    let reader = scratch.open_to_read();
    let before = names(&scratch);
    let outcome = collect(&mut scratch.open(), &digests[3..]).unwrap();
    assert_eq!(outcome.waiting_for, [std::process::id()]);
    assert_eq!(outcome.collected.removed, 0);
    assert!(names(&scratch).is_superset(&before));
    for (version, digest) in (0..).zip(&digests) {
        assert_eq!(read(&reader, *digest).unwrap(), layer(version));
    }
    // One that begins now needs nothing of what goes.
    let newer = scratch.open_to_read();
    assert_eq!(read(&newer, digests[3]).unwrap(), layer(3));
    drop(reader);
    // What it knew of can go, though it lives.
    let outcome = collect(&mut scratch.open(), &digests[3..]).unwrap();
    assert!(outcome.collected.removed > 0);
    // At most the packs of the version that is kept.
    assert!(names(&scratch).intersection(&before).count() <= 2);
    assert_eq!(read(&newer, digests[3]).unwrap(), layer(3));
    drop(newer);
    check(&scratch, &digests, 3..4);
}

/// Puts a layer, and commits.
pub(super) fn put(store: &mut Store, version: u64) {
    let mut session = store.begin(Levels::for_content(1)).unwrap();
    session.put_layer(&mut &*layer(version)).unwrap();
    let source = Source { name: "test".to_owned(), dialect: "test".to_owned() };
    session.commit(SaveRecord::new("test", source, Vec::new()), Time::from_nanos(0), true).unwrap();
}

#[test]
fn a_writer_that_was_frozen_meanwhile_names_nothing_that_went() {
    let (scratch, digests) = versions(4);
    let mut writer = scratch.open();
    let mut session = writer.begin(Levels::for_content(1)).unwrap();
    // It refers to all that there is of this version.
    assert!(session.put_layer(&mut &*layer(1)).unwrap().known);
    let outcome = collect(&mut scratch.open(), &digests[3..]).unwrap();
    assert_eq!(outcome.waiting_for, [std::process::id()]);
    let source = Source { name: "test".to_owned(), dialect: "test".to_owned() };
    let record = SaveRecord::new("test", source, Vec::new());
    session.commit(record, Time::from_nanos(0), true).unwrap();
    drop(writer);
    let needed = [digests[1], digests[3]];
    collect(&mut scratch.open(), &needed).unwrap();
    check(&scratch, &digests, [1, 3].into_iter());
}

#[test]
fn what_is_saved_while_packs_are_doomed_is_stored_again() {
    let (scratch, digests) = versions(4);
    let reader = scratch.open_to_read();
    collect(&mut scratch.open(), &digests[3..]).unwrap();
    // The same bytes as in a pack that goes, which must not be taken for it.
    put(&mut scratch.open(), 0);
    drop(reader);
    let needed = [digests[0], digests[3]];
    let outcome = collect(&mut scratch.open(), &needed).unwrap();
    assert!(outcome.waiting_for.is_empty(), "{:?}", outcome.waiting_for);
    check(&scratch, &digests, [0, 3].into_iter());
}

#[test]
fn what_turns_out_to_be_needed_comes_back() {
    let (scratch, digests) = versions(4);
    let mut asked = 0;
    let mut needed = |_: &Store| {
        asked += 1;
        // As if somebody had undone its removal while packs were written.
        Ok(match asked {
            1 => vec![digests[3]],
            2 => vec![digests[1]],
            _ => Vec::new(),
        })
    };
    carry_out(&mut scratch.open(), &mut needed).unwrap();
    check(&scratch, &digests, [1, 3].into_iter());
    collect(&mut scratch.open(), &[digests[1], digests[3]]).unwrap();
    check(&scratch, &digests, [1, 3].into_iter());
}

#[test]
fn new_versions_stand_on_what_was_moved() {
    let (scratch, digests) = versions(4);
    collect(&mut scratch.open(), &digests[3..]).unwrap();
    let before = names(&scratch).len();
    let stored = scratch.save(|session| session.put_layer(&mut &*layer(4)).unwrap());
    assert!(stored.new < 700_000, "{stored:?}");
    assert_eq!(names(&scratch).len(), before + 2);
    let Collected { removed, .. } =
        collect(&mut scratch.open(), &[stored.digest]).unwrap().collected;
    assert!(removed > 0);
    let store = scratch.open();
    assert_eq!(read(&store, stored.digest).unwrap(), layer(4));
}

#[test]
fn what_is_saved_again_is_whole_whatever_was_left_of_it() {
    for waste in [100, 2000, 10_000] {
        let (scratch, digests) = versions(4);
        let mut kept = Some(digests[3..].to_vec());
        let mut needed = |_: &Store| Ok(kept.take().unwrap_or_default());
        let writer = ("test", Time::from_nanos(1));
        let mut store = scratch.open();
        let collection = store.collect(waste).unwrap();
        collection.carry_out(&mut needed, writer, Levels::for_content(1), &()).unwrap();
        // Its recipe may have stayed as waste, without its chunks.
        put(&mut store, 0);
        drop(store);
        check(&scratch, &digests, [0, 3].into_iter());
        collect(&mut scratch.open(), &[digests[0], digests[3]]).unwrap();
        check(&scratch, &digests, [0, 3].into_iter());
    }
}

/// A tar of one file that is like nothing else, so that it stands on nothing.
pub(super) fn noise() -> Vec<u8> {
    let mut state = 101_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let body: Vec<u8> = bytes.take(20_000).flatten().collect();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(body.len() as u64);
    tar.append_data(&mut header, "srv/noise", body.as_slice()).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn what_lost_its_base_beside_what_is_needed_is_stored_again() {
    let scratch = Scratch::new();
    scratch.save(|session| session.put_layer(&mut &*layer(0)).unwrap());
    // The pack of this save has what is needed, beside what stands on the first one's.
    let kept = scratch.save(|session| {
        session.put_layer(&mut &*layer(1)).unwrap();
        session.put_layer(&mut &*noise()).unwrap().digest
    });
    let before = names(&scratch);
    let mut needed = Some(vec![kept]);
    let mut needed = |_: &Store| Ok(needed.take().unwrap_or_default());
    let mut store = scratch.open();
    let collection = store.collect(10_000).unwrap();
    let writer = ("test", Time::from_nanos(1));
    let outcome = collection.carry_out(&mut needed, writer, Levels::for_content(1), &()).unwrap();
    drop(store);
    assert!(outcome.collected.dead > 0 && outcome.collected.waste > 0, "{outcome:?}");
    let packs = names(&scratch);
    assert!(!packs.is_disjoint(&before) && !packs.is_superset(&before));
    // What stands on nothing is there as before.
    let known = scratch.save(|session| session.put_layer(&mut &*noise()).unwrap());
    assert!(known.known && known.digest == kept && known.new < 1000, "{known:?}");
    assert!(names(&scratch).is_superset(&packs));

    let again = scratch.save(|session| session.put_layer(&mut &*layer(1)).unwrap()).digest;
    for _ in 0..2 {
        let store = scratch.open();
        assert!(read(&store, again).unwrap() == layer(1));
        assert!(read(&store, kept).unwrap() == noise());
        drop(store);
        collect(&mut scratch.open(), &[kept, again]).unwrap();
    }
}
