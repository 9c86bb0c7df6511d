//! What an archive or a layout in a folder holds that its images need: documents
//! and layers as they are given, by SHA-256.
//!
//! Read by the tar crate and a JSON reader alone, so that nothing of what is tested
//! vouches for itself. What is listed and not there is left out. Panics where an
//! archive is not what its own documents say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::docker::sha256;

/// The members of an archive by their paths; the last of a path counts.
#[derive(Debug, Default)]
pub(crate) struct Members {
    files: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
}

impl Members {
    /// Of a tar.
    pub(crate) fn of_tar(tar: impl Read) -> Self {
        let mut archive = tar::Archive::new(tar);
        let mut members = Self::default();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
            let link = entry.link_name_bytes().filter(|_| !entry.header().entry_type().is_file());
            if let Some(link) = link {
                members.links.insert(path, String::from_utf8_lossy(&link).into_owned());
                continue;
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            members.files.insert(path, bytes);
        }
        members
    }

    /// Of a folder.
    pub(crate) fn of_folder(root: &Path) -> Self {
        let mut members = Self::default();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                members.files.insert(name, std::fs::read(&path).unwrap());
            }
        }
        members
    }

    /// A file, through the links that lead to it.
    pub(crate) fn file(&self, path: &str) -> Option<&[u8]> {
        let mut path = path.to_owned();
        for _ in 0..16 {
            if let Some(bytes) = self.files.get(&path) {
                return Some(bytes);
            }
            let link = self.links.get(&path)?;
            let mut parts: Vec<&str> = path.split('/').collect();
            parts.pop();
            for part in link.split('/') {
                match part {
                    "." | "" => {}
                    ".." => drop(parts.pop()),
                    _ => parts.push(part),
                }
            }
            path = parts.join("/");
        }
        None
    }

    /// The files whose paths are their digests; each must be what its path says.
    pub(crate) fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        let mut blobs = BTreeMap::new();
        for (path, bytes) in &self.files {
            if let Some(hex) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(sha256(bytes), hex, "a blob is not what its name says");
                blobs.insert(hex.to_owned(), bytes.clone());
            }
        }
        blobs
    }
}

/// What images need of an archive.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// By SHA-256: configs, manifests, indexes, layers and other blobs.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// Those that are layers, or other blobs of manifests.
    pub(crate) layers: BTreeSet<String>,
    /// Those that are configs of images in a Docker archive.
    pub(crate) ids: BTreeSet<String>,
    /// What `index.json` lists and the archive has.
    pub(crate) roots: BTreeSet<String>,
    /// Indexes that list what the archive doesn't have.
    pub(crate) partial: BTreeSet<String>,
}

impl Held {
    pub(crate) fn of(members: &Members) -> Self {
        let mut held = Self::default();
        if let Some(list) = members.file("manifest.json") {
            held.add_docker(members, list);
        }
        if let (Some(index), Some(_)) = (members.file("index.json"), members.file("oci-layout")) {
            let index: Value = serde_json::from_slice(index).unwrap();
            for descriptor in index["manifests"].as_array().into_iter().flatten() {
                let root = held.add_manifest(members, descriptor);
                held.roots.extend(root);
            }
        } else if held.ids.is_empty() {
            for (path, bytes) in &members.files {
                if path.ends_with("/layer.tar") {
                    let hex = held.add(bytes);
                    held.layers.insert(hex);
                }
            }
        }
        held
    }

    fn add(&mut self, bytes: &[u8]) -> String {
        let hex = sha256(bytes);
        self.blobs.insert(hex.clone(), bytes.to_vec());
        hex
    }

    fn add_docker(&mut self, members: &Members, list: &[u8]) {
        // Docker reads one value and lets follow what may.
        let mut list = serde_json::Deserializer::from_slice(list).into_iter::<Value>();
        let list = list.next().unwrap().unwrap();
        for item in list.as_array().into_iter().flatten() {
            let get = |key: &str| item.get(key).or_else(|| item.get(key.to_lowercase()));
            let file = |path: &Value| {
                let path = path.as_str().unwrap();
                members.file(path).unwrap_or_else(|| panic!("no member {path}"))
            };
            let config = self.add(file(get("Config").unwrap()));
            self.ids.insert(config);
            for path in get("Layers").and_then(Value::as_array).into_iter().flatten() {
                let layer = self.add(file(path));
                self.layers.insert(layer);
            }
        }
    }

    /// The digest, if it is a manifest or index that is there.
    fn add_manifest(&mut self, members: &Members, descriptor: &Value) -> Option<String> {
        let kind = descriptor["mediaType"].as_str().unwrap_or_default();
        if !kind.is_empty() && !kind.contains("manifest") && !kind.contains("index") {
            return None;
        }
        let hex = self.add_listed(members, descriptor)?;
        let document: Value = serde_json::from_slice(&self.blobs[&hex]).unwrap();
        for manifest in document["manifests"].as_array().into_iter().flatten() {
            let below = self.add_manifest(members, manifest);
            if below.is_none_or(|below| self.partial.contains(&below)) {
                self.partial.insert(hex.clone());
            }
        }
        if document.get("config").is_some() {
            self.add_listed(members, &document["config"]);
        }
        for layer in document["layers"].as_array().into_iter().flatten() {
            let layer = self.add_listed(members, layer);
            self.layers.extend(layer);
        }
        Some(hex)
    }

    fn add_listed(&mut self, members: &Members, descriptor: &Value) -> Option<String> {
        let hex = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let bytes = members.file(&format!("blobs/sha256/{hex}"))?;
        let found = self.add(bytes);
        assert_eq!(found, hex, "a blob is not what its name says");
        Some(found)
    }
}
