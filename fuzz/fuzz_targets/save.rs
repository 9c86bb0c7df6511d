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
use orlop::ops::export::{Export, ExportOptions, Form};
use orlop::ops::images::images;
use orlop::ops::input::Input;
use orlop::ops::inspect::inspect;
use orlop::ops::original;
use orlop::ops::resolve::Resolved;
use orlop::ops::save::{Original, SaveError, SaveOptions, SaveOutcome, save};
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
    if let Ok(whole) = original::Original::of(&store, outcome.save.expect("it was saved")) {
        let mut out = Vec::new();
        whole.write(&mut out, &()).expect("an archive that was kept");
        assert!(out == tar, "the archive comes back");
    }
    let again = put(&mut store, tar).expect("what was saved before");
    assert!(again.save.is_none() && again.images.iter().all(|image| image.unchanged));

    let saved = names(&outcome);
    // What is left out is told, and then the archive holds less.
    let Some(exported) = export(&store) else { return };
    let mut other = open(&new());
    let found = put(&mut other, exported.clone()).expect("what was written");
    assert_eq!(names(&found), saved);
    assert!(export(&other) == Some(exported), "another archive of the same images");
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
    let (program, original) = ("fuzz", Original::Keep);
    let options = SaveOptions { tag: None, level: 1, now, now_as_given: true, program, original };
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
fn export(store: &Store) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for image in images(store, None, true).expect("a store that is whole") {
        let reference = image.reference.map(|row| {
            format!("{}:{}", row.repository, row.tag).parse().expect("a reference of ours")
        });
        let resolved = Resolved { revision: image.revision, reference, manifest: None };
        let found = inspect(store, resolved.clone()).expect("an image that is whole");
        let root = found.index.as_ref().or(found.manifest.as_ref());
        assert_eq!(root.map(|bytes| Digest::of(bytes)), Some(resolved.revision.root));
        if let (None, Some(config)) = (&found.index, &found.config) {
            // A manifest that doesn't make an image, for its layers are of
            // another kind, goes by its own digest.
            let image = !found.images.is_empty();
            let id = if image { Digest::of(config) } else { resolved.revision.root };
            assert_eq!(resolved.revision.image_id, id);
        }
        for layer in found.layers.iter().filter(|layer| layer.stored > 0) {
            let mut out = Hashing::new(std::io::sink());
            store.write_blob(layer.digest, &mut out).expect("a layer that is whole");
            assert_eq!(out.finish().0, layer.digest);
        }
        all.push(resolved);
    }
    let export =
        Export::plan(store, &all, &ExportOptions::default(), &()).expect("images that are whole");
    let mut out = Vec::new();
    let outcome = export.write(&mut out, Form::Plain, &()).expect("memory can be written");
    assert_eq!(outcome.bytes, out.len() as u64);
    export.notes().is_empty().then_some(out)
}
