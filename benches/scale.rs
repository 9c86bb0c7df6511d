//! A store with very many chunks and revisions: what one more save costs there,
//! and how long the command takes to list all that it holds.
//!
//! Makes a store whose catalog knows a given number of chunks that no image
//! needs (20 million, or the first argument that is a number) and of revisions
//! that have no content (10,000, or the second), each with a record of its own.
//! Then saves the same made-up image in it and in an empty one, in turn, and
//! prints both and the ratio. Needs some 1.2 GB of disk for 20 million chunks.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a bench prints ratios of its own, made-up numbers"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop::digest::{Digest, Id};
use orlop::fs::{self, Disk, Fs};
use orlop::ops::input::Input;
use orlop::ops::save::{Original, SaveOptions, save};
use orlop::pack::format::{Codec, FrameKind, PackKind};
use orlop::pack::frame::EncodedFrame;
use orlop::pack::tables::FrameEntry;
use orlop::pack::writer::PackWriter;
use orlop::store::record::{Platform, Revision, Root, SaveRecord, Source};
use orlop::store::{OpenOptions, Store};
use orlop::time::Time;

const PACK_CHUNKS: u32 = 100_000;
const FRAME_CHUNKS: u32 = 50_000;
const ROUNDS: u8 = 5;
const LAYER: usize = 48 << 20;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let count = numbers.next().unwrap_or(20_000_000);
    let revisions = numbers.next().unwrap_or(10_000);
    let folder = tempfile::tempdir().expect("a folder");
    let (large, small) = (folder.path().join("large"), folder.path().join("small"));
    Store::create(&Disk, &large, "bench").expect("a store");
    Store::create(&Disk, &small, "bench").expect("a store");
    let started = Instant::now();
    for number in 0..count / PACK_CHUNKS {
        add_pack(&large, number);
    }
    println!("{count} chunks in packs after {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    // The first session takes in packs that no record names.
    one_save(&large, 255);
    println!("known to the catalog after {:.1} s", started.elapsed().as_secs_f64());
    for number in 0..revisions {
        add_revision(&large, number);
    }
    one_save(&small, 255);
    let (mut ratios, mut opened) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (at_large, at_small) = (one_save(&large, round), one_save(&small, round));
        ratios.push(at_large.as_secs_f64() / at_small.as_secs_f64());
        println!("saved in {at_large:.2?} there, {at_small:.2?} in a small store");
        opened.push(listed(&large, revisions));
    }
    ratios.sort_unstable_by(f64::total_cmp);
    opened.sort_unstable();
    println!(
        "ratio {:.2}; {revisions} revisions listed in {:.1?}",
        ratios[ratios.len() / 2],
        opened[opened.len() / 2]
    );
}

fn open(root: &Path) -> Store {
    Store::open(Arc::new(Disk), root, &OpenOptions::default()).expect("a store")
}

/// A pack of chunks that are nowhere needed; their bytes aren't there.
fn add_pack(root: &Path, number: u32) {
    let path = root.join("tmp").join(format!("{number}.pack"));
    let mut writer =
        PackWriter::create(Disk.create(&path).expect("a file"), PackKind::Data).expect("a pack");
    for frame in 0..PACK_CHUNKS / FRAME_CHUNKS {
        let first = number * PACK_CHUNKS + frame * FRAME_CHUNKS;
        let ids = first..first + FRAME_CHUNKS;
        let entry = FrameEntry {
            offset: 0,
            header_len: 8,
            stored_len: 8,
            raw_len: 1 << 20,
            first: 0,
            count: FRAME_CHUNKS,
            kind: FrameKind::Content,
            codec: Codec::Stored,
            depth: 0,
        };
        let frame = EncodedFrame {
            bytes: vec![0; 16],
            entry,
            lengths: vec![20; FRAME_CHUNKS as usize],
            ids: ids.map(|number| Id::of(&number.to_le_bytes())).collect(),
        };
        writer.append(frame).expect("a frame");
    }
    let pack = writer.finish().expect("a pack");
    let name = pack.id.to_string();
    let target = root.join("packs").join(&name[..2]).join(format!("{name}.pack"));
    fs::publish(&Disk, &path, &target).expect("a pack in its place");
}

