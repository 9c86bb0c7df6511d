//! The library's `Engine` against real engines: what it asks, streams out and streams in.
//!
//! Assumes what `engines.rs` assumes; Podman's API is the service `podman-api`. Guarantees that the
//! engines are left without the sample images. Does not know the store, except to make an archive.

use std::convert::Infallible;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use orlop::engine::{Engine, EngineError, ImageStore, LoadOutcome, Product, Surroundings};

use super::archive::{Archive, familiar};
use super::engine::{Lease, endpoint, succeeded};
use super::{Store, TAGS, holds_and_runs};

#[path = "api/tls.rs"]
mod tls;

/// What the tests here leave in an engine, at most.
const ALL: [&str; 3] = ["hello:1", "hello:2", "hello:3"];

/// Where a test that starts itself again, as somebody else, finds the engine.
const ADDRESS: &str = "ORLOP_TEST_ADDRESS";

/// An engine for one test alone: by its command line, and by its API.
struct Both {
    lease: Lease,
    api: Engine,
    address: String,
}

impl Both {
    fn of(name: &'static str) -> Option<Self> {
        let address = endpoint(if name == "podman" { "podman-api" } else { name })?;
        let lease = Lease::of(name, &ALL)?;
        let api = connect(&address).unwrap();
        Some(Self { lease, api, address })
    }

    fn load(&self, bytes: &[u8]) -> LoadOutcome<(), io::Error> {
        self.api.load(|out| out.write_all(bytes))
    }

    /// It has none of the images, and still answers.
    fn is_empty_and_well(&self) {
        for tag in ALL {
            assert_eq!(self.api.image(tag).unwrap(), None, "{tag} in {}", self.lease.name);
        }
    }
}

fn connect(address: &str) -> Result<Engine, EngineError> {
    Engine::connect(&Surroundings::default(), Some(address))
}

/// Both samples in one archive that every engine loads.
fn samples() -> Vec<u8> {
    fs::read(Store::with_samples().export(&TAGS)).unwrap()
}

fn lists_inspects_loads_and_saves(name: &'static str) {
    let Some(engine) = Both::of(name) else {
        return;
    };
    let about = engine.api.about().clone();
    let (product, image_store) = match name {
        "podman" => (Product::Podman, ImageStore::Podman),
        "docker26c" => (Product::Docker, ImageStore::Containerd),
        _ => (Product::Docker, ImageStore::Graph),
    };
    assert_eq!((about.product, about.image_store), (product, image_store), "{about:?}");
    assert_eq!(about.address, engine.address);
    assert_eq!((about.os.as_str(), about.architecture.is_empty()), ("linux", false), "{about:?}");
    assert!(about.api >= (1, 41), "{about:?}");
    engine.is_empty_and_well();

    let (written, report) = engine.load(&samples()).into_result::<Fault>().unwrap();
    assert_eq!(written, ());
    let mut names: Vec<&str> = report.names.iter().map(|name| familiar(name)).collect();
    names.sort_unstable();
    assert_eq!(names, TAGS, "{report:?}");
    assert_eq!((report.moved.len(), report.ids.len()), (0, 0), "{report:?}");
    holds_and_runs(&engine.lease, &TAGS);

    for tag in TAGS {
        let image = engine.api.image(tag).unwrap().expect("the image");
        assert_eq!(image.id.to_string(), engine.lease.image_id(tag));
        let layers: Vec<String> = image.diff_ids.iter().map(ToString::to_string).collect();
        assert_eq!(layers, engine.lease.diff_ids(tag));
        assert_eq!(image.names.iter().map(|name| familiar(name)).collect::<Vec<_>>(), [tag]);
        assert_eq!((image.os.as_str(), image.parent), ("linux", None));
        let by_id = engine.api.image(&image.id.to_string()).unwrap().expect("the same image");
        assert_eq!((by_id.id, &by_id.diff_ids), (image.id, &image.diff_ids));
        let listed = engine.api.images(&[]).unwrap();
        let listed = listed.iter().find(|it| it.id == image.id).expect("it in the list");
        assert_eq!(listed.names.iter().map(|name| familiar(name)).collect::<Vec<_>>(), [tag]);
        assert!(listed.size > 0 && image.size > 0, "{listed:?} {image:?}");
        assert_eq!(engine.api.parents(tag).unwrap(), []);
    }
    let filter = ("reference".to_owned(), "hello:1".to_owned());
    let found = engine.api.images(&[filter]).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");

    engine.api.tag("hello:1", "hello", "3").unwrap();
    let [first, third] = ["hello:1", "hello:3"].map(|tag| engine.api.image(tag).unwrap().unwrap());
    assert_eq!(first.id, third.id);
    assert_eq!(third.names.len(), 2, "{third:?}");
    let error = engine.api.tag("hello:9", "hello", "4").unwrap_err();
    assert!(matches!(error, EngineError::Refused { status: 404, .. }), "{error}");

    saves(&engine, &TAGS);
    saves(&engine, &TAGS[1..]);
}

