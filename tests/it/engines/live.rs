//! Without archives: from an engine into a store, and back by what the engine lacks.
//!
//! Assumes what `engines.rs` does. Guarantees that bytes are counted, not times. Does not know how
//! the two speak with each other.

use serde_json::Value;

use super::engine::{Engine, Lease, succeeded};
use super::{Store, TAGS, holds_and_runs, sample};

impl Store {
    /// `orlop VERB ARGS`, on this engine: its exit code, and what it printed.
    fn live(&self, engine: &Engine, verb: &str, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.orlop();
        command.arg(verb).args(args).args(["--engine", &engine.url()]);
        let output = command.output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn live_json(&self, engine: &Engine, verb: &str, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let (code, out, said) = self.live(engine, verb, &args);
        assert_eq!(code, Some(0), "{verb} {args:?} on {}: {said}", engine.name);
        serde_json::from_str(&out).expect("a document")
    }
}

fn states(document: &Value) -> Vec<&str> {
    let images = document["images"].as_array().expect("a list");
    images.iter().map(|image| image["state"].as_str().expect("a word")).collect()
}

/// Engine -> store -> the same engine, emptied; then what it lacks of another version.
fn there_and_back(name: &'static str) {
    let Some(engine) = Lease::of(name, &["hello:1", "hello:2", "hello:9"]) else {
        return;
    };
    // By full names: Podman makes names of its own of short ones.
    engine.load(&Store::with_samples().export(&TAGS));
    let store = Store::new();
    let saved = store.live_json(&engine, "save", &TAGS);
    let images = saved["saves"][0]["images"].as_array().expect("a list");
    assert_eq!(images.len(), 2, "{name}: {saved}");
    assert!(images.iter().all(|image| image["unchanged"] == false), "{name}: {saved}");
    let (code, out, said) = store.live(&engine, "save", &TAGS);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(out.matches("nothing transferred").count(), 2, "{name}: {out}");

    engine.remove(&TAGS);
    let first = store.live_json(&engine, "load", &["hello:1"]);
    assert_eq!(states(&first), ["loaded"], "{name}: {first}");
    let sent = &first["images"][0]["sent"];
    assert_eq!(sent["layers_sent"], sent["layers"], "an empty engine has nothing");
    let second = store.live_json(&engine, "load", &["hello:2"]);
    let sent = &second["images"][0]["sent"];
    assert_eq!((sent["layers"].as_u64(), sent["layers_sent"].as_u64()), (Some(3), Some(2)));
    assert!(sent["bytes"].as_u64() < sent["whole"].as_u64(), "{name}: {second}");
    assert_eq!(sent["refused"], Value::Null, "{name}");
    holds_and_runs(&engine, &TAGS);

    let again = store.live_json(&engine, "load", &TAGS);
    assert_eq!(states(&again), ["there", "there"], "{name}: {again}");
    let named = store.live_json(&engine, "load", &["hello:2", "--tag", "hello:9"]);
    assert_eq!(states(&named), ["named"], "{name}: {named}");
    assert_eq!(engine.image_id("hello:9"), engine.image_id("hello:2"));
    let before = engine.image_id("hello:9");
    let moved = store.live_json(&engine, "load", &["hello:1", "--tag", "hello:9"]);
    assert_eq!(moved["images"][0]["moved"], before, "{name}: {moved}");
    assert_eq!(engine.image_id("hello:9"), engine.image_id("hello:1"));
    // What went over in parts is whole: the engine can give it away again.
    let other = Store::new();
    other.save_from(&engine, &TAGS);
}

#[test]
fn docker_20_there_and_back() {
    there_and_back("docker20");
}

#[test]
fn docker_26_there_and_back() {
    there_and_back("docker26");
}

#[test]
fn docker_26_with_containerd_there_and_back() {
    there_and_back("docker26c");
}

#[test]
fn podman_there_and_back() {
    there_and_back("podman");
}

#[test]
fn what_the_engine_lacks_is_named_and_the_rest_is_saved() {
    let Some(engine) = Lease::of("docker26", &TAGS) else {
        return;
    };
    engine.load(&sample("hello:1"));
    let store = Store::new();
    let (code, out, said) = store.live(&engine, "save", &["hello:1", "hello:3"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(out.starts_with("saved hello:1  "), "{out}");
    assert!(said.contains("error: no image `hello:3` in docker "), "{said}");
    assert!(said.contains("hint: get it: docker pull hello:3"), "{said}");
    let (code, _, said) = store.live(&engine, "save", &["hello:3"]);
    assert_eq!(code, Some(12), "{said}");
}

#[test]
fn a_project_is_saved_and_brought_back_with_one_command_each() {
    let Some(engine) = Lease::of("docker26", &TAGS) else {
        return;
    };
    for tag in TAGS {
        engine.load(&sample(tag));
    }
    let store = Store::new();
    let file = store.scratch.path().join("compose.yaml");
    let project = "services:\n  web:\n    image: hello:${VERSION}\n  worker:\n    image: hello:2\n  \
                   other:\n    image: hello:2\n";
    std::fs::write(&file, project).expect("a file");
    std::fs::write(store.scratch.path().join(".env"), "VERSION=1\n").expect("a file");
    let file = file.to_str().expect("a path");
    let (code, out, said) = store.live(&engine, "save", &["--compose", file]);
    assert_eq!((code, out.lines().count()), (Some(0), 2), "{out}{said}");
    assert!(said.contains("  hello:2  (service `worker`, service `other`)"), "{said}");
    engine.remove(&TAGS);
    let (code, out, said) = store.live(&engine, "load", &["--compose", file]);
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out}{said}");
    assert!(out.starts_with("loaded hello:1, hello:2 into docker 26"), "{out}");
    holds_and_runs(&engine, &TAGS);
}

#[test]
fn an_engine_that_is_not_there_is_told() {
    let store = Store::with_samples();
    let mut load = store.orlop();
    load.args(["load", "hello:1", "--engine"]).arg(store.scratch.path().join("none.sock"));
    let output = load.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(15), "{said}");
    assert!(said.contains("none.sock"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    drop(succeeded(store.orlop().arg("images")));
}
