//! The steps of saving and giving back, one by one, on one thread.
//!
//! Prints MB/s of input (the median of several runs) and the ratio to SHA-256 of
//! the same bytes in the same run, which is what every byte must take at least.
//! Assumes a quiet machine; asserts nothing.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a bench prints ratios of its own, made-up numbers"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use orlop::catalog::Catalog;
use orlop::chunk::cutter;
use orlop::codec::{Compressor, Decompressor, Levels};
use orlop::digest::{Digest, Id};
use orlop::layer::section::SectionWriter;
use orlop::layer::split::{Sink, Splitter};

const BYTES: usize = 32 << 20;
const RUNS: usize = 5;
const CHUNKS: u32 = 1 << 20;

fn main() {
    let noise = noise(BYTES);
    let text = text(BYTES);
    let layer = layer(&text);
    let sha = time(|| {
        black_box(Digest::of(&text));
    });
    let row = |name: &str, bytes: usize, took: Duration| {
        let speed = bytes as f64 / took.as_secs_f64() / 1e6;
        let base = BYTES as f64 / sha.as_secs_f64() / 1e6;
        println!("{name:<34} {speed:>8.0} MB/s {:>7.2} of SHA-256", speed / base);
    };
    row("SHA-256", BYTES, sha);
    row(
        "BLAKE3, one chunk of 64 KiB",
        BYTES,
        time(|| {
            for chunk in noise.chunks(64 << 10) {
                black_box(Id::of(chunk));
            }
        }),
    );
    row("cutter, noise", BYTES, time(|| drop(black_box(cutter::lengths(&noise)))));
    row("cutter, text", BYTES, time(|| drop(black_box(cutter::lengths(&text)))));
    row(
        "tar split, small files",
        layer.len(),
        time(|| {
            let mut sink = Nowhere::default();
            let mut splitter = Splitter::default();
            for piece in layer.chunks(1 << 20) {
                let Ok(()) = splitter.push(piece, &mut sink);
            }
            let Ok(members) = splitter.finish(&mut sink);
            black_box(members);
        }),
    );
    let mut compressor = Compressor::new(Levels::for_content(6)).expect("a compressor");
    let frames: Vec<&[u8]> = text.chunks(4 << 20).collect();
    let mut compressed = Vec::new();
    row(
        "zstd 6, frames of 4 MiB",
        BYTES,
        time(|| {
            compressed =
                frames.iter().map(|raw| compressor.compress(raw, &[]).expect("")).collect();
        }),
    );
    row(
        "zstd 6, decoded",
        BYTES,
        time(|| {
            for (raw, frame) in frames.iter().zip(&compressed) {
                black_box(Decompressor::decompress(frame, raw.len(), &[]).expect("a frame"));
            }
        }),
    );
    let changed = change(&text);
    row(
        "delta against a base of 1 MiB",
        BYTES,
        time(|| {
            for (raw, base) in changed.chunks(1 << 20).zip(text.chunks(1 << 20)) {
                black_box(compressor.compress(raw, base).expect("a frame"));
            }
        }),
    );
    look_ups();
}

fn look_ups() {
    let catalog = Catalog::in_memory("bench").expect("a catalog");
    let ids: Vec<Id> = (0..CHUNKS).map(|number| Id::of(&number.to_le_bytes())).collect();
    let started = Instant::now();
    for (number, ids) in (0u32..).zip(ids.chunks(4096)) {
        let pack = Id::of(format!("pack {number}").as_bytes());
        catalog
            .atomically(|| catalog.add_pack((pack, 1, 0), (pack, ids), (&[], &[])))
            .expect("a pack");
    }
    per_second("chunks added to the catalog", ids.len(), started.elapsed());
    let started = Instant::now();
    for id in ids.iter().step_by(7) {
        assert!(catalog.chunk(*id).expect("a look-up").is_some());
    }
    per_second("chunks found, at random", ids.len() / 7, started.elapsed());
    let started = Instant::now();
    for number in 0..100_000u32 {
        let id = Id::of(&(CHUNKS + number).to_le_bytes());
        assert!(catalog.chunk(id).expect("a look-up").is_none());
    }
    per_second("chunks not found", 100_000, started.elapsed());
}

fn per_second(name: &str, count: usize, took: Duration) {
    println!("{name:<34} {:>8.0} k/s", count as f64 / took.as_secs_f64() / 1e3);
}

fn time(mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            act();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2]
}

/// Takes a layer apart and keeps nothing.
#[derive(Default)]
struct Nowhere {
    framing: SectionWriter,
    bytes: usize,
}

impl Sink for Nowhere {
    type Error = std::convert::Infallible;
    fn framing(&mut self) -> Result<&mut SectionWriter, Self::Error> {
        if self.framing.is_full() {
            black_box(self.framing.take());
        }
        Ok(&mut self.framing)
    }
    fn member(&mut self, path: &[u8]) {
        black_box(path);
    }
    fn begin(&mut self, _: Option<u64>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn content(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.bytes += bytes.len();
        Ok(())
    }
    fn end(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1;
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(random(&mut state).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Words of a small vocabulary, with numbers between them.
fn text(length: usize) -> Vec<u8> {
    let mut state = 7;
    let words: Vec<String> = (0..2000)
        .map(|_| format!("{:x} ", random(&mut state) >> (20 + random(&mut state) % 40)))
        .collect();
    let mut bytes = Vec::with_capacity(length + 32);
    while bytes.len() < length {
        let pick = random(&mut state) as usize;
        bytes.extend(words[pick % words.len()].as_bytes());
        if pick.is_multiple_of(11) {
            bytes.extend((pick % 1000).to_string().as_bytes());
        }
    }
    bytes.truncate(length);
    bytes
}

/// The same with one byte in some 4,000 changed.
fn change(bytes: &[u8]) -> Vec<u8> {
    let mut state = 3;
    let mut changed = bytes.to_vec();
    let mut at = 0;
    while at < changed.len() {
        changed[at] ^= 1;
        at += 1 + random(&mut state) as usize % 8000;
    }
    changed
}

/// A tar of files of about 8 KiB.
fn layer(content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut state = 5;
    let mut rest = content;
    let mut number = 0;
    while !rest.is_empty() {
        let length = (random(&mut state) as usize % 16_384).min(rest.len()).max(1);
        let (body, later) = rest.split_at(length);
        let mut header = tar::Header::new_ustar();
        header.set_size(length as u64);
        header.set_mode(0o644);
        let name = format!("usr/lib/package-{}/file-{number}", number / 50);
        builder.append_data(&mut header, name, body).expect("a member");
        rest = later;
        number += 1;
    }
    builder.into_inner().expect("a tar")
}
