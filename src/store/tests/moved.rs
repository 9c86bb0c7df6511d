//! Tests of collections that come one after the other, and of those who save, read
//! and optimize between them: what was moved once is moved again, and what was lost
//! comes back under the same name.

use super::Scratch;
use super::collected::{carry_out, check, collect, layer, names, noise, put, versions};
use crate::codec::Levels;
use crate::digest::Digest;
use crate::store::record::{SaveRecord, Source};
use crate::store::{Notice, Store};
use crate::time::Time;

fn record() -> SaveRecord {
    let source = Source { name: "test".to_owned(), dialect: "test".to_owned() };
    SaveRecord::new("test", source, Vec::new())
}

/// The digests of some versions.
fn of(digests: &[Digest], versions: &[usize]) -> Vec<Digest> {
    versions.iter().map(|version| digests[*version]).collect()
}

/// Which versions a collection keeps, and which one is saved again after that.
const CASES: [(&[usize], usize); 4] = [(&[0, 2], 0), (&[0, 1, 2], 1), (&[1, 2], 1), (&[1, 3], 1)];

#[test]
fn what_was_moved_and_turns_out_to_be_needed_comes_back() {
    for (kept, again) in CASES {
        let (scratch, digests) = versions(4);
        collect(&mut scratch.open(), &of(&digests, kept)).unwrap();
        let last = kept[kept.len() - 1];
        let mut asked = 0;
        let mut needed = |_: &Store| {
            asked += 1;
            Ok(match asked {
                1 => vec![digests[last]],
                2 => vec![digests[again]],
                _ => Vec::new(),
            })
        };
        carry_out(&mut scratch.open(), &mut needed).unwrap();
        check(&scratch, &digests, [again, last].into_iter());
        collect(&mut scratch.open(), &of(&digests, &[again, last])).unwrap();
        check(&scratch, &digests, [again, last].into_iter());
    }
}

/// Its content may be where it stays, and what that stands on, or the directory that
/// it is named by, be about to go.
#[test]
fn what_is_saved_while_packs_are_doomed_stands_on_none_of_them() {
    for (kept, again) in CASES {
        let (scratch, digests) = versions(4);
        collect(&mut scratch.open(), &of(&digests, kept)).unwrap();
        let last = kept[kept.len() - 1];
        let reader = scratch.open_to_read();
        let outcome = collect(&mut scratch.open(), &[digests[last]]).unwrap();
        assert_eq!(outcome.waiting_for, [std::process::id()]);
        let mut writer = scratch.open();
        let mut session = writer.begin(Levels::for_content(1)).unwrap();
        session.put_layer(&mut &*layer(u64::try_from(again).unwrap())).unwrap();
        drop(reader);
        // Who began after they were doomed is no reason to keep them.
        let outcome = collect(&mut scratch.open(), &[digests[last]]).unwrap();
        assert!(outcome.collected.removed > 0, "{outcome:?}");
        session.commit(record(), Time::from_nanos(0), true).unwrap();
        drop(writer);
        check(&scratch, &digests, [again, last].into_iter());
        collect(&mut scratch.open(), &of(&digests, &[again, last])).unwrap();
        check(&scratch, &digests, [again, last].into_iter());
    }
}

#[test]
fn packs_of_an_earlier_collection_that_went_are_no_damage() {
    let (scratch, digests) = versions(4);
    collect(&mut scratch.open(), &of(&digests, &[0, 1, 3])).unwrap();
    let first = scratch.open_to_read();
    collect(&mut scratch.open(), &of(&digests, &[1, 3])).unwrap();
    let second = scratch.open_to_read();
    drop(first);
    // It removes packs, and leaves records for the sake of the second one.
    let outcome = collect(&mut scratch.open(), &[digests[3]]).unwrap();
    assert!(outcome.collected.removed > 0, "{outcome:?}");
    let notices = scratch.open_anew().take_notices();
    assert!(matches!(notices[..], [Notice::CatalogRebuilt { .. }]), "{notices:?}");
    drop(second);
    check(&scratch, &digests, [3].into_iter());
}

/// Whoever optimizes while packs are collected may be killed: then nothing keeps what its
/// packs stand on, and they have the directories of packs that went.
#[test]
fn what_was_optimized_too_late_is_not_taken_for_what_was_moved() {
    for kept in [3, 2, 1] {
        let (scratch, digests) = versions(4);
        let mut asked = 0;
        let mut needed = |_: &Store| {
            asked += 1;
            if asked == 2 {
                let mut store = scratch.open();
                let mut optimizer = store.begin_optimizing(0).unwrap();
                for candidate in optimizer.candidates().unwrap().packs {
                    optimizer.rewrite(candidate.id, &()).unwrap();
                }
            }
            Ok(if asked == 1 { vec![digests[kept]] } else { Vec::new() })
        };
        carry_out(&mut scratch.open(), &mut needed).unwrap();
        check(&scratch, &digests, [kept].into_iter());
        // Whoever writes takes what is there without a record.
        put(&mut scratch.open(), 5);
        for _ in 0..2 {
            collect(&mut scratch.open(), &[digests[kept]]).unwrap();
            check(&scratch, &digests, [kept].into_iter());
        }
    }
}

#[test]
fn a_save_while_garbage_is_collected_beside_what_lost_its_base() {
    let scratch = Scratch::new();
    scratch.save(|session| session.put_layer(&mut &*layer(0)).unwrap());
    let kept = scratch.save(|session| {
        session.put_layer(&mut &*layer(1)).unwrap();
        session.put_layer(&mut &*noise()).unwrap().digest
    });
    let collect_some = |waste, needed: &mut dyn FnMut(&Store) -> crate::store::Result<Vec<_>>| {
        let mut store = scratch.open();
        let writer = ("test", Time::from_nanos(1));
        let collection = store.collect(waste).unwrap();
        collection.carry_out(needed, writer, Levels::for_content(1), &())
    };
    let mut needed = Some(vec![kept]);
    let outcome =
        collect_some(10_000, &mut |_: &Store| Ok(needed.take().unwrap_or_default())).unwrap();
    assert!(outcome.collected.dead > 0 && outcome.collected.waste > 0, "{outcome:?}");
    let before = names(&scratch);
    // There is something to collect, and meanwhile another revision needs what stayed.
    scratch.save(|session| session.put_layer(&mut &*layer(5)).unwrap());
    let mut asked = 0;
    let mut needed = |_: &Store| {
        asked += 1;
        Ok(if asked < 3 { vec![kept] } else { Vec::new() })
    };
    let outcome = collect_some(10_000, &mut needed).unwrap();
    assert!(outcome.collected.removed > 0 && asked > 1, "{outcome:?}");
    assert!(names(&scratch).is_superset(&before));
    assert!(super::read(&scratch.open_anew(), kept).unwrap() == noise());
}
