//! Docker archives in every layout, and what an archive holds, by digest.
//!
//! Archives are made and read by the tar crate alone, so that nothing of what is
//! tested vouches for itself. Links between members are followed; a layer may be
//! of any size, since it is hashed as it passes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::docker::sha256;

/// An image that is to be put into an archive.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Fully qualified, with tags.
    pub(crate) names: Vec<String>,
    pub(crate) layers: Vec<Vec<u8>>,
    /// What makes its config differ from others'.
    pub(crate) comment: String,
}

/// Who seems to have written an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `<v1 id>/layer.tar`, where a layer that came before is a symbolic link.
    Legacy,
    /// An OCI layout and `manifest.json`.
    Hybrid,
    /// `<diff id>.tar`, and links to it.
    Podman,
}

/// Where `manifest.json` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Middle,
    Last,
}

/// An image as it was found in an archive; all but the names are SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) names: BTreeSet<String>,
    pub(crate) config: String,
    pub(crate) layers: Vec<String>,
    /// Of the manifests that `index.json` lists for it.
    pub(crate) manifests: BTreeSet<String>,
}

enum Part {
    File(Vec<u8>),
    Link(String),
}

impl Image {
    pub(crate) fn config(&self) -> Vec<u8> {
        let ids: Vec<String> =
            self.layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "comment": self.comment,
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        // Not as any program of ours would write it.
        format!(" {config:#}\n").into_bytes()
    }

    pub(crate) fn id(&self) -> String {
        sha256(&self.config())
    }

    fn manifest(&self) -> Vec<u8> {
        let descriptor = |kind: &str, bytes: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": format!("sha256:{}", sha256(bytes)),
                "size": bytes.len(),
            })
        };
        let layers: Vec<Value> =
            self.layers.iter().map(|layer| descriptor("layer.v1.tar", layer)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "annotations": {"comment": self.comment},
            "config": descriptor("config.v1+json", &self.config()),
            "layers": layers,
        });
        format!("{manifest:#}").into_bytes()
    }

    /// How it is to be found in an archive in this layout, or in an export of it.
    pub(crate) fn found(&self, layout: Layout) -> Found {
        let manifest = (layout == Layout::Hybrid).then(|| sha256(&self.manifest()));
        Found {
            names: self.names.iter().cloned().collect(),
            config: self.id(),
            layers: self.layers.iter().map(|layer| sha256(layer)).collect(),
            manifests: manifest.into_iter().collect(),
        }
    }
}

/// An archive of these images.
pub(crate) fn archive(images: &[Image], layout: Layout, place: Place) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut items = Vec::new();
    let mut seen = BTreeMap::new();
    for (number, image) in images.iter().enumerate() {
        let mut paths = Vec::new();
        for (at, layer) in image.layers.iter().enumerate() {
            let v1 = sha256(format!("{number} {at}").as_bytes());
            paths.push(put_layer(&mut parts, &mut seen, layout, &v1, layer));
        }
        let id = image.id();
        let config = match layout {
            Layout::Hybrid => format!("blobs/sha256/{id}"),
            Layout::Legacy | Layout::Podman => format!("{id}.json"),
        };
        parts.push((config.clone(), Part::File(image.config())));
        let tags = if image.names.is_empty() { Value::Null } else { json!(image.names) };
        items.push(json!({"Config": config, "RepoTags": tags, "Layers": paths}));
    }
    if layout == Layout::Hybrid {
        put_index(&mut parts, images);
    }
    let at = match place {
        Place::First => 0,
        Place::Middle => parts.len() / 2,
        Place::Last => parts.len(),
    };
    let list = Value::Array(items).to_string().into_bytes();
    parts.insert(at, ("manifest.json".to_owned(), Part::File(list)));
    write(&parts)
}

fn put_layer(
    parts: &mut Vec<(String, Part)>,
    seen: &mut BTreeMap<String, String>,
    layout: Layout,
    v1: &str,
    layer: &[u8],
) -> String {
    let digest = sha256(layer);
    let path = match layout {
        Layout::Legacy => format!("{v1}/layer.tar"),
        Layout::Hybrid => format!("blobs/sha256/{digest}"),
        Layout::Podman => format!("{digest}.tar"),
    };
    let before = seen.get(&digest).cloned();
    if before.is_none() {
        seen.insert(digest, path.clone());
        parts.push((path.clone(), Part::File(layer.to_vec())));
    }
    match (layout, before) {
        (Layout::Legacy, Some(before)) => {
            parts.push((path.clone(), Part::Link(format!("../{before}"))));
        }
        (Layout::Podman, _) => {
            parts.push((format!("{v1}/layer.tar"), Part::Link(format!("../{path}"))));
        }
        _ => {}
    }
    path
}

