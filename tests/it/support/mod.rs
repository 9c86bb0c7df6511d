//! What integration tests share: the command, scratch stores, sample archives.
//!
//! Each test has a store of its own in a folder that goes with it. Nothing here
//! knows what is being tested.

#![allow(dead_code, reason = "tests use of it what they need")]

pub(crate) mod built;
pub(crate) mod counting;
pub(crate) mod docker;
pub(crate) mod held;
pub(crate) mod images;
pub(crate) mod layouts;
pub(crate) mod shelf;
pub(crate) mod stores;
pub(crate) mod tars;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with a store in it, and the command that uses it.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store's root.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The `orlop` command on this store, with nothing of the user's around it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TZ", "UTC")
            .current_dir(self.folder.path())
            .arg("--store")
            .arg(self.store());
        command
    }

    /// Runs the command with these arguments.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Runs the command, which must succeed; returns standard output.
    pub(crate) fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The sample archive of version 1 or 2 of the image `hello`.
pub(crate) fn hello(version: u32) -> PathBuf {
    repository(&format!("tests/data/hello/hello-{version}.tar"))
}

/// The folder with fixtures beside the repository, if it is there; says that a
/// test is skipped where it isn't.
pub(crate) fn fixtures() -> Option<PathBuf> {
    let shared =
        std::env::var_os("ORLOP_SHARED").map_or_else(|| repository("../shared"), PathBuf::from);
    let folder = shared.join("fixtures");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no fixtures at {}", folder.display());
    None
}
