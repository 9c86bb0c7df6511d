//! What real engines say: archives that they wrote go into a store, and what comes out of it they
//! load and run.
//!
//! Assumes the engines that `tests/engines up` starts and names in `ORLOP_TEST_ENGINES`; one that is
//! not named there is skipped, aloud, or a failure where `ORLOP_REQUIRE_ENGINES` is set.
//! Guarantees that every engine is left without the sample images.
//! Does not know how a store is made, nor what an archive holds beyond `manifest.json`.

mod api;
mod archive;
mod engine;
mod history;
mod live;
mod writers;

use std::path::{Path, PathBuf};
use std::process::Command;

use archive::Archive;
use engine::{Engine, Lease, endpoint, piped, succeeded};
use tempfile::TempDir;

/// The sample images of `tests/data/hello`.
const TAGS: [&str; 2] = ["hello:1", "hello:2"];

fn sample(tag: &str) -> PathBuf {
    let file = format!("{}.tar", tag.replace(':', "-"));
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hello").join(file)
}

/// Lends out a Docker engine, as the words that call it; not at all where there is none.
pub(crate) fn with_docker(run: impl FnOnce(&str)) {
    if let Some(engine) = Lease::of("docker26", &TAGS) {
        run(&engine.words());
    }
}

/// A store, and room for files beside it.
struct Store {
    scratch: TempDir,
}

impl Store {
    fn new() -> Self {
        Self { scratch: tempfile::tempdir().expect("a scratch folder") }
    }

    fn with_samples() -> Self {
        let store = Self::new();
        for tag in TAGS {
            succeeded(store.orlop().args(["save", "-i"]).arg(sample(tag)));
        }
        store
    }

    fn orlop(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.arg("--store").arg(self.scratch.path().join("store"));
        command
    }

    /// What an engine saves is taken in as it streams.
    fn save_from(&self, engine: &Engine, tags: &[&str]) {
        piped(&mut engine.save(tags), self.orlop().args(["save", "-i", "-"]));
    }

    fn export(&self, tags: &[&str]) -> PathBuf {
        self.export_with(tags, &[], "export.tar")
    }

    fn export_with(&self, tags: &[&str], options: &[&str], name: &str) -> PathBuf {
        let file = self.scratch.path().join(name);
        succeeded(self.orlop().arg("export").args(tags).args(options).arg("-o").arg(&file));
        file
    }
}

/// The engine has these images, each with the layers of its sample, and each runs.
fn holds_and_runs(engine: &Engine, tags: &[&str]) {
    let listed = engine.tags();
    for tag in tags {
        let at = format!("{tag} in {}", engine.name);
        assert!(listed.iter().any(|it| it == tag), "{at}, which lists {listed:?}");
        let image = Archive::read(&sample(tag)).image(tag);
        assert_eq!(engine.diff_ids(tag), image.layers, "layers of {at}");
        if engine.names_images_by_config() {
            assert_eq!(engine.image_id(tag), image.config, "ID of {at}");
        }
        let line = tag.replace("hello:", "hello from orlop's hold, version ") + "\n";
        assert_eq!(engine.run(tag), line, "what {at} prints");
    }
}

/// Samples -> store -> one archive -> engine.
fn loads_an_export(name: &'static str, tags: &[&str]) {
    let Some(engine) = Lease::of(name, &TAGS) else {
        return;
    };
    let store = Store::with_samples();
    engine.load(&store.export(tags));
    holds_and_runs(&engine, tags);
}

/// Samples -> store -> one archive for each of these options -> engine.
fn loads_exports_with(name: &'static str, tags: &[&str], options: &[(&[&str], &str)]) {
    let Some(engine) = Lease::of(name, &TAGS) else {
        return;
    };
    let store = Store::with_samples();
    for (options, file) in options {
        engine.load(&store.export_with(tags, options, file));
        holds_and_runs(&engine, tags);
        engine.remove(&TAGS);
    }
}

/// What every engine of today loads, of several images.
const OPTIONS: [(&[&str], &str); 5] = [
    (&["--format", "docker-legacy"], "legacy.tar"),
    (&["--compression", "gzip"], "gzip.tar"),
    (&["--compression", "zstd"], "zstd.tar"),
    (&[], "whole.tar.gz"),
    (&[], "whole.tar.zst"),
];