fn put_index(parts: &mut Vec<(String, Part)>, images: &[Image]) {
    let mut manifests = Vec::new();
    for image in images {
        let bytes = image.manifest();
        let digest = sha256(&bytes);
        for name in image.names.iter().map(Some).chain(image.names.is_empty().then_some(None)) {
            manifests.push(json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{digest}"),
                "size": bytes.len(),
                "annotations": {"io.containerd.image.name": name.map_or("", String::as_str)},
            }));
        }
        parts.push((format!("blobs/sha256/{digest}"), Part::File(bytes)));
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    parts.push(("index.json".to_owned(), Part::File(index.into_bytes())));
    let layout = br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec();
    parts.push(("oci-layout".to_owned(), Part::File(layout)));
}

fn write(parts: &[(String, Part)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut written = HashSet::new();
    for (path, part) in parts {
        if !written.insert(path) {
            continue;
        }
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        match part {
            Part::File(bytes) => {
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
            }
            Part::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, path, target).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

/// A member as it was read.
struct Member {
    digest: String,
    link: Option<String>,
    /// The body, if it looks like a document.
    document: Vec<u8>,
}

/// The images of an archive by the digests of their configs.
pub(crate) fn images(archive: impl Read) -> BTreeMap<String, Found> {
    let members = members(archive);
    let list = &follow(&members, "manifest.json").document;
    // Docker reads one value and lets follow what may.
    let mut list = serde_json::Deserializer::from_slice(list).into_iter::<Value>();
    let list = list.next().unwrap().unwrap();
    let mut images: BTreeMap<String, Found> = BTreeMap::new();
    for item in list.as_array().unwrap() {
        let texts = |key: &str| {
            let list = item.get(key).or_else(|| item.get(key.to_lowercase()));
            let list = list.and_then(Value::as_array).cloned().unwrap_or_default();
            list.iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let config = item.get("Config").or_else(|| item.get("config")).unwrap().as_str().unwrap();
        let config = follow(&members, config).digest.clone();
        let layers = texts("Layers");
        let layers = layers.iter().map(|path| follow(&members, path).digest.clone());
        let new = Found {
            names: BTreeSet::new(),
            config: config.clone(),
            layers: layers.collect(),
            manifests: BTreeSet::new(),
        };
        images.entry(config).or_insert(new).names.extend(texts("RepoTags"));
    }
    if members.contains_key("index.json") && members.contains_key("oci-layout") {
        add_manifests(&members, &mut images);
    }
    images
}

fn add_manifests(members: &BTreeMap<String, Member>, images: &mut BTreeMap<String, Found>) {
    let index: Value = serde_json::from_slice(&follow(members, "index.json").document).unwrap();
    for descriptor in index["manifests"].as_array().into_iter().flatten() {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let Some(member) = members.get(&format!("blobs/sha256/{digest}")) else { continue };
        assert_eq!(member.digest, digest, "a manifest is not what its name says");
        let manifest: Value = serde_json::from_slice(&member.document).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap_or_default();
        if let Some(image) = images.get_mut(config.trim_start_matches("sha256:")) {
            image.manifests.insert(digest.to_owned());
        }
    }
}

fn follow<'m>(members: &'m BTreeMap<String, Member>, path: &str) -> &'m Member {
    let mut path = path.to_owned();
    loop {
        let member = members.get(&path).unwrap_or_else(|| panic!("no member {path}"));
        let Some(link) = &member.link else { return member };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        path = match link.strip_prefix("../") {
            Some(rest) => match folder.rsplit_once('/') {
                Some((above, _)) => format!("{above}/{rest}"),
                None => rest.to_owned(),
            },
            None if folder.is_empty() => link.clone(),
            None => format!("{folder}/{link}"),
        };
    }
}

fn members(archive: impl Read) -> BTreeMap<String, Member> {
    let mut archive = tar::Archive::new(archive);
    let mut members = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        let link = entry.link_name_bytes().filter(|_| !entry.header().entry_type().is_file());
        let link = link.map(|link| String::from_utf8_lossy(&link).into_owned());
        let mut hasher = Sha256::new();
        let mut document = Vec::new();
        entry.by_ref().take(8 << 20).read_to_end(&mut document).unwrap();
        hasher.update(&document);
        if !document
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
            .is_some_and(|&b| b == b'{' || b == b'[')
        {
            document = Vec::new();
        }
        io::copy(&mut entry, &mut Hashing(&mut hasher)).unwrap();
        let digest = hasher.finalize();
        let digest = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        members.insert(path, Member { digest, link, document });
    }
    // Whoever writes into a pipe must not find it closed before the last block.
    io::copy(&mut archive.into_inner(), &mut io::sink()).unwrap();
    members
}

struct Hashing<'h>(&'h mut Sha256);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
