//! Streams that container tools made: those of a corpus (`ORLOP_CORPUS`), those
//! among the fixtures beside the repository, those in a folder of one's own
//! (`ORLOP_GZIP`), and some made here and now.
//!
//! With `--nocapture` they tell, for each place and encoder, how many streams
//! come back, what is kept for them, and how fast that went on three threads.
#![expect(clippy::disallowed_methods, reason = "the streams are files of others")]

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::super::{EncoderId, Inflater, NoReplay, Rebuild, prove_on};
use super::inputs;
use super::prove::check;

/// What became of streams, by the place they are from.
#[derive(Default)]
struct Report {
    seen: HashSet<Vec<u8>>,
    /// For each place and outcome.
    outcomes: BTreeMap<(String, String), Sums>,
}

/// Sums over streams.
#[derive(Default)]
struct Sums {
    streams: u32,
    bytes: usize,
    content: u64,
    /// Bytes of replays.
    kept: usize,
    proof: Duration,
    rebuild: Duration,
}

impl Sums {
    /// Proves a stream and makes it again; returns its encoder or why there is none.
    fn add(&mut self, stream: &[u8], threads: usize) -> Result<EncoderId, NoReplay> {
        let (start, mut content) = (Instant::now(), Vec::new());
        let mut take = |piece: &[u8]| content.extend_from_slice(piece);
        let replay = prove_on(threads, stream, &mut Inflater::new(), &mut take)?;
        let proof = start.elapsed();
        let (encoder, kept, start) = (replay.encoder, replay.to_bytes().len(), Instant::now());
        let (mut rebuild, mut made) = (Rebuild::on_threads(replay, threads), Vec::new());
        rebuild.write(&content, &mut made).unwrap();
        rebuild.finish(&mut made).unwrap();
        assert!(made == stream, "made again with other bytes");
        self.content += content.len() as u64;
        self.kept += kept;
        self.proof += proof;
        self.rebuild += start.elapsed();
        Ok(encoder)
    }
}

impl Sums {
    fn merge(&mut self, other: &Self) {
        self.streams += other.streams;
        self.bytes += other.bytes;
        self.content += other.content;
        self.kept += other.kept;
        self.proof += other.proof;
        self.rebuild += other.rebuild;
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (content, kept, bytes) =
            (self.content as f64 / 1e6, self.kept as f64, self.bytes as f64);
        let speed = |time: Duration| content / time.as_secs_f64().max(1e-9);
        if self.kept == 0 {
            return write!(f, "{} streams, {bytes} bytes", self.streams);
        }
        write!(f, "{} streams, {bytes} bytes of {content:.1} MB, ", self.streams)?;
        write!(f, "{kept} bytes kept ({:.4} %), ", 100.0 * kept / bytes)?;
        write!(f, "proof {:.0} MB/s, rebuild {:.0}", speed(self.proof), speed(self.rebuild))
    }
}

impl Report {
    /// Looks at a file: at itself, or at those in it.
    fn file(&mut self, place: &str, bytes: &[u8], depth: u32) {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            if !self.seen.insert(Sha256::digest(bytes).to_vec()) {
                return;
            }
            let mut sums = Sums::default();
            let outcome = match sums.add(bytes, 2) {
                Ok(encoder) => encoder.name().to_owned(),
                Err(NoReplay::OtherEncoder { .. }) => {
                    format!("other encoder {:02x?}", &bytes[4..10])
                }
                Err(error) => error.to_string(),
            };
            (sums.streams, sums.bytes) = (1, bytes.len());
            self.outcomes.entry((place.to_owned(), outcome)).or_default().merge(&sums);
            let mut inside = Vec::new();
            let whole = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut inside);
            if whole.is_ok() && depth < 1 {
                self.archive(place, &inside, depth + 1);
            }
        } else if depth == 0 {
            self.archive(place, bytes, depth + 1);
        }
    }

    fn archive(&mut self, place: &str, bytes: &[u8], depth: u32) {
        if bytes.get(257..262) != Some(b"ustar") {
            return;
        }
        let mut archive = tar::Archive::new(Cursor::new(bytes));
        for entry in archive.entries().unwrap() {
            let Ok(entry) = entry else { return };
            // Sparse files can be larger than any memory.
            let (kind, mut file) = (entry.header().entry_type(), Vec::new());
            if kind.is_file() && entry.take(1 << 30).read_to_end(&mut file).is_ok() {
                self.file(place, &file, depth);
            }
        }
    }

    fn print(&self) {
        for ((place, outcome), sums) in &self.outcomes {
            eprintln!("{place}: {outcome}: {sums}");
        }
    }
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), out);
        } else if kind.is_file() {
            out.push(entry.path());
        }
    }
}

