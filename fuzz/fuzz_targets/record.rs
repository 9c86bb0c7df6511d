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
        let Ok(record) = read(memory, store, input.to_vec()) else { return };
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

/// Reads a record by its id, which is that of its bytes.
fn read(memory: &Memory, store: &Store, bytes: Vec<u8>) -> Result<SaveRecord, StoreError> {
    let id = Id::of(&bytes);
    let name = id.to_string();
    let path: PathBuf = [ROOT, "records", &name[..2], &format!("{name}.json")].iter().collect();
    memory.put(&path, bytes);
    let record = store.record(id);
    memory.remove(&path);
    record
}