/// What comes out is what the samples are; and a stream may be left alone.
fn saves(engine: &Both, tags: &[&str]) {
    let names: Vec<String> = tags.iter().map(|&tag| tag.to_owned()).collect();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("saved.tar");
    let mut stream = engine.api.save(&names).unwrap();
    io::copy(&mut stream, &mut fs::File::create(&file).unwrap()).unwrap();
    let archive = Archive::read(&file);
    for tag in tags {
        let wanted = Archive::read(&super::sample(tag)).image(tag);
        let found = archive.image(tag);
        assert_eq!(found.layers.len(), wanted.layers.len());
        if engine.lease.names_images_by_config() {
            assert_eq!(found, wanted, "{tag} of {}", engine.lease.name);
        }
    }

    let mut stream = engine.api.save(&names).unwrap();
    stream.read_exact(&mut [0; 512]).unwrap();
    drop(stream);
    let error = engine.api.save(&["hello:9".to_owned()]).map(drop).unwrap_err();
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    assert!(error.to_string().starts_with("the engine refused to save hello:9: "), "{error}");
}

/// What a caller makes of both kinds of failure.
#[derive(Debug)]
enum Fault {
    Ours(io::Error),
    Theirs(EngineError),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Ours(error)
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Theirs(error)
    }
}

impl From<Infallible> for Fault {
    fn from(error: Infallible) -> Self {
        match error {}
    }
}

fn survives_broken_loads(name: &'static str) {
    let Some(engine) = Both::of(name) else {
        return;
    };
    let archive = samples();

    // An archive that ends too early, and a writer that thinks it was all.
    let result = engine.load(&archive[..archive.len() / 2]).into_result::<Fault>();
    let Err(Fault::Theirs(error)) = result else {
        panic!("{name} takes half an archive: {result:?}");
    };
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    engine.is_empty_and_well();

    // A writer that fails: its failure is the one that counts.
    let result = engine.api.load(|out| {
        out.write_all(&archive[..archive.len() / 2])?;
        out.flush()?;
        Err::<Infallible, _>(io::Error::other("the store is damaged"))
    });
    assert!(!result.cut_off);
    match result.into_result::<Fault>() {
        Err(Fault::Ours(error)) => assert_eq!(error.to_string(), "the store is damaged"),
        result => panic!("{name}: {result:?}"),
    }
    engine.is_empty_and_well();

    // What is no archive at all, and more of it than an engine wants to read.
    let noise = b"no archive at all ".repeat(1 << 16);
    let result = engine.api.load(|out| {
        for _ in 0..64 {
            out.write_all(&noise)?;
        }
        Ok::<_, io::Error>(())
    });
    if let Err(error) = &result.written {
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(result.cut_off);
    }
    let result = result.into_result::<Fault>();
    let Err(Fault::Theirs(error)) = result else {
        panic!("{name} takes noise: {result:?}");
    };
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    engine.is_empty_and_well();
}

