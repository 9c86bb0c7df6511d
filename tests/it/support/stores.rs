//! Stores through the library, archives made to measure, and what is in them.
//!
//! Assumes nothing of the machine but a folder for temporary files. Guarantees
//! that archives with the same arguments are the same bytes, and that stores
//! saved at [`NOW`] are as well. Does not know what is being tested.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop::fs::{Disk, Fs};
use orlop::image::Query;
use orlop::ops::export::{Export, ExportOptions, Form};
use orlop::ops::images::images;
use orlop::ops::input::Input;
use orlop::ops::resolve::resolve;
use orlop::ops::save::{self, Original, SaveError, SaveOptions, SaveOutcome};
use orlop::store::{OpenOptions, Store, StoreError};
use orlop::time::Time;
use sha2::{Digest, Sha256};

/// The time of all saves.
pub(crate) const NOW: i64 = 1_750_000_000_000_000_000;

/// Bytes that don't compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn member(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    tar.append_data(&mut header, name, content).unwrap();
}

/// The tar of a layer with these files.
pub(crate) fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        member(&mut tar, name, content);
    }
    tar.into_inner().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A docker archive with one image.
pub(crate) fn archive(reference: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": {"name": reference}},
        "rootfs": {"type": "layers", "diff_ids": ids},
    });
    let config = config.to_string();
    let name = format!("{}.json", hex(config.as_bytes()));
    let mut tar = tar::Builder::new(Vec::new());
    member(&mut tar, &name, config.as_bytes());
    let mut paths = Vec::new();
    for layer in layers {
        let path = format!("{}/layer.tar", hex(layer));
        member(&mut tar, &path, layer);
        paths.push(path);
    }
    let list = serde_json::json!([{"Config": name, "RepoTags": [reference], "Layers": paths}]);
    member(&mut tar, "manifest.json", list.to_string().as_bytes());
    tar.into_inner().unwrap()
}

/// Opens the store, which is made if need be.
pub(crate) fn open(fs: Arc<dyn Fs>, root: &Path) -> Result<Store, StoreError> {
    if !Store::exists(&*fs, root) {
        Store::create(&*fs, root, "test")?;
    }
    Store::open(fs, root, &OpenOptions::default())
}

/// Opens the store on the real file system.
pub(crate) fn open_disk(root: &Path) -> Store {
    open(Arc::new(Disk), root).unwrap()
}

/// Saves an archive that comes as a stream.
pub(crate) fn save(store: &mut Store, archive: &[u8]) -> Result<SaveOutcome, SaveError> {
    let input = Input::from_stream("a.tar".to_owned(), std::io::Cursor::new(archive.to_vec()));
    let options = SaveOptions {
        tag: None,
        level: 1,
        now: Time::from_nanos(NOW),
        now_as_given: true,
        program: "test",
        original: Original::Keep,
    };
    save::save(store, input.unwrap(), &options, &())
}

/// The archive of one image.
pub(crate) fn export(store: &Store, reference: &str) -> Vec<u8> {
    let image = resolve(store, &Query::parse(reference).unwrap(), &|_| None).unwrap();
    let mut bytes = Vec::new();
    let export = Export::plan(store, &[image], &ExportOptions::default(), &()).unwrap();
    export.write(&mut bytes, Form::Plain, &()).unwrap();
    bytes
}

/// What a store that holds nothing else exports for this archive.
pub(crate) fn expected(archive: &[u8], reference: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_disk(folder.path());
    save(&mut store, archive).unwrap();
    export(&store, reference)
}

/// The names of all revisions in the store, sorted.
pub(crate) fn listed(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = images(store, None, true)
        .unwrap()
        .into_iter()
        .map(|image| {
            let name = image.reference.unwrap();
            format!("{}:{}", name.repository.trim_start_matches("docker.io/library/"), name.tag)
        })
        .collect();
    names.sort();
    names
}

/// All files below a folder, sorted.
pub(crate) fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

/// Names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
