//! Image archives as their `manifest.json` describes them: configurations, and layers by digest.
//!
//! Assumes small archives of plain files with uncompressed layers. Guarantees digests of the bytes
//! that are there, whatever their names say. Does not know the library that it helps to test.

#![allow(clippy::disallowed_methods, reason = "the library's file access is what is tested")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// An archive, in memory.
pub(super) struct Archive {
    members: BTreeMap<String, Vec<u8>>,
}

/// What makes an image what it is, as digests.
#[derive(Debug, PartialEq)]
pub(super) struct Image {
    pub(super) config: String,
    pub(super) layers: Vec<String>,
}

impl Archive {
    pub(super) fn read(file: &Path) -> Self {
        let opened = File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let mut archive = tar::Archive::new(opened);
        let mut members = BTreeMap::new();
        for entry in archive.entries().expect("a tar file") {
            let mut entry = entry.expect("a member");
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("a whole member");
            members.insert(name, content);
        }
        Self { members }
    }

    /// The image with this tag, whether the archive has it in full (`docker.io/library/...`) or short.
    pub(super) fn image(&self, tag: &str) -> Image {
        let manifest: Value =
            serde_json::from_slice(self.member("manifest.json")).expect("manifest.json is JSON");
        let image = (manifest.as_array().into_iter().flatten())
            .find(|item| strings(&item["RepoTags"]).iter().any(|it| familiar(it) == tag))
            .unwrap_or_else(|| panic!("{tag} is not in {manifest}"));
        let config = image["Config"].as_str().expect("the name of a configuration");
        Image {
            config: digest(self.member(config)),
            layers: strings(&image["Layers"]).iter().map(|it| digest(self.member(it))).collect(),
        }
    }

    fn member(&self, name: &str) -> &[u8] {
        self.members.get(name).unwrap_or_else(|| panic!("no member {name}"))
    }
}

/// Docker's short form of a name.
pub(super) fn familiar(name: &str) -> &str {
    name.strip_prefix("docker.io/library/").unwrap_or(name)
}

/// The strings of a list; none for `null`.
pub(super) fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn digest(bytes: &[u8]) -> String {
    let mut digest = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(digest, "{byte:02x}").expect("strings take all");
    }
    digest
}
