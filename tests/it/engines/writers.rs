//! Archives as each program writes them: saved, exported, loaded by every other, and given back.
//!
//! Assumes what `engines` does; umoci is used where it is installed. With `--nocapture`, a row for each
//! writer says what came of it. Guarantees that every engine is left without the sample images.
//! Does not know how a store is made.

#![allow(clippy::disallowed_methods, reason = "archives lie in files beside the store")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use orlop::chunk::recipe::Body;
use orlop::digest::Digest;
use orlop::fs::Disk;
use orlop::image::sniff;
use orlop::store::OpenOptions;
use serde_json::Value;

use super::archive::Archive;
use super::engine::{Lease, endpoint, succeeded};
use super::{Store, TAGS, sample};
use crate::support::docker::sha256;
use crate::support::held::{Held, Members};

/// The image that goes around, and its layers.
const TAG: &str = "hello:2";

/// Who writes: a program, and how it is told to.
#[derive(Debug, Clone, Copy)]
enum Writer {
    /// `docker save`.
    Docker(&'static str),
    /// The same of an image that came as a Docker archive: containerd makes it a manifest of
    /// Docker's own type.
    DockerType(&'static str),
    /// `podman save --format`.
    Podman(&'static str),
    /// `skopeo copy` to this transport, with these options.
    Skopeo(&'static str, &'static [&'static str]),
}

use Writer::{Docker, DockerType, Podman, Skopeo};

const WRITERS: [Writer; 12] = [
    Docker("docker20"),
    Docker("docker26"),
    Docker("docker26c"),
    DockerType("docker26c"),
    Podman("docker-archive"),
    Podman("oci-archive"),
    Podman("oci-dir"),
    Skopeo("docker-archive", &[]),
    Skopeo("oci-archive", &[]),
    Skopeo("oci", &[]),
    Skopeo("oci", &["--dest-compress-format", "zstd"]),
    Skopeo("oci", &["--dest-compress-format", "zstd:chunked"]),
];

impl Writer {
    fn name(self) -> String {
        match self {
            Docker(engine) => format!("{engine} save"),
            DockerType(engine) => format!("{engine} save, of a docker archive"),
            Podman(format) => format!("podman save {format}"),
            Skopeo(transport, options) => {
                format!("skopeo {transport} {}", options.last().unwrap_or(&""))
            }
        }
    }

    /// Has the sample written into this folder; nothing where the program is not there.
    fn write(self, folder: &Path) -> Option<PathBuf> {
        let path = folder.join("written");
        match self {
            Docker(name) | DockerType(name) => {
                let engine = Lease::of(name, &TAGS)?;
                let options: &[&str] = match self {
                    DockerType(_) => &["--format", "docker-legacy"],
                    _ => &[],
                };
                engine.load(&Store::with_samples().export_with(&[TAG], options, "in.tar"));
                let file = File::create(&path).expect("a file to write");
                succeeded(engine.save(&[TAG]).stdout(Stdio::from(file)));
            }
            Podman(format) => {
                let engine = Lease::of("podman", &TAGS)?;
                engine.load(&Store::with_samples().export(&[TAG]));
                let out = path.to_str().expect("a plain path");
                succeeded(&mut engine.command(["save", "-q", "--format", format, "-o", out, TAG]));
            }
            Skopeo(transport, options) => {
                let from = format!("docker-archive:{}", sample(TAG).display());
                let to = format!("{transport}:{}:{TAG}", path.display());
                let skopeo = endpoint("skopeo")?;
                succeeded(Command::new(skopeo).args(["copy", "-q"]).args(options).args([from, to]));
            }
        }
        Some(path)
    }
}

/// What an archive became.
struct Saved {
    store: Store,
    save: String,
    id: String,
    root: String,
    held: Held,
}

impl Saved {
    fn of(path: &Path) -> Self {
        let store = Store::new();
        let mut words = vec!["save", "--json", "-i", path.to_str().expect("a plain path")];
        let mut output = succeeded(store.orlop().args(&words));
        let named = |output: &str| -> (Value, bool) {
            let document: Value = serde_json::from_str(output).expect("JSON from orlop");
            let row = document["saves"][0].clone();
            let image = &row["images"][0];
            let named = image["references"].as_array().is_some_and(|list| !list.is_empty());
            (row, named)
        };
        let (mut row, has_name) = named(&output);
        let mut store = store;
        if !has_name {
            store = Store::new();
            words.extend(["--tag", TAG]);
            output = succeeded(store.orlop().args(&words));
            row = named(&output).0;
        }
        let text = |value: &Value| value.as_str().expect("a text in JSON").to_owned();
        let image = &row["images"][0];
        let members = if path.is_dir() {
            Members::of_folder(path)
        } else {
            Members::of_tar(File::open(path).expect("an archive"))
        };
        Self {
            save: text(&row["save"]),
            id: text(&image["image_id"]),
            root: text(&image["root"]),
            store,
            held: Held::of(&members),
        }
    }

    /// The names that the writer gave: an index or a manifest, else the config.
    fn is_what_was_written(&self) {
        let hex = |text: &str| text.trim_start_matches("sha256:").to_owned();
        if self.held.roots.is_empty() {
            assert!(self.held.ids.contains(&hex(&self.id)), "image ID {}", self.id);
        } else {
            assert!(self.held.roots.contains(&hex(&self.root)), "root {}", self.root);
        }
    }

    /// How many layers are plain, compressed anew from their content, and kept as they are.
    fn layers(&self) -> [usize; 3] {
        let root = self.store.scratch.path().join("store");
        let store = orlop::store::Store::open(Arc::new(Disk), &root, &OpenOptions::default());
        let store = store.expect("a store");
        let mut kinds = [0; 3];
        for hex in &self.held.layers {
            let digest = Digest::from_hex(hex).expect("a digest");
            let recipe = store.recipe(digest).expect("a recipe");
            let kind = match (sniff(&self.held.blobs[hex]), recipe.body) {
                (None, _) => 0,
                (Some(_), Body::Encode { .. }) => 1,
                _ => 2,
            };
            kinds[kind] += 1;
        }
        kinds
    }

    fn has_zstd(&self) -> bool {
        let zstd = Some(orlop::image::Compression::Zstd);
        self.held.layers.iter().any(|hex| sniff(&self.held.blobs[hex]) == zstd)
    }

    /// Whether its root is a manifest of Docker's own type.
    fn is_of_docker(&self) -> bool {
        let root = self.root.trim_start_matches("sha256:");
        self.held.blobs.get(root).is_some_and(|bytes| {
            String::from_utf8_lossy(bytes).contains("application/vnd.docker.distribution.manifest")
        })
    }

    /// The archive as a whole, where there was one: it must be the one that was written.
    fn original(&self, path: &Path) -> &'static str {
        if path.is_dir() {
            return "a folder";
        }
        let file = self.store.scratch.path().join("original.tar");
        let words = ["export", "--original", self.save.as_str(), "-o"];
        succeeded(self.store.orlop().args(words).arg(&file));
        let [found, given] = [&file, path].map(|path| sha256(&fs::read(path).expect("an archive")));
        assert_eq!(found, given, "the original");
        "equal"
    }

    /// Loads an export into an engine, which must have the image with its layers and its name.
    /// Docker 20 knows no zstd.
    fn loads(&self, name: &'static str) -> Option<&'static str> {
        let engine = Lease::of(name, &TAGS)?;
        let (target, how): (&[&str], _) = match name {
            "docker20" if self.has_zstd() => {
                (&["--target", "docker-20"], "docker20 (--target docker-20)")
            }
            _ => (&[], name),
        };
        engine.load(&self.store.export_with(&[TAG], target, &format!("{name}.tar")));
        let sample = Archive::read(&sample(TAG)).image(TAG);
        assert_eq!(engine.diff_ids(TAG), sample.layers, "layers in {name}");
        let id = if engine.names_images_by_config() { &self.id } else { &self.root };
        assert_eq!(engine.image_id(TAG), *id, "ID in {name}");
        Some(how)
    }

    /// skopeo copies a layout as it is, with its digests.
    fn skopeo_copies(&self) -> Option<&'static str> {
        let skopeo = endpoint("skopeo")?;
        let layout = self.store.export_with(&[TAG], &["--format", "oci"], "layout.tar");
        let from = format!("oci-archive:{}", layout.display());
        let output = succeeded(Command::new(&skopeo).args(["inspect", "--raw", &from]));
        assert_eq!(format!("sha256:{}", sha256(output.as_bytes())), self.root);
        let copy = self.store.scratch.path().join("copy");
        let to = format!("dir:{}", copy.display());
        let words = ["copy", "-q", "--all", "--preserve-digests", &from, &to];
        succeeded(Command::new(&skopeo).args(words));
        let found = Members::of_folder(&copy);
        for hex in &self.held.layers {
            assert!(found.file(hex) == Some(&self.held.blobs[hex]), "layer {hex}");
        }
        Some("skopeo")
    }

    /// umoci unpacks a layout in a folder; its release 0.4 knows no zstd layers,
    /// and no manifests of Docker's own types.
    fn umoci_unpacks(&self) -> Option<&'static str> {
        if Command::new("umoci").arg("--version").output().is_err() {
            eprintln!("skipped: no umoci");
            return None;
        }
        let (options, how): (&[&str], _) = if self.has_zstd() || self.is_of_docker() {
            (&["--format", "oci", "--compression", "gzip"], "umoci (as gzip)")
        } else {
            (&["--format", "oci"], "umoci")
        };
        let layout = self.store.export_with(&[TAG], options, "layout/");
        let members = Members::of_folder(&layout);
        let index = members.file("index.json").expect("an index");
        let index: Value = serde_json::from_slice(index).expect("an index of JSON");
        let name = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
        let image = format!("{}:{}", layout.display(), name.as_str().expect("a name"));
        let to = self.store.scratch.path().join("bundle");
        let words = ["unpack", "--rootless", "--image", &image];
        succeeded(Command::new("umoci").args(words).arg(&to));
        let mut files = fs::read_dir(to.join("rootfs")).expect("files of the image");
        assert!(files.next().is_some(), "what umoci unpacked");
        Some(how)
    }
}

#[test]
fn what_every_program_writes_comes_back_and_loads_everywhere() {
    println!("| writer | saved | ID or digest | original | plain, rebuilt, as they are | loads |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for writer in WRITERS {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let Some(path) = writer.write(folder.path()) else { continue };
        let saved = Saved::of(&path);
        saved.is_what_was_written();
        let original = saved.original(&path);
        let mut loads = Vec::new();
        for name in ["docker20", "docker26", "docker26c", "podman"] {
            loads.extend(saved.loads(name));
        }
        loads.extend(saved.skopeo_copies());
        loads.extend(saved.umoci_unpacks());
        let [plain, rebuilt, kept] = saved.layers();
        let (name, loads) = (writer.name(), loads.join(", "));
        println!("| {name} | yes | equal | {original} | {plain}, {rebuilt}, {kept} | {loads} |");
        // Go's gzip writes what both of them have compressed.
        if name.contains("oci") && !saved.has_zstd() {
            assert_eq!([plain, kept], [0, 0], "{name}: layers that can't be compressed anew");
        }
    }
}
