//! A store whose files were changed, with their hashes put right: it opens or
//! not, and whatever it gives back has the digest that was asked for.

#![no_main]

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use orlop::codec::{Compressor, Levels};
use orlop::digest::{DigestHasher, Id};
use orlop::fs::Fs;
use orlop::image::{Query, Reference};
use orlop::ops::export::{Export, ExportOptions, Form};
use orlop::ops::images::images;
use orlop::ops::inspect::inspect;
use orlop::ops::resolve::Resolved;
use orlop::ops::stats::stats;
use orlop::pack::format::{FrameHeader, FrameKind, PackKind};
use orlop::pack::frame::{RawFrame, encode};
use orlop::pack::reader::{PackError, PackReader};
use orlop::pack::writer::PackWriter;
use orlop::store::record::{SaveRecord, Source};
use orlop::store::{OpenOptions, Store};
use orlop::time::Time;
use orlop_fuzz::memory::{Files, Memory, ROOT};
use orlop_fuzz::{Plan, mutate, store};

/// So that a run ends, whatever sizes are claimed.
const OUTPUT_MAX: u64 = 1 << 20;

/// Chunks of any kind.
type Chunks = Vec<(FrameKind, Vec<u8>)>;

/// A store with three images, and the chunks of its metadata packs.
struct Base {
    files: Files,
    metadata: Vec<(Id, Chunks)>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let files = store::sample();
    let memory = Memory::with(files.clone());
    let mut metadata = Vec::new();
    let packs: Vec<(Id, PackReader)> = files
        .keys()
        .filter(|path| is(path, "pack"))
        .map(|path| (id_of(path), PackReader::open(&memory, path).expect("a pack of ours")))
        .collect();
    for (id, pack) in packs.iter().filter(|(_, pack)| pack.kind() == PackKind::Metadata) {
        let frames = pack.frames().iter().enumerate();
        let chunks = frames.flat_map(|(number, entry)| {
            chunks(pack, number, &packs).into_iter().map(|chunk| (entry.kind, chunk))
        });
        metadata.push((*id, chunks.collect()));
    }
    Base { files, metadata }
});

fuzz_target!(|input: &[u8]| {
    let mut plan = Plan::new(input);
    let files = changed(&mut plan);
    let memory = Memory::with(files);
    let Ok(mut store) = open(&memory) else { return };
    store.take_notices();
    read(&store);
    if plan.flag() {
        let _stats = stats(&store);
    }
    // What is added can be read, whatever else is there.
    let level = Levels::for_content(1);
    if let Ok(mut session) = store.begin(level) {
        let stored = session.put_bytes(input).expect("memory can be written");
        let source = Source { name: "input".to_owned(), dialect: "none".to_owned() };
        let record = SaveRecord::new("fuzz", source, Vec::new());
        let (id, _) =
            session.commit(record, Time::from_nanos(1 << 60), plan.flag()).expect("a commit");
        assert!(store.record(id).is_ok());
        let again = store.read_blob(stored.digest, u64::MAX).expect("what was just put");
        assert!(again == input);
    }
    if plan.u8().is_multiple_of(4) {
        let mut store = open(&memory).expect("it opened before");
        if store.reindex().is_ok() {
            read(&store);
        }
    }
});

fn open(memory: &Memory) -> orlop::store::Result<Store> {
    Store::open(Arc::new(memory.clone()), Path::new(ROOT), &OpenOptions::default())
}

/// Reads all that the store says it has.
fn read(store: &Store) {
    let Ok(listed) = images(store, None, true) else { return };
    for image in listed {
        let revision = image.revision;
        for digest in [revision.root, revision.image_id] {
            let mut out = Limited::default();
            if store.write_blob(digest, &mut out).is_ok() {
                assert_eq!(out.hasher.finish(), digest, "another blob");
            }
        }
        let reference = image.reference.and_then(|row| {
            let full = format!("{}:{}", row.repository, row.tag);
            let _query = Query::parse(&full);
            Reference::parse_tagged(&full).ok()
        });
        let resolved = Resolved { revision, reference, manifest: None };
        if let Ok(found) = inspect(store, resolved.clone()) {
            for layer in found.layers {
                let mut out = Limited::default();
                if store.write_blob(layer.digest, &mut out).is_ok() {
                    assert_eq!(out.hasher.finish(), layer.digest, "another layer");
                }
            }
        }
        if let Ok(export) = Export::plan(store, &[resolved], &ExportOptions::default(), &()) {
            let _outcome = export.write(&mut Limited::default(), Form::Plain, &());
        }
    }
}

