//! Tests of compressed blobs: put, given back, in parallel, and damaged; and of packs
//! that are written anew.

mod collected;
mod compressed;
mod moved;
mod optimized;
mod parallel;

use std::path::Path;
use std::sync::Arc;

use super::record::{SaveRecord, Source};
use super::session::Pending;
use super::{OpenOptions, Result, Store, WriteSession};
use crate::codec::{Crc32, Levels};
use crate::digest::Digest;
use crate::fs::Disk;
use crate::gzip::{EncoderId, Member, Replay};
use crate::time::Time;

/// A store in a folder that goes with it.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Store::create(&Disk, &folder.path().join("store"), "test").unwrap();
        Self { folder }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    fn open(&self) -> Store {
        Store::open(Arc::new(Disk), &self.root(), &OpenOptions::default()).unwrap()
    }

    /// The same, for whoever reads what others may remove.
    fn open_to_read(&self) -> Store {
        let options = OpenOptions { hold: true, ..OpenOptions::default() };
        Store::open(Arc::new(Disk), &self.root(), &options).unwrap()
    }

    /// Opens the store without its catalog, which is built again.
    fn open_anew(&self) -> Store {
        for file in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
            drop(crate::fs::Fs::remove_file(&Disk, &self.root().join(file)));
        }
        self.open()
    }

    /// Opens the store, and commits what is put.
    fn save<T>(&self, put: impl FnOnce(&mut WriteSession<'_>) -> T) -> T {
        let mut store = self.open();
        let mut session = store.begin(Levels::for_content(1)).unwrap();
        let value = put(&mut session);
        let source = Source { name: "test".to_owned(), dialect: "test".to_owned() };
        let record = SaveRecord::new("test", source, Vec::new());
        session.commit(record, Time::from_nanos(0), true).unwrap();
        value
    }

    /// All packs.
    fn packs(&self) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for folder in list(&self.root().join("packs")) {
            found.extend(list(&folder));
        }
        found
    }
}

#[expect(clippy::disallowed_methods, reason = "looks at files as they are")]
fn list(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Bytes of numbers, some of which repeat.
fn mixed(seed: u64, length: usize) -> Vec<u8> {
    let (mut state, mut bytes) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Vec::new());
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state.is_multiple_of(3) {
            bytes.extend_from_slice(&state.to_le_bytes());
        } else {
            bytes.extend_from_slice(format!("line {} of text\n", state % 977).as_bytes());
        }
    }
    bytes.truncate(length);
    bytes
}

/// A tar with files of these contents.
fn tar(files: &[&[u8]]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (number, content) in files.iter().enumerate() {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("folder/file-{number}"), *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A gzip stream of one member.
fn gzip(id: EncoderId, content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut encoder = id.encoder();
    encoder.write(content, &mut out);
    encoder.finish(&mut out);
    let mut crc = Crc32::new();
    crc.update(content);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// What makes such a stream again.
fn replay(id: EncoderId, stream: &[u8], content: &[u8]) -> Replay {
    let (header, length) = (Some(stream[..10].to_vec()), content.len() as u64);
    let member = Member { header, length, flushed: false, trailer: None };
    Replay { encoder: id, members: vec![member] }
}

/// Puts a layer and what it is compressed to; returns the digest of the latter.
fn put_both(
    session: &mut WriteSession<'_>,
    id: EncoderId,
    content: &[u8],
    stream: &[u8],
) -> Digest {
    let layer = session.put_layer(&mut &*content).unwrap();
    let (digest, size) = (Digest::of(stream), stream.len() as u64);
    let replay = replay(id, stream, content);
    session.put_encoded(digest, size, layer.digest, &replay).unwrap();
    digest
}

/// Puts a recipe as it is.
fn put_recipe(session: &mut WriteSession<'_>, digest: Digest, size: u64, pending: Pending) {
    session.blobs.insert(digest, size);
    session.pending.push((digest, size, pending));
}

fn id(name: &str) -> EncoderId {
    EncoderId::named(name).unwrap()
}

fn read(store: &Store, digest: Digest) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.write_blob(digest, &mut bytes)?;
    Ok(bytes)
}