/// Engine -> store, saved in the given groups -> one archive -> the engine, emptied before.
///
/// The engine gets the samples from a store: by itself, Podman takes the short names of Docker 20.10
/// for `localhost/...`.
fn takes_back_what_it_saved(name: &'static str, groups: &[&[&str]]) {
    let Some(engine) = Lease::of(name, &TAGS) else {
        return;
    };
    engine.load(&Store::with_samples().export(&TAGS));

    let store = Store::new();
    for group in groups {
        store.save_from(&engine, group);
    }
    engine.remove(&TAGS);

    let export = store.export(&TAGS);
    let archive = Archive::read(&export);
    for tag in TAGS {
        let original = Archive::read(&sample(tag)).image(tag);
        assert_eq!(archive.image(tag), original, "{tag} as {name} saved it");
    }
    engine.load(&export);
    holds_and_runs(&engine, &TAGS);
}

#[test]
fn docker_20_loads_an_export() {
    loads_an_export("docker20", &TAGS);
}

#[test]
fn docker_26_loads_an_export() {
    loads_an_export("docker26", &TAGS);
}

#[test]
fn docker_26_with_containerd_loads_an_export() {
    loads_an_export("docker26c", &TAGS);
}

#[test]
fn podman_loads_an_export() {
    loads_an_export("podman", &TAGS);
}

/// Podman reads an archive of one image by its OCI layout, and one of several by its manifest.json.
#[test]
fn podman_loads_an_export_of_one_image() {
    loads_an_export("podman", &TAGS[1..]);
}

#[test]
fn docker_20_takes_back_what_it_saved() {
    takes_back_what_it_saved("docker20", &[&TAGS]);
}

#[test]
fn docker_26_takes_back_what_it_saved() {
    takes_back_what_it_saved("docker26", &[&TAGS]);
}

#[test]
fn docker_26_with_containerd_takes_back_what_it_saved() {
    takes_back_what_it_saved("docker26c", &[&TAGS]);
}

#[test]
fn podman_takes_back_what_it_saved() {
    takes_back_what_it_saved("podman", &[&TAGS]);
}

#[test]
fn podman_takes_back_what_it_saved_one_by_one() {
    takes_back_what_it_saved("podman", &[&TAGS[..1], &TAGS[1..]]);
}

#[test]
fn docker_20_loads_what_is_made_for_it() {
    let target: &[&str] = &["--target", "docker-20"];
    let gzip: &[&str] = &["--target", "docker-20", "--compression", "gzip"];
    let legacy: &[&str] = &["--target", "docker-20", "--format", "docker-legacy"];
    let options = [(target, "a.tar"), (gzip, "b.tar"), (legacy, "c.tar"), (target, "d.tar.gz")];
    loads_exports_with("docker20", &TAGS, &options);
}

#[test]
fn docker_26_loads_other_forms() {
    loads_exports_with("docker26", &TAGS, &OPTIONS);
}

#[test]
fn docker_26_with_containerd_loads_other_forms() {
    loads_exports_with("docker26c", &TAGS, &OPTIONS);
    loads_exports_with("docker26c", &TAGS, &[(&["--format", "oci"], "layout.tar")]);
}

#[test]
fn podman_loads_other_forms() {
    loads_exports_with("podman", &TAGS, &OPTIONS);
}

#[test]
fn podman_loads_layouts_of_one_image() {
    let oci: &[&str] = &["--target", "podman", "--format", "oci"];
    let zstd: &[&str] = &["--target", "podman", "--format", "oci", "--compression", "zstd"];
    loads_exports_with("podman", &TAGS[..1], &[(oci, "one.tar"), (zstd, "one.tar.zst")]);
}

#[test]
fn skopeo_copies_a_layout() {
    let Some(skopeo) = endpoint("skopeo") else {
        return;
    };
    let store = Store::with_samples();
    let layout = store.export_with(&TAGS, &["--format", "oci", "--compression", "gzip"], "layout/");
    let copy = store.scratch.path().join("copy.tar");
    let (from, to) = (
        format!("oci:{}:1", layout.display()),
        format!("docker-archive:{}:hello:1", copy.display()),
    );
    succeeded(Command::new(&skopeo).args(["copy", "--quiet", &from, &to]));
    assert_eq!(
        Archive::read(&copy).image("hello:1"),
        Archive::read(&sample("hello:1")).image("hello:1")
    );
}

#[test]
fn skopeo_reads_an_export() {
    let Some(skopeo) = endpoint("skopeo") else {
        return;
    };
    let store = Store::with_samples();
    let export = store.export(&TAGS);
    for tag in TAGS {
        let source = format!("docker-archive:{}:{tag}", export.display());
        let output = succeeded(Command::new(&skopeo).arg("inspect").arg(source));
        let seen: serde_json::Value = serde_json::from_str(&output).expect("JSON from skopeo");
        let layers = Archive::read(&sample(tag)).image(tag).layers;
        assert_eq!(seen["Layers"], serde_json::json!(layers), "layers of {tag}");
    }
}
