//! The whole way: what an archive holds that can be saved is given back, as it
//! was, and the archive that is written from it holds the same.
//!
//! The input is read by [`orlop_fuzz::documents`].

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use orlop::digest::{Digest, Hashing};
use orlop::ops::export::Export;
use orlop::ops::images::images;
use orlop::ops::input::Input;
use orlop::ops::inspect::inspect;
use orlop::ops::resolve::Resolved;
use orlop::ops::save::{SaveError, SaveOptions, SaveOutcome, save};
use orlop::store::{OpenOptions, Store};
use orlop::time::Time;
use orlop_fuzz::documents;
use orlop_fuzz::memory::{Memory, ROOT};

fuzz_target!(|input: &[u8]| {
    let (members, bodies) = documents::archive(input);
    let tar = documents::as_tar(&members, &bodies);
    let mut store = open(&new());
    let Ok(outcome) = put(&mut store, tar.clone()) else {
        assert!(images(&store, None, true).expect("an empty store").is_empty());
        return;
    };
    assert!(outcome.save.is_some() && !outcome.images.is_empty());
    let again = put(&mut store, tar).expect("what was saved before");
    assert!(again.save.is_none() && again.images.iter().all(|image| image.unchanged));

    let saved = names(&outcome);
    let exported = export(&store);
    let mut other = open(&new());
    let found = put(&mut other, exported.clone()).expect("what was written");
    assert_eq!(names(&found), saved);
    assert!(export(&other) == exported, "another archive of the same images");
});

fn new() -> Memory {
    let memory = Memory::default();
    Store::create(&memory, Path::new(ROOT), "fuzz").expect("memory can be written");
    memory
}

fn open(memory: &Memory) -> Store {
    Store::open(Arc::new(memory.clone()), Path::new(ROOT), &OpenOptions::default())
        .expect("an empty store")
}

fn put(store: &mut Store, tar: Vec<u8>) -> Result<SaveOutcome, SaveError> {
    let input = Input::from_stream("app.tar".to_owned(), Cursor::new(tar));
    let input = input.map_err(SaveError::Read)?;
    let now = Time::from_nanos(1_700_000_000_000_000_000);
    let options = SaveOptions { tag: None, level: 1, now, now_as_given: true, program: "fuzz" };
    save(store, input, &options, &())
}

/// The names of each image.
fn names(outcome: &SaveOutcome) -> BTreeMap<Digest, BTreeSet<String>> {
    let images = outcome.images.iter().map(|image| {
        let names = image.references.iter().map(ToString::to_string).collect();
        (image.root, names)
    });
    images.collect()
}

/// Reads all images of a store, and writes an archive of them.
fn export(store: &Store) -> Vec<u8> {
    let mut all = Vec::new();
    for image in images(store, None, true).expect("a store that is whole") {
        let reference = image.reference.map(|row| {
            format!("{}:{}", row.repository, row.tag).parse().expect("a reference of ours")
        });
        let resolved = Resolved { revision: image.revision, reference, manifest: None };
        let found = inspect(store, resolved.clone()).expect("an image that is whole");
        assert_eq!(Digest::of(&found.config), resolved.revision.image_id);
        assert_eq!(Digest::of(&found.manifest), resolved.revision.root);
        for layer in found.layers {
            let mut out = Hashing::new(std::io::sink());
            store.write_blob(layer.diff_id, &mut out).expect("a layer that is whole");
            assert_eq!(out.finish(), (layer.diff_id, layer.size));
        }
        all.push(resolved);
    }
    let export = Export::plan(store, &all).expect("images that are whole");
    let mut out = Vec::new();
    let outcome = export.write(&mut out, &()).expect("memory can be written");
    assert_eq!(outcome.bytes, out.len() as u64);
    out
}
