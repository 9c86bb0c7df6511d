//! What orlop costs and saves, beside plain layers through `zstd -3` in the same run.
//!
//! Makes images from a seed, saves each version and exports each again, and does the same with the
//! baseline in turn, so that a busy machine slows both alike. The baseline keeps each different
//! layer once, by its SHA-256, as registries and `docker save | zstd` per layer would; it runs on
//! one core, where orlop uses all.
//!
//! `ORLOP_BENCH_MB` is the size of one image (32), `ORLOP_BENCH_VERSIONS` how many there are of
//! each family (8), `ORLOP_BENCH_LEVEL` orlop's zstd level (its own default, 6).

#![allow(clippy::print_stdout, reason = "a bench prints its result")]
#![allow(clippy::disallowed_methods, reason = "the bench lays out files of its own")]

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop::digest::Digest;
use orlop::fs::{Disk, open_input};
use orlop::image::Query;
use orlop::ops::export::{Export, ExportOptions, Form};
use orlop::ops::input::Input;
use orlop::ops::resolve::resolve;
use orlop::ops::save::{Original, SaveOptions, save};
use orlop::size::ByteCount;
use orlop::store::{OpenOptions, Store};
use orlop::time::Time;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SEED: u64 = 0x006f_726c_6f70;
const PROGRAM: &str = "orlop bench";

fn main() -> Result<()> {
    let setting = |name, default| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let bytes = setting("ORLOP_BENCH_MB", 32)? << 20;
    let versions = setting("ORLOP_BENCH_VERSIONS", 8)?;
    let level = i32::try_from(setting("ORLOP_BENCH_LEVEL", 6)?)?;
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    println!(
        "{:<9} {:>10} {:<9} {:>10} {:>7} {:>9} {:>9}",
        "family", "raw", "", "stored", "ratio", "save", "export"
    );
    for family in [Family::Releases, Family::Nightly] {
        let root = scratch.path().join(family.name());
        fs::create_dir(&root)?;
        let (raw, ours, theirs) = race(family, bytes, versions, level, &root)?;
        for (name, result) in [("zstd -3", &theirs), ("orlop", &ours)] {
            println!(
                "{:<9} {:>10} {name:<9} {:>10} {:>6.1}x {:>9} {:>9}",
                family.name(),
                ByteCount(raw).to_string(),
                ByteCount(result.stored).to_string(),
                ratio(raw, result.stored),
                speed(raw, result.save),
                speed(raw, result.export),
            );
        }
        println!(
            "{:<9} orlop keeps {:.2} of the bytes, takes {:.2} of the time to save, {:.2} to export",
            family.name(),
            ratio(ours.stored, theirs.stored),
            ours.save.as_secs_f64() / theirs.save.as_secs_f64(),
            ours.export.as_secs_f64() / theirs.export.as_secs_f64(),
        );
    }
    Ok(())
}

/// What one side took.
#[derive(Default)]
struct Measured {
    stored: u64,
    save: Duration,
    export: Duration,
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is for people")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "a speed is for people")]
fn speed(bytes: u64, time: Duration) -> String {
    format!("{:.0} MB/s", bytes as f64 / 1e6 / time.as_secs_f64())
}

/// Saves all versions on both sides in turn, then exports them in turn.
fn race(
    family: Family,
    bytes: usize,
    versions: usize,
    level: i32,
    root: &Path,
) -> Result<(u64, Measured, Measured)> {
    let (mut ours, mut theirs) = (Measured::default(), Measured::default());
    let store_root = root.join("store");
    Store::create(&Disk, &store_root, PROGRAM)?;
    let mut store = Store::open(Arc::new(Disk), &store_root, &OpenOptions::default())?;
    let mut baseline = Baseline::new(root.join("plain"))?;
    let mut image = Image::new(family, bytes);
    let mut raw = 0;
    for version in 0..versions {
        let layers = image.layers()?;
        raw += layers.iter().map(|layer| layer.len() as u64).sum::<u64>();
        let archive = root.join("archive.tar");
        fs::write(&archive, docker_archive(&format!("{}:{version}", family.name()), &layers)?)?;
        let (options, start) = (save_options(version, level)?, Instant::now());
        let input = Input::from_file("archive.tar".to_owned(), open_input(&archive)?)?;
        save(&mut store, input, &options, &())?;
        ours.save += start.elapsed();
        let start = Instant::now();
        baseline.save(&layers)?;
        theirs.save += start.elapsed();
        image.change();
    }
    for version in 0..versions {
        let query = Query::parse(&format!("{}:{version}", family.name()))?;
        let start = Instant::now();
        let found = resolve(&store, &query, &|_| None)?;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(root.join("out.tar"))?);
        let export = Export::plan(&store, &[found], &ExportOptions::default(), &())?;
        export.write(&mut out, Form::Plain, &())?;
        out.flush()?;
        ours.export += start.elapsed();
        let start = Instant::now();
        baseline.export(version, &root.join("out.tar"))?;
        theirs.export += start.elapsed();
    }
    drop(store);
    (ours.stored, theirs.stored) = (size_of(&store_root)?, size_of(&baseline.root)?);
    Ok((raw, ours, theirs))
}

fn save_options(version: usize, level: i32) -> Result<SaveOptions<'static>> {
    let now = Time::from_nanos(i64::try_from(version + 1)? * 86_400_000_000_000);
    let original = Original::Keep;
    Ok(SaveOptions { tag: None, level, now, now_as_given: true, program: PROGRAM, original })
}