#[test]
fn docker_20_speaks() {
    lists_inspects_loads_and_saves("docker20");
}

#[test]
fn docker_26_speaks() {
    lists_inspects_loads_and_saves("docker26");
}

#[test]
fn docker_26_with_containerd_speaks() {
    lists_inspects_loads_and_saves("docker26c");
}

#[test]
fn podman_speaks() {
    lists_inspects_loads_and_saves("podman");
}

#[test]
fn docker_20_survives_broken_loads() {
    survives_broken_loads("docker20");
}

#[test]
fn docker_26_survives_broken_loads() {
    survives_broken_loads("docker26");
}

#[test]
fn docker_26_with_containerd_survives_broken_loads() {
    survives_broken_loads("docker26c");
}

#[test]
fn podman_survives_broken_loads() {
    survives_broken_loads("podman");
}

/// The classic builder's steps, nearest first, and what they stand on.
fn tells_parents(name: &'static str) {
    let Some(engine) = Both::of(name) else {
        return;
    };
    engine.load(&samples()).into_result::<Fault>().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let text = "FROM hello:1\nLABEL step=one\nLABEL step=two\nLABEL step=three\n";
    fs::write(scratch.path().join("Dockerfile"), text).unwrap();
    let folder = scratch.path().to_str().unwrap();
    let mut build = engine.lease.command(["build", "--no-cache", "--tag", "hello:3", folder]);
    succeeded(build.env("DOCKER_BUILDKIT", "0"));

    let image = engine.api.image("hello:3").unwrap().unwrap();
    let parents = engine.api.parents("hello:3").unwrap();
    assert_eq!(parents.len(), 3, "{parents:?}");
    assert_eq!(image.parent, Some(parents[0]));
    for (child, parent) in parents.iter().zip(&parents[1..]) {
        let child = engine.api.image(&child.to_string()).unwrap().unwrap();
        assert_eq!((child.parent, child.names.len()), (Some(*parent), 0));
    }
    assert_eq!(parents[2], engine.api.image("hello:1").unwrap().unwrap().id);
    // They have no names, so they are in no list.
    let listed = engine.api.images(&[]).unwrap();
    assert!(listed.iter().all(|image| !parents[..2].contains(&image.id)), "{listed:?}");
}

#[test]
fn docker_20_tells_parents() {
    tells_parents("docker20");
}

#[test]
fn docker_26_tells_parents() {
    tells_parents("docker26");
}

#[test]
fn a_tag_that_moves_is_reported() {
    let Some(engine) = Both::of("docker26") else {
        return;
    };
    engine.load(&samples()).into_result::<Fault>().unwrap();
    let first = engine.api.image("hello:1").unwrap().unwrap().id;
    engine.api.tag("hello:2", "hello", "1").unwrap();
    let second = engine.api.image("hello:1").unwrap().unwrap().id;
    assert_ne!(first, second);
    let ((), report) = engine.load(&samples()).into_result::<Fault>().unwrap();
    let moved: Vec<_> = report.moved.iter().map(|(name, id)| (familiar(name), *id)).collect();
    assert_eq!(moved, [("hello:1", Some(second))], "{report:?}");
    assert_eq!(engine.api.image("hello:1").unwrap().unwrap().id, first);
}

/// This test again, in a process of its own, which says what it finds at an address.
fn again(address: &str, command: &mut Command) -> String {
    let itself = "engines::api::says_what_is_at_an_address";
    command.env(ADDRESS, address).args([itself, "--exact", "--nocapture"]);
    succeeded(command)
}

#[test]
fn says_what_is_at_an_address() {
    let Ok(address) = env::var(ADDRESS) else {
        return;
    };
    match connect(&address) {
        Ok(engine) => {
            let listed = engine.images(&[]).map(|_| "its images");
            println!("found {:?}, {listed:?}", engine.about().image_store);
        }
        Err(error) => println!("error: {error}"),
    }
}

