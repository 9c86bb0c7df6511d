//! Blobs that are compressed by workers, taken in any order, whatever fails.

use std::io::{self, Write};

use super::super::StoreError;
use super::*;
use crate::chunk::recipe::Body;

/// Blobs to be compressed and plain ones in turn, some of them small.
fn blobs(scratch: &Scratch, count: u64, length: usize) -> Vec<Vec<u8>> {
    let id = id("go-flate-1");
    let mut blobs = Vec::new();
    scratch.save(|session| {
        for seed in 1..=count {
            let length = if seed % 4 == 0 { 100 } else { length };
            let content = tar(&[&mixed(seed, length)]);
            let stream = gzip(id, &content);
            put_both(session, id, &content, &stream);
            blobs.push(stream);
            if seed % 3 == 0 {
                blobs.push(content);
            }
        }
    });
    blobs
}

fn digests<'b>(blobs: impl IntoIterator<Item = &'b Vec<u8>>) -> Vec<Digest> {
    blobs.into_iter().map(|blob| Digest::of(blob)).collect()
}

#[test]
fn all_come_in_their_order() {
    let scratch = Scratch::new();
    let blobs = blobs(&scratch, 14, 700_000);
    let store = scratch.open();
    let all = digests(&blobs);
    store
        .decoding_ahead(&all, || {
            for (digest, blob) in all.iter().zip(&blobs) {
                assert!(read(&store, *digest).unwrap() == *blob);
            }
        })
        .unwrap();
}

#[test]
fn another_order_and_other_blobs_come_as_well() {
    let scratch = Scratch::new();
    let blobs = blobs(&scratch, 14, 700_000);
    let store = scratch.open();
    let mut told = digests(blobs.iter().take(15));
    told.push(told[2]);
    store
        .decoding_ahead(&told, || {
            for blob in blobs.iter().rev().chain(&blobs).chain(blobs.iter().step_by(3)) {
                assert!(read(&store, Digest::of(blob)).unwrap() == *blob);
            }
        })
        .unwrap();
    // And after that, without workers.
    assert!(read(&store, told[1]).unwrap() == blobs[1]);
}

#[test]
fn blobs_that_nobody_takes_are_given_up() {
    let scratch = Scratch::new();
    let blobs = blobs(&scratch, 8, 2_000_000);
    let store = scratch.open();
    let all = digests(&blobs);
    store.decoding_ahead(&all, || ()).unwrap();
    let last = store.decoding_ahead(&all, || read(&store, *all.last().unwrap())).unwrap();
    assert!(last.unwrap() == *blobs.last().unwrap());
    assert_eq!(store.decoding_ahead(&all, || 5).unwrap(), 5);
}

#[test]
fn more_than_there_is_room_for_waits() {
    let scratch = Scratch::new();
    let id = id("go-flate-1");
    // Noise, so that it is as long when it was compressed.
    let noise = |seed: u64| {
        let mut state = seed << 20 | 1;
        let mut word = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..3 << 20).flat_map(|_| word()).collect::<Vec<u8>>()
    };
    let blobs: Vec<_> = (1..4).map(|seed| gzip(id, &noise(seed))).collect();
    scratch.save(|session| {
        for (seed, stream) in (1..4).zip(&blobs) {
            put_both(session, id, &noise(seed), stream);
        }
    });
    let store = scratch.open();
    let all = digests(&blobs);
    for order in [[0, 1, 2], [2, 1, 0]] {
        store
            .decoding_ahead(&all, || {
                for at in order {
                    assert!(read(&store, all[at]).unwrap() == blobs[at]);
                }
            })
            .unwrap();
    }
}

#[test]
fn an_output_that_fails_ends_the_workers() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let scratch = Scratch::new();
    let blobs = blobs(&scratch, 6, 2_000_000);
    let store = scratch.open();
    let all = digests(&blobs);
    for room in [0, 200_000] {
        let fails = || store.copy_blob(all[0], &mut Full(room)).unwrap_err();
        let error = store.decoding_ahead(&all, fails).unwrap();
        assert!(matches!(error, StoreError::Output(_)), "{error:?}");
        let goes_on = || {
            let error = store.copy_blob(all[0], &mut Full(room)).unwrap_err();
            assert!(matches!(error, StoreError::Output(_)), "{error:?}");
            read(&store, all[1])
        };
        assert!(store.decoding_ahead(&all, goes_on).unwrap().unwrap() == blobs[1]);
    }
}

#[test]
fn an_act_that_panics_ends_the_workers() {
    let scratch = Scratch::new();
    let blobs = blobs(&scratch, 6, 2_000_000);
    let store = scratch.open();
    let all = digests(&blobs);
    let panics = std::panic::AssertUnwindSafe(|| {
        store.decoding_ahead(&all, || assert!(read(&store, all[0]).is_err(), "as it should"))
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(read(&store, all[0]).unwrap() == blobs[0]);
}

#[test]
fn the_error_of_a_blob_is_its_own() {
    let scratch = Scratch::new();
    let blobs = blobs(&scratch, 6, 700_000);
    let wrong = Digest::of(b"wrong");
    scratch.save(|session| {
        let body = session.store().recipe(Digest::of(&blobs[1])).unwrap().body;
        let Body::Encode { of, replay } = body else { panic!("{body:?}") };
        let mut replay = Replay::from_bytes(&replay).unwrap();
        replay.members[0].length -= 1;
        let replay = replay.to_bytes();
        put_recipe(session, wrong, blobs[1].len() as u64, Pending::Encode { of, replay });
    });
    let store = scratch.open();
    let mut all = digests(&blobs);
    all.insert(1, wrong);
    store
        .decoding_ahead(&all, || {
            assert!(read(&store, all[0]).unwrap() == blobs[0]);
            let error = store.copy_blob(wrong, &mut Vec::new()).unwrap_err();
            assert!(matches!(error, StoreError::Recipe { digest, .. } if digest == wrong));
            for (digest, blob) in all[2..].iter().zip(&blobs[1..]) {
                assert!(read(&store, *digest).unwrap() == *blob);
            }
        })
        .unwrap();
}