fn all_in(folder: &Path, name: &str, report: &mut Report) {
    let mut paths = Vec::new();
    files(folder, &mut paths);
    for path in paths {
        report.file(name, &fs::read(path).unwrap(), 0);
    }
}

#[test]
fn streams_of_a_corpus_come_back() {
    let Some(corpus) = std::env::var_os("ORLOP_CORPUS") else {
        eprintln!("skipped: ORLOP_CORPUS names no corpus");
        return;
    };
    for (name, encoder) in [("nightly-gzip", "go-flate-6"), ("nightly-pgzip", "pgzip-a")] {
        let folder = Path::new(&corpus).join(name);
        if !folder.is_dir() {
            eprintln!("skipped: no {name} in the corpus");
            continue;
        }
        let mut report = Report::default();
        all_in(&folder, name, &mut report);
        report.print();
        assert!(report.outcomes.keys().all(|(_, outcome)| outcome == encoder), "{name}");
    }
}

#[test]
fn streams_among_the_fixtures_come_back_or_are_refused() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("ORLOP_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("fixtures");
    if !folder.is_dir() {
        eprintln!("skipped: no fixtures at {}", folder.display());
        return;
    }
    let mut report = Report::default();
    for owner in fs::read_dir(folder).unwrap() {
        let owner = owner.unwrap();
        if owner.file_type().unwrap().is_dir() {
            all_in(&owner.path(), &owner.file_name().to_string_lossy(), &mut report);
        }
    }
    report.print();
}

#[test]
fn streams_in_a_folder_come_back_or_are_refused() {
    let Some(folder) = std::env::var_os("ORLOP_GZIP") else {
        eprintln!("skipped: ORLOP_GZIP names no folder");
        return;
    };
    let mut report = Report::default();
    all_in(Path::new(&folder), "ORLOP_GZIP", &mut report);
    report.print();
}

/// Whether a program is there; says that a test is skipped where it isn't.
fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: no {program}");
    }
    there
}

#[test]
fn streams_that_skopeo_makes_come_back() {
    if !is_there("skopeo") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    for (name, input) in [("m", "M(3000000)"), ("w", "W(1000000)"), ("r", "R(200000)")] {
        let mut header = tar::Header::new_gnu();
        let bytes = inputs::named(input);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        layer.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let digest = super::hex(&Sha256::digest(&layer));
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},
        "rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}}}}"#
    );
    let manifest = r#"[{"Config":"c.json","RepoTags":["a:b"],"Layers":["l.tar"]}]"#;
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in
        [("c.json", config.as_bytes()), ("manifest.json", manifest.as_bytes()), ("l.tar", &layer)]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).unwrap();
    }
    let path = scratch.path().join("image.tar");
    fs::write(&path, archive.into_inner().unwrap()).unwrap();
    let folder = scratch.path().join("oci");
    let status = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "-q"])
        .arg(format!("docker-archive:{}", path.display()))
        .arg(format!("oci:{}:tag", folder.display()))
        .status()
        .unwrap();
    assert!(status.success());
    let mut report = Report::default();
    all_in(&folder, "skopeo", &mut report);
    report.print();
    assert_eq!(report.outcomes.len(), 1);
    let known = report.outcomes.keys().all(|(_, outcome)| outcome.starts_with("pgzip-"));
    assert!(known, "another pgzip than those that are known");
}

/// Whether streams of a command, which is told a level and a file, come back.
/// Of small files the encoders can make the same.
fn streams_of(program: &str, arguments: &[&str], encoders: &[&str]) {
    if !is_there(program) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    for input in ["T(1048581)", "M(400000)", "Z(70000)", "W(200000)", "mixed(500000)"] {
        let path = scratch.path().join("file");
        fs::write(&path, inputs::named(input)).unwrap();
        for level in ["1", "6", "9"] {
            let mut command = Command::new(program);
            command.args(arguments).arg(format!("-{level}")).arg(&path);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{program}: {output:?}");
            let found = check(&output.stdout).map(|replay| replay.encoder.name());
            let found = found.unwrap_or_else(|error| panic!("{input} -{level}: {error}"));
            let known = encoders.iter().any(|encoder| found.starts_with(encoder));
            assert!(known, "{input} -{level}: {found}");
        }
    }
}

#[test]
fn streams_that_gnu_gzip_makes_come_back() {
    streams_of("gzip", &["-c"], &["gnu-gzip-", "zlib-"]);
}

#[test]
fn streams_that_pigz_makes_come_back() {
    streams_of("pigz", &["-c", "-p2"], &["pigz-", "zlib-"]);
}

#[test]
fn streams_that_python_makes_come_back() {
    let script = "import gzip, sys; \
        level, content = int(sys.argv[1][1:]), open(sys.argv[2], 'rb').read(); \
        sys.stdout.buffer.write(gzip.compress(content, level))";
    streams_of("python3", &["-c", script], &["zlib-"]);
}
