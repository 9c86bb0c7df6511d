//! The parent images of Docker's classic builder, in and out of engines.
//!
//! Assumes what its parent does. Guarantees that the images go, and with them those that
//! they were built on.

#![allow(clippy::disallowed_methods, reason = "what is built is laid out here")]

use super::engine::{Engine, Lease, endpoint, succeeded};
use super::{Command, Store};
use crate::support::built;

const TAGS: [&str; 2] = ["built:1", "built:2"];
const DOCKERFILE: &str = "FROM scratch\nCOPY a /a\nENV X=1\nCOPY b /b\nLABEL l=1\nCMD [\"/a\"]\n";

/// Builds the sample in this store's scratch folder, with the classic builder.
fn build(engine: &Engine, store: &Store, more: &[&str]) -> String {
    let folder = store.scratch.path().join("context");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, text) in [("Dockerfile", DOCKERFILE), ("a", "first"), ("b", "second")] {
        std::fs::write(folder.join(name), text).expect("a file");
    }
    let folder = folder.to_str().expect("a path in UTF-8");
    let mut command = engine.command(["build", "--network=none", "-t", "built:1"]);
    succeeded(command.args(more).arg(folder).env("DOCKER_BUILDKIT", "0"))
}

/// The IDs of the image and of what it was built on.
fn history(engine: &Engine, tag: &str) -> Vec<String> {
    let listed = succeeded(&mut engine.command(["history", "-q", "--no-trunc", tag]));
    listed.lines().map(str::to_owned).collect()
}

/// What an engine lists as an image without a name that nothing needs.
fn dangling(engine: &Engine) -> String {
    succeeded(&mut engine.command(["images", "-q", "--no-trunc", "--filter", "dangling=true"]))
}

/// Built, saved with all parents, removed, brought back: the next build uses them. `asking`
/// is what it must be told for that; then it makes parents of its own.
fn the_cache_comes_back(name: &'static str, options: &[&str], asking: &[&str]) {
    let Some(engine) = Lease::of(name, &TAGS) else {
        return;
    };
    let store = Store::new();
    build(&engine, &store, &[]);
    let ids = history(&engine, "built:1");
    assert_eq!(ids.len(), 5, "{ids:?}");
    let asked: Vec<&str> = ["built:1"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    store.save_from(&engine, &asked);
    engine.remove(&TAGS);
    let there = succeeded(&mut engine.command(["images", "-a", "-q", "--no-trunc"]));
    assert!(!ids.iter().any(|id| there.contains(id)), "{there}");

    engine.load(&store.export_with(&["built:1"], options, "export.tar"));
    assert_eq!(history(&engine, "built:1"), ids);
    assert!(!ids.iter().any(|id| dangling(&engine).contains(id)));
    let said = build(&engine, &store, asking);
    assert_eq!(said.matches("Using cache").count(), 5, "{said}");
    let again = history(&engine, "built:1");
    assert_eq!(again[0], ids[0]);
    if asking.is_empty() {
        assert_eq!(again, ids);
    } else {
        succeeded(&mut engine.command(["image", "rm", &ids[1]]));
    }
}

/// The same from engine to store and back, without an archive.
fn the_cache_comes_back_without_archives(name: &'static str, asking: &[&str]) {
    let Some(engine) = Lease::of(name, &TAGS) else {
        return;
    };
    let store = Store::new();
    let url = engine.url();
    let live = |verb: &str, args: &[&str]| {
        let mut command = store.orlop();
        command.arg(verb).args(["built:1", "--engine", &url]).args(args);
        let output = command.output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    build(&engine, &store, &[]);
    let ids = history(&engine, "built:1");
    let (_, said) = live("save", &["--with-history"]);
    assert!(said.contains("with 4 images of the build history"), "{said}");
    let (out, _) = live("save", &["--with-history"]);
    assert!(out.contains("nothing transferred"), "{out}");
    engine.remove(&TAGS);
    live("load", &[]);
    assert_eq!(history(&engine, "built:1"), ids);
    assert!(!ids.iter().any(|id| dangling(&engine).contains(id)));
    let said = build(&engine, &store, asking);
    assert_eq!(said.matches("Using cache").count(), 5, "{said}");
    let again = history(&engine, "built:1");
    if again != ids {
        succeeded(&mut engine.command(["image", "rm", &ids[1]]));
    }
}

/// An engine that knows no parents takes what has a name, and shows nothing else.
fn takes_the_named(name: &'static str) {
    let Some(engine) = Lease::of(name, &TAGS) else {
        return;
    };
    let store = Store::new();
    let archive = store.scratch.path().join("built.tar");
    let (bytes, ids) = built::two();
    std::fs::write(&archive, bytes).expect("an archive");
    succeeded(store.orlop().args(["save", "-i"]).arg(&archive));
    for (tags, options, file) in [
        (&TAGS[..1], &[][..], "one.tar"),
        (&TAGS, &[], "two.tar"),
        (&TAGS, &["--target", name.trim_end_matches("26c")], "target.tar"),
    ] {
        engine.load(&store.export_with(tags, options, file));
        let listed = engine.tags();
        assert!(tags.iter().all(|tag| listed.iter().any(|it| it == tag)), "{file}: {listed:?}");
        let unnamed = dangling(&engine);
        assert!(!ids.iter().any(|id| unnamed.contains(id)), "{file}: {unnamed}");
        let shown = succeeded(&mut engine.command(["images", "-q", "--no-trunc"]));
        assert!(!ids[2..].iter().any(|id| shown.contains(id)), "{file}: {shown}");
        engine.remove(&TAGS);
    }
}

#[test]
fn docker_20_gets_its_build_cache_back() {
    the_cache_comes_back("docker20", &[], &[]);
    the_cache_comes_back("docker20", &["--format", "docker-legacy"], &[]);
    the_cache_comes_back_without_archives("docker20", &[]);
}

/// Since 25.0.2 its builder looks only at images that it built, unless others are named.
#[test]
fn docker_26_gets_its_build_cache_back() {
    let asking = ["--cache-from", "built:1"];
    the_cache_comes_back("docker26", &[], &asking);
    the_cache_comes_back("docker26", &["--format", "docker-legacy"], &asking);
    the_cache_comes_back_without_archives("docker26", &asking);
}

#[test]
fn docker_26_with_containerd_takes_what_has_a_name() {
    takes_the_named("docker26c");
}

#[test]
fn podman_takes_what_has_a_name() {
    takes_the_named("podman");
}

#[test]
fn skopeo_finds_the_named_image() {
    let Some(skopeo) = endpoint("skopeo") else {
        return;
    };
    let store = Store::new();
    let archive = store.scratch.path().join("built.tar");
    std::fs::write(&archive, built::two().0).expect("an archive");
    succeeded(store.orlop().args(["save", "-i"]).arg(&archive));
    let all = store.export_with(&TAGS[..1], &[], "all.tar");
    let alone = store.export_with(&TAGS[..1], &["--target", "skopeo"], "alone.tar");
    for source in [
        format!("docker-archive:{}:built:1", all.display()),
        format!("oci-archive:{}", all.display()),
        format!("docker-archive:{}", alone.display()),
    ] {
        let said = succeeded(Command::new(&skopeo).args(["inspect", &source]));
        let seen: serde_json::Value = serde_json::from_str(&said).expect("JSON from skopeo");
        assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(2), "{source}");
    }
}
