//! Records: what was read is written again, and that is read as the same.

#![no_main]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use orlop::digest::Id;
use orlop::store::record::SaveRecord;
use orlop::store::{OpenOptions, Store, StoreError};
use orlop::time::Time;
use orlop_fuzz::memory::{Memory, ROOT};

thread_local! {
    static STORE: RefCell<Option<(Memory, Store)>> = const { RefCell::new(None) };
}

fuzz_target!(|input: &[u8]| {
    STORE.with_borrow_mut(|opened| {
        let (memory, store) = opened.get_or_insert_with(open);
        let Ok(record) = read(memory, store, input.to_vec()) else {
            return check_action(memory, store, input);
        };
        let printed = record.saved_at.to_string();
        assert_eq!(printed.parse::<Time>().expect("a time is one"), record.saved_at);
        assert!(record.saved_at.next_second() >= record.saved_at);
        for revision in &record.revisions {
            assert!(revision.images.is_empty() || revision.platforms().len() < input.len());
        }
        let written = write(&record);
        let again = read(memory, store, written.clone()).expect("what was written");
        assert_eq!(write(&again), written);
        assert_eq!(format!("{again:?}"), format!("{record:?}"));
    });
});

/// The same of a record that is no save.
fn check_action(memory: &Memory, store: &Store, input: &[u8]) {
    let read = |bytes: &[u8]| with(memory, bytes.to_vec(), |id| store.action(id));
    let Ok(action) = read(input) else { return };
    let written = action.encode();
    let again = read(&written).expect("what was written");
    assert_eq!(again.encode(), written);
    assert_eq!(again, action);
}

fn open() -> (Memory, Store) {
    let memory = Memory::default();
    Store::create(&memory, Path::new(ROOT), "fuzz").expect("memory can be written");
    let store = Store::open(Arc::new(memory.clone()), Path::new(ROOT), &OpenOptions::default());
    (memory, store.expect("an empty store"))
}

fn write(record: &SaveRecord) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(record).expect("a record is JSON");
    bytes.push(b'\n');
    bytes
}

fn read(memory: &Memory, store: &Store, bytes: Vec<u8>) -> Result<SaveRecord, StoreError> {
    with(memory, bytes, |id| store.record(id))
}

/// Reads a record by its id, which is that of its bytes.
fn with<T>(memory: &Memory, bytes: Vec<u8>, read: impl FnOnce(Id) -> T) -> T {
    let id = Id::of(&bytes);
    let name = id.to_string();
    let path: PathBuf = [ROOT, "records", &name[..2], &format!("{name}.json")].iter().collect();
    memory.put(&path, bytes);
    let record = read(id);
    memory.remove(&path);
    record
}