#[test]
fn an_engine_is_reached_through_ssh() {
    let (Some(address), Some(docker)) = (endpoint("docker26"), env::var_os("ORLOP_TEST_DOCKER"))
    else {
        return;
    };
    // As sshd does, the program hands what follows the host to a shell.
    let scratch = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let take = "while [ \"$1\" != -- ]; do shift; done; host=$2; shift 2";
    let refuse = "[ \"$host\" = build ] || { echo \"no route to $host\" >&2; exit 255; }";
    program("ssh", &format!("{take}\n{refuse}\nexec sh -c \"$*\""));
    program("docker", &format!("exec '{}' \"$@\"", docker.display()));
    let path = format!("{}:{}", scratch.path().display(), env::var("PATH").unwrap());
    let itself = env::current_exe().unwrap();
    let ask = |address: &str| again(address, Command::new(&itself).env("PATH", &path));

    let socket = address.strip_prefix("unix://").unwrap();
    let said = ask(&format!("ssh://me@build:22{socket}"));
    assert!(said.contains("found Graph, Ok(\"its images\")\n"), "{said}");
    let said = ask("ssh://elsewhere");
    let wanted = "error: no container engine answers: ssh://elsewhere (no route to elsewhere)\n";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn a_socket_that_may_not_be_used_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let program = scratch.path().join("it");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command
    };
    // Only root can be somebody else.
    if !nobody().arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: cannot be another user");
        return;
    }
    let path = scratch.path().join("sock");
    let _listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let said = again(&format!("unix://{}", path.display()), nobody().arg(&program));
    let wanted = format!("error: no permission to use the engine's socket {}\n", path.display());
    assert!(said.contains(&wanted), "{said}");
}

/// Somebody who says the same to whoever comes, until nobody listens any more.
fn talks(answer: &'static [u8], for_ever: &'static [u8]) -> (tempfile::TempDir, String) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let asked = stream.read(&mut [0; 4096]).unwrap();
            assert!(asked > 0, "nothing was asked");
            stream.write_all(answer).ok();
            while !for_ever.is_empty() && stream.write_all(for_ever).is_ok() {}
        }
    });
    let address = format!("unix://{}", path.display());
    (scratch, address)
}

#[test]
fn whoever_is_no_engine_is_found_out() {
    let endless = b"HTTP/1.1 200 OK\r\n\r\n";
    let refuses = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 21\r\n\r\n{\"message\":\"not you\"}";
    for (answer, for_ever, wanted) in [
        (
            &endless[..],
            &[b' '; 4096][..],
            "cannot understand the engine's answer on the way to say what it is: \
             more than 67108864 bytes",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            b"",
            "cannot understand the engine's answer on the way to say what it is: \
             missing field `Version` at line 1 column 2",
        ),
        (&refuses[..], b"", "the engine refused to say what it is: not you"),
        (b"", b"", "no container engine answers: ADDRESS (the engine ended the connection)"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
            b"",
            "no container engine answers: ADDRESS (the engine ended the connection)",
        ),
        (
            b"220 mail\r\n",
            b"",
            "no container engine answers: ADDRESS (invalid HTTP version parsed)",
        ),
    ] {
        let (_scratch, address) = talks(answer, for_ever);
        let error = connect(&address).unwrap_err();
        assert_eq!(error.to_string(), wanted.replace("ADDRESS", &address));
    }
}

#[test]
fn where_nobody_listens_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("sock");
    let address = format!("unix://{}", path.display());
    let said = |address: &str| connect(address).unwrap_err().to_string();
    let wanted = format!("no container engine answers: {address} (no such socket)");
    assert_eq!(said(&address), wanted);
    drop(UnixListener::bind(&path).unwrap());
    let wanted = format!("no container engine answers: {address} (nothing listens there)");
    assert_eq!(said(&address), wanted);
}
