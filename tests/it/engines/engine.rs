//! One container engine, driven by its command line.
//!
//! Assumes `docker` (or what `ORLOP_TEST_DOCKER` names) for Docker's engines and, for Podman, the
//! command that `ORLOP_TEST_ENGINES` names. Guarantees that one test at a time uses an engine, and
//! that the images it asked for are gone before and after. Does not know what is tested.

#![allow(clippy::disallowed_methods, reason = "archives are handed to engines as open files")]

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Write, stderr};
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::archive::{familiar, strings};

/// Tags are an engine's own, and tests run side by side.
static IN_USE: [(&str, Mutex<()>); 4] = [
    ("docker20", Mutex::new(())),
    ("docker26", Mutex::new(())),
    ("docker26c", Mutex::new(())),
    ("podman", Mutex::new(())),
];

/// Where `tests/engines up` said that the engine is, or nothing, said aloud.
pub(super) fn endpoint(name: &str) -> Option<String> {
    let list = env::var("ORLOP_TEST_ENGINES").unwrap_or_default();
    let named = list.split(';').filter_map(|item| item.split_once('=')).find(|(it, _)| *it == name);
    if named.is_none() {
        let required = env::var_os("ORLOP_REQUIRE_ENGINES").is_some_and(|it| !it.is_empty());
        assert!(!required, "ORLOP_REQUIRE_ENGINES is set, and ORLOP_TEST_ENGINES has no {name}");
        let message = format!("skipped: no engine {name} (run: eval \"$(tests/engines up)\")\n");
        // Not `eprintln!`, which the test runner keeps to itself when nothing fails; and in one piece.
        stderr().write_all(message.as_bytes()).ok();
    }
    named.map(|(_, endpoint)| endpoint.to_owned())
}

/// An engine.
pub(super) struct Engine {
    pub(super) name: &'static str,
    program: OsString,
    host: Option<String>,
}

impl Engine {
    fn find(name: &'static str) -> Option<Self> {
        let endpoint = endpoint(name)?;
        Some(if endpoint.starts_with("unix://") {
            let docker = env::var_os("ORLOP_TEST_DOCKER").unwrap_or_else(|| "docker".into());
            Self { name, program: docker, host: Some(endpoint) }
        } else {
            Self { name, program: endpoint.into(), host: None }
        })
    }

    /// Whether the image ID is the digest of the configuration. Docker's containerd image store has
    /// that of the manifest or image index there.
    pub(super) fn names_images_by_config(&self) -> bool {
        self.name != "docker26c"
    }

    pub(super) fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(host) = &self.host {
            command.args(["--host", host]);
        }
        command.args(args);
        command
    }

    /// Where its API is.
    pub(super) fn url(&self) -> String {
        self.host.clone().or_else(|| endpoint("podman-api")).unwrap_or_default()
    }

    /// How a shell would call its command line.
    pub(super) fn words(&self) -> String {
        let host = self.host.as_ref().map_or_else(String::new, |host| format!(" --host {host}"));
        format!("{}{host}", self.program.display())
    }

    pub(super) fn load(&self, archive: &Path) {
        let file = File::open(archive).expect("an archive to load");
        succeeded(self.command(["load"]).stdin(file));
    }

    /// The command that writes these images to its standard output, as one archive.
    pub(super) fn save(&self, tags: &[&str]) -> Command {
        let mut command = self.command(["save"]);
        if self.host.is_none() {
            command.args(["--quiet", "--format", "docker-archive"]);
            if tags.len() > 1 {
                command.arg("--multi-image-archive");
            }
        }
        command.args(tags);
        command
    }

    /// What the image prints.
    pub(super) fn run(&self, tag: &str) -> String {
        succeeded(&mut self.command(["run", "--rm", "--network=none", tag]))
    }

    /// All tags that the engine has, in their short form.
    pub(super) fn tags(&self) -> Vec<String> {
        let format = "{{.Repository}}:{{.Tag}}";
        let listed = succeeded(&mut self.command(["images", "--format", format]));
        listed.lines().map(|line| familiar(line).to_owned()).collect()
    }

    pub(super) fn image_id(&self, tag: &str) -> String {
        let id = self.inspect(tag, "{{.Id}}");
        let hex = id.trim().trim_start_matches("sha256:");
        format!("sha256:{hex}")
    }

    pub(super) fn diff_ids(&self, tag: &str) -> Vec<String> {
        let layers = self.inspect(tag, "{{json .RootFS.Layers}}");
        let layers = serde_json::from_str(&layers).expect("JSON from the engine");
        strings(&layers).into_iter().map(str::to_owned).collect()
    }

    fn inspect(&self, tag: &str, format: &str) -> String {
        succeeded(&mut self.command(["image", "inspect", "--format", format, tag]))
    }

    /// Removes those of the images that are there.
    pub(super) fn remove(&self, tags: &[&str]) {
        let listed = self.tags();
        for tag in tags.iter().filter(|tag| listed.iter().any(|it| it == *tag)) {
            succeeded(&mut self.command(["image", "rm", tag]));
        }
    }
}

/// An engine for one test alone.
pub(super) struct Lease {
    engine: Engine,
    tags: &'static [&'static str],
    _in_use: MutexGuard<'static, ()>,
}

impl Lease {
    /// The engine without images of these tags, or nothing where it is to be skipped.
    pub(super) fn of(name: &'static str, tags: &'static [&'static str]) -> Option<Self> {
        let engine = Engine::find(name)?;
        let (_, lock) = IN_USE.iter().find(|(it, _)| *it == name).expect("a known engine");
        let in_use = lock.lock().unwrap_or_else(PoisonError::into_inner);
        engine.remove(tags);
        Some(Self { engine, tags, _in_use: in_use })
    }
}

impl Deref for Lease {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A second panic would hide what the first one says; the next lease removes them anyway.
        if !std::thread::panicking() {
            self.engine.remove(self.tags);
        }
    }
}

/// The standard output of a command that must succeed.
pub(super) fn succeeded(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `source | sink`, where both must succeed.
pub(super) fn piped(source: &mut Command, sink: &mut Command) {
    let mut child = (source.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
        .spawn()
        .unwrap_or_else(|e| panic!("{source:?}: {e}"));
    let stream = child.stdout.take().expect("a pipe");
    succeeded(sink.stdin(stream));
    let output = child.wait_with_output().expect("a child's end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source:?}: {}\n{said}", output.status);
}