/// Hashes what comes, up to a length.
#[derive(Default)]
struct Limited {
    hasher: DigestHasher,
    length: u64,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if self.length > OUTPUT_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The files, with a few things changed: chunks of metadata, texts of records,
/// any bytes.
fn changed(plan: &mut Plan<'_>) -> Files {
    let mut metadata = BASE.metadata.clone();
    let mut renamed: HashMap<Id, Id> = HashMap::new();
    let changes = plan.u8() % 4;
    for _ in 0..changes {
        let number = plan.below(metadata.len());
        let chunks = &mut metadata[number].1;
        let number = plan.below(chunks.len());
        let (kind, chunk) = &mut chunks[number];
        let before = Id::of(chunk);
        mutate(chunk, plan);
        if chunk.is_empty() || chunk.len() > 1 << 20 {
            *chunk = b"?".to_vec();
        }
        if *kind == FrameKind::Sections {
            renamed.insert(before, Id::of(chunk));
        }
    }
    let mut files = BASE.files.clone();
    let memory = Memory::default();
    if changes > 0 {
        for (old, chunks) in &mut metadata {
            for (_, chunk) in chunks.iter_mut().filter(|(kind, _)| *kind == FrameKind::Recipes) {
                for (before, after) in &renamed {
                    replace(chunk, before.as_bytes(), after.as_bytes());
                }
            }
            files.remove(&path_of("packs", *old, "pack"));
            let (new, bytes) = pack(&memory, chunks);
            files.insert(path_of("packs", new, "pack"), Arc::new(bytes));
            renamed.insert(*old, new);
        }
    }
    records(plan, &mut files, &renamed);
    for _ in 0..plan.u8() % 3 {
        let Some(path) = files.keys().nth(plan.below(files.len())).cloned() else { break };
        let Some(bytes) = files.remove(&path) else { break };
        let kind = plan.u8();
        if kind.is_multiple_of(8) {
            continue;
        }
        let mut bytes = bytes.to_vec();
        mutate(&mut bytes, plan);
        let id = Id::of(&bytes);
        let path = if kind % 8 == 1 || path.ends_with("orlop.json") {
            path
        } else if is(&path, "pack") {
            path_of("packs", id, "pack")
        } else {
            path_of("records", id, "json")
        };
        files.insert(path, Arc::new(bytes));
    }
    files
}

/// Puts new ids into the records, and other numbers in the place of some.
fn records(plan: &mut Plan<'_>, files: &mut Files, renamed: &HashMap<Id, Id>) {
    const NUMBERS: [&str; 6] = [
        "0",
        "1",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
    ];
    let paths: Vec<PathBuf> = files.keys().filter(|path| is(path, "json")).cloned().collect();
    for path in paths.iter().filter(|path| !path.ends_with("orlop.json")) {
        let Some(old) = files.remove(path) else { continue };
        let mut bytes = old.to_vec();
        for (before, after) in renamed {
            replace(&mut bytes, before.to_string().as_bytes(), after.to_string().as_bytes());
        }
        let change = plan.u8();
        if change % 4 == 1 {
            let keys = ["\"sequence\":", "\"size\":", "\"layers\":", "\"added\":"];
            let (key, number) = (plan.pick(&keys), plan.pick(&NUMBERS));
            let found = bytes.windows(key.len()).position(|window| window == key.as_bytes());
            if let Some(at) = found {
                let start = at + key.len();
                let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(start..start + digits, number.bytes());
            }
        } else if change % 4 == 2 {
            mutate(&mut bytes, plan);
        } else if change % 4 == 3 {
            let times = [
                "9999-12-30T22:00:00.999999999Z",
                "0000-01-01T00:00:00.000000000Z",
                "2262-04-11T23:47:16.854775807Z",
            ];
            let time = plan.pick(&times);
            replace(&mut bytes, b"2026-05-01T12:00:00.000000000Z", time.as_bytes());
        }
        files.insert(path_of("records", Id::of(&bytes), "json"), Arc::new(bytes));
    }
}

/// A metadata pack of these chunks.
fn pack(memory: &Memory, chunks: &[(FrameKind, Vec<u8>)]) -> (Id, Vec<u8>) {
    let path = Path::new("pack");
    memory.remove(path);
    let file = memory.create(path).expect("memory can be written");
    let mut writer = PackWriter::create(file, PackKind::Metadata).expect("memory can be written");
    let mut compressor = Compressor::new(Levels::for_content(1)).expect("a level that is");
    for of_kind in chunks.chunk_by(|one, other| one.0 == other.0) {
        let mut frame = RawFrame::default();
        for (_, chunk) in of_kind {
            frame.push(Id::of(chunk), chunk);
        }
        let frame = encode(of_kind[0].0, frame, &mut compressor, &|_| None).expect("in bounds");
        writer.append(frame).expect("memory can be written");
    }
    let finished = writer.finish().expect("memory can be written");
    let bytes = memory.files().get(path).expect("it was written").to_vec();
    (finished.id, bytes)
}

/// The chunks of a frame, in order. Those that it stands on are in one of `packs`.
fn chunks(pack: &PackReader, number: usize, packs: &[(Id, PackReader)]) -> Vec<Vec<u8>> {
    let prefix = |header: &FrameHeader| {
        let mut prefix = Vec::new();
        for run in &header.bases {
            let has_it = |other: &&PackReader| Some(other.directory_id()) == run.directory;
            let other = packs.iter().map(|(_, other)| other).find(has_it).unwrap_or(pack);
            for position in run.first..run.first + run.count {
                let number = other.frame_of(position).expect("a base that is");
                let first = other.frames()[number].first;
                prefix.extend(&chunks(other, number, packs)[(position - first) as usize]);
            }
        }
        Ok::<_, PackError>(prefix)
    };
    let raw = pack.frame(number, prefix).expect("a frame of ours");
    let (entry, mut rest) = (pack.frames()[number], raw.as_slice());
    let mut chunks = Vec::new();
    for position in entry.first..entry.first + entry.count {
        let length = pack.directory().lengths[position as usize] as usize;
        let (chunk, later) = rest.split_at(length);
        chunks.push(chunk.to_vec());
        rest = later;
    }
    chunks
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn id_of(path: &Path) -> Id {
    let name = path.file_stem().and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).expect("a name of ours")
}

fn path_of(folder: &str, id: Id, extension: &str) -> PathBuf {
    let name = id.to_string();
    [ROOT, folder, &name[..2], &format!("{name}.{extension}")].iter().collect()
}

fn replace(bytes: &mut [u8], before: &[u8], after: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(before.len()).position(|window| window == before) {
        at += found;
        bytes[at..at + after.len()].copy_from_slice(after);
        at += after.len();
    }
}