/// Bytes of all files below a folder.
fn size_of(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

/// Each different layer once, through `zstd -3`.
struct Baseline {
    root: PathBuf,
    kept: HashSet<Digest>,
    versions: Vec<Vec<Digest>>,
}

impl Baseline {
    fn new(root: PathBuf) -> Result<Self> {
        fs::create_dir(&root)?;
        Ok(Self { root, kept: HashSet::new(), versions: Vec::new() })
    }

    fn save(&mut self, layers: &[Vec<u8>]) -> Result<()> {
        let digests: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        for (layer, digest) in layers.iter().zip(&digests) {
            if self.kept.insert(*digest) {
                let file = File::create(self.root.join(digest.hex()))?;
                zstd::stream::copy_encode(layer.as_slice(), &file, 3)?;
                file.sync_all()?;
            }
        }
        self.versions.push(digests);
        Ok(())
    }

    fn export(&self, version: usize, target: &Path) -> Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(target)?);
        for digest in &self.versions[version] {
            let tar = zstd::stream::decode_all(File::open(self.root.join(digest.hex()))?)?;
            if Digest::of(&tar) != *digest {
                return Err("the baseline is damaged".into());
            }
            out.write_all(&tar)?;
        }
        Ok(out.flush()?)
    }
}

/// How the versions of an image differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Releases of an application on a base that stays.
    Releases,
    /// Rebuilt without a cache: every time stamp is new, little else.
    Nightly,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Releases => "releases",
            Self::Nightly => "nightly",
        }
    }
}

/// An image as it stands: files in two layers.
struct Image {
    family: Family,
    random: Random,
    version: u64,
    base: Vec<Vec<u8>>,
    app: Vec<Vec<u8>>,
}

impl Image {
    /// Two thirds base, one third application.
    fn new(family: Family, bytes: usize) -> Self {
        let mut random = Random(SEED);
        let base = files(&mut random, bytes * 2 / 3);
        let app = files(&mut random, bytes / 3);
        Self { family, random, version: 0, base, app }
    }

    /// The next version: some files are edited in a few places.
    fn change(&mut self) {
        self.version += 1;
        let (base, app) = match self.family {
            Family::Releases => (0, self.app.len() / 3),
            Family::Nightly => (self.base.len() / 200, self.app.len() / 20),
        };
        for (files, count) in [(&mut self.base, base), (&mut self.app, app)] {
            for _ in 0..count {
                let file = self.random.below(files.len());
                edit(&mut self.random, &mut files[file]);
            }
        }
    }

    fn layers(&self) -> Result<Vec<Vec<u8>>> {
        let day = 1_700_000_000 + self.version * 86_400;
        let base_day = if self.family == Family::Nightly { day } else { 1_700_000_000 };
        Ok(vec![layer("usr/lib", &self.base, base_day)?, layer("opt/app", &self.app, day)?])
    }
}

fn layer(folder: &str, files: &[Vec<u8>], mtime: u64) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (file, number) in files.iter().zip(0u64..) {
        append(&mut tar, &format!("{folder}/{}/file-{number}", number / 50), file, mtime)?;
    }
    Ok(tar.into_inner()?)
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, body: &[u8], mtime: u64) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(mtime);
    Ok(tar.append_data(&mut header, path, body)?)
}

/// What `docker save` would write.
fn docker_archive(reference: &str, layers: &[Vec<u8>]) -> Result<Vec<u8>> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": diff_ids});
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs});
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let paths: Vec<String> = (0..layers.len()).map(|index| format!("{index}/layer.tar")).collect();
    let item = serde_json::json!({"Config": config_name, "RepoTags": [reference], "Layers": paths});
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, &config_name, &config, 0)?;
    for (path, layer) in paths.iter().zip(layers) {
        append(&mut tar, path, layer, 0)?;
    }
    append(&mut tar, "manifest.json", &serde_json::to_vec(&serde_json::json!([item]))?, 0)?;
    Ok(tar.into_inner()?)
}

/// Numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % bound.max(1)
    }
}

/// Files of 200 bytes to 1.5 MB, most of them small, half of them text.
fn files(random: &mut Random, bytes: usize) -> Vec<Vec<u8>> {
    let words: Vec<Vec<u8>> = (0..4000).map(|_| word(random)).collect();
    let mut files = Vec::new();
    let mut sum = 0;
    while sum < bytes {
        let magnitude = random.below(13);
        let length = (200 << magnitude.saturating_sub(random.below(6))) + random.below(900);
        let text = random.below(2) == 0;
        let mut file = Vec::with_capacity(length + 32);
        while file.len() < length {
            if text {
                // Few words are common and many are rare.
                let bound = words.len() >> random.below(10);
                file.extend_from_slice(&words[random.below(bound)]);
                file.push(if random.below(12) == 0 { b'\n' } else { b' ' });
            } else {
                // Something like machine code: few opcodes, small operands, some addresses.
                let value = random.next();
                let opcode = [0x48, 0x8b, 0xe8, 0x89, 0x0f, 0xc3, 0x55, 0x83][random.below(8)];
                let operands = 1 + random.below(3);
                file.push(opcode);
                file.extend(value.to_le_bytes().iter().take(operands).map(|byte| byte & 0x3f));
            }
        }
        sum += file.len();
        files.push(file);
    }
    files
}

fn word(random: &mut Random) -> Vec<u8> {
    let length = 2 + random.below(9);
    let letters = b"etaoinshrdlucmfwypvbgkjqxz_.";
    (0..length)
        .map(|_| {
            let bound = letters.len() >> random.below(3);
            letters[random.below(bound)]
        })
        .collect()
}

/// Changes, inserts or removes a few bytes in up to eight places.
fn edit(random: &mut Random, file: &mut Vec<u8>) {
    for _ in 0..=random.below(8) {
        let at = random.below(file.len());
        let new = word(random);
        let old = random.below(new.len() * 2).min(file.len() - at);
        file.splice(at..at + old, new);
    }
}
