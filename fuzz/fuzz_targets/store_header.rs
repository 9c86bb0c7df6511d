//! Store headers: one that is taken opens a store, which says the same again.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use orlop::codec::Levels;
use orlop::store::{OpenOptions, Store, StoreError};
use orlop_fuzz::memory::{Memory, ROOT};

fuzz_target!(|input: &[u8]| {
    let Ok(mut store) = open(input.to_vec()) else { return };
    let header = store.header();
    assert_eq!(header.format, 1);
    assert_eq!(header.features.refuse, [""; 0]);
    let read_only = !header.features.read_only.is_empty();
    let written = serde_json::to_vec(header).expect("a header is JSON");
    let again = open(written.clone()).expect("what was written");
    assert_eq!(serde_json::to_vec(again.header()).expect("a header is JSON"), written);
    match store.begin(Levels::for_content(3)) {
        Ok(_) => assert!(!read_only),
        Err(StoreError::Unsupported { .. }) => {}
        Err(error) => panic!("{error}"),
    }
});

fn open(header: Vec<u8>) -> Result<Store, StoreError> {
    let memory = Memory::default();
    memory.put(PathBuf::from_iter([ROOT, "orlop.json"]), header);
    Store::open(Arc::new(memory), Path::new(ROOT), &OpenOptions::default())
}