/// A record of one revision; what that consists of isn't there.
fn add_revision(root: &Path, number: u32) {
    let digest = Digest::of(&number.to_le_bytes());
    let manifest = "application/vnd.oci.image.manifest.v1+json".to_owned();
    let revision = Revision {
        root: Root { media_type: manifest, digest, size: 1000 },
        image_id: digest,
        platform: Platform {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            variant: None,
        },
        references: vec![format!("docker.io/library/app-{}:1.{number}", number % 97)],
        not_shipped: Vec::new(),
        images: Vec::new(),
        referrers: Vec::new(),
        ancestors: Vec::new(),
        created: Some("2023-11-14T22:13:20.123456789Z".to_owned()),
        layers: 8,
        size: 300_000_000,
        added: u64::from(number) * 1000,
    };
    let source = Source { name: "app.tar".to_owned(), dialect: "docker".to_owned() };
    let mut record = SaveRecord::new("bench", source, vec![revision]);
    record.saved_at = Time::from_nanos(1_600_000_000_000_000_000 + i64::from(number) * 60_000_000);
    record.sequence = u64::from(number);
    let bytes = serde_json::to_vec(&record).expect("a record");
    let name = Id::of(&bytes).to_string();
    let folder = root.join("records").join(&name[..2]);
    fs::create_dir_all(&Disk, &folder).expect("a folder");
    let mut file = Disk.create(&folder.join(format!("{name}.json"))).expect("a file");
    file.write_all(&bytes).expect("a record in its place");
}

/// How long `orlop images` takes.
fn listed(root: &Path, revisions: u32) -> Duration {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
    command.arg("--store").arg(root).arg("images").stderr(Stdio::inherit());
    let started = Instant::now();
    let output = command.output().expect("a listing");
    let took = started.elapsed();
    let lines = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(lines > revisions as usize, "{lines} lines");
    took
}

fn one_save(root: &Path, round: u8) -> Duration {
    let archive = archive(round);
    let input = Input::from_stream("-".to_owned(), std::io::Cursor::new(archive)).expect("input");
    let options = SaveOptions {
        tag: None,
        level: 6,
        now: Time::from_nanos(1_700_000_000_000_000_000 + i64::from(round)),
        now_as_given: true,
        program: "bench",
        original: Original::Keep,
    };
    let started = Instant::now();
    save(&mut open(root), input, &options, &()).expect("a save");
    started.elapsed()
}

/// A docker archive with one layer of small files, new in each round.
fn archive(round: u8) -> Vec<u8> {
    let mut state = u64::from(round) + 1;
    let mut layer = tar::Builder::new(Vec::new());
    let mut left = LAYER;
    let mut number = 0;
    while left > 0 {
        let length = left.min(1 + random(&mut state) as usize % 30_000);
        let body: Vec<u8> = (0..length).map(|_| (random(&mut state) % 23) as u8 + b'a').collect();
        append(&mut layer, &format!("srv/{round}/file-{number}"), &body);
        left -= length;
        number += 1;
    }
    let layer = layer.into_inner().expect("a tar");
    let diff_id = Digest::of(&layer);
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    );
    let list = format!(
        r#"[{{"Config":"config.json","RepoTags":["bench:{round}"],"Layers":["layer.tar"]}}]"#
    );
    let mut outer = tar::Builder::new(Vec::new());
    append(&mut outer, "config.json", config.as_bytes());
    append(&mut outer, "layer.tar", &layer);
    append(&mut outer, "manifest.json", list.as_bytes());
    outer.into_inner().expect("a tar")
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, body: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, body).expect("a member");
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
