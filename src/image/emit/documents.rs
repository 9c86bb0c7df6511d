//! The documents at the top of an archive: `index.json` and `manifest.json`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::entries::{Entry, ancestors, parents};
use super::{DockerImage, blob_path};
use crate::digest::Digest;
use crate::image::manifest::{Descriptor, Index, to_json};
use crate::image::media_type;
use crate::image::reference::Reference;

/// What says that a file tree is an OCI layout.
pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

/// One item of `manifest.json`. Docker writes `null` for no tags, and every
/// loader takes that.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item<'a> {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<&'a Reference>>,
    pub(super) layers: Vec<String>,
    /// Image ID of the image that it was built on, if that is listed as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Digest>,
    /// Where layers come from that the archive doesn't hold. Of other layers it
    /// must not speak: readers take what it says for foreign.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) layer_sources: BTreeMap<String, Value>,
}

/// `index.json`.
pub(super) fn index(entries: &[Entry]) -> Vec<u8> {
    let media_type = Some(media_type::OCI_INDEX.to_owned());
    to_json(&Index { schema_version: 2, media_type, manifests: descriptors(entries) })
}

/// What `index.json` lists: one descriptor for each root and tag, then what is about
/// them. containerd takes the full name, Podman and other OCI tools the tag.
pub(super) fn descriptors(entries: &[Entry]) -> Vec<Descriptor> {
    let mut manifests = Vec::new();
    for entry in entries {
        let named = entry.references.iter().map(|reference| {
            let name = (CONTAINERD_NAME.to_owned(), reference.to_string());
            let tag = (OCI_NAME.to_owned(), reference.tag().to_owned());
            Descriptor { annotations: BTreeMap::from([name, tag]), ..entry.image.root.clone() }
        });
        manifests.extend(named);
        if entry.references.is_empty() {
            manifests.push(entry.image.root.clone());
        }
    }
    let referrers = entries.iter().flat_map(|entry| &entry.image.referrers);
    for referrer in referrers {
        if manifests.iter().all(|other| other.digest != referrer.digest) {
            manifests.push(referrer.clone());
        }
    }
    manifests
}

/// What `manifest.json` lists: each image with its names, then what they were built on,
/// since some readers take the first of all.
pub(super) fn listed(entries: &[Entry]) -> Vec<(&DockerImage, Vec<&Reference>)> {
    let images = entries.iter().filter_map(|entry| {
        let docker = entry.image.docker.as_ref()?;
        Some((docker, entry.references.iter().collect()))
    });
    let ancestors = ancestors(entries).into_iter();
    images.chain(ancestors.map(|ancestor| (&ancestor.docker, Vec::new()))).collect()
}

/// `manifest.json`: one item for each image.
pub(super) fn list(entries: &[Entry]) -> Vec<u8> {
    let parents = parents(entries);
    let item = |(docker, tags): (&DockerImage, Vec<_>)| Item {
        config: blob_path(&docker.config),
        repo_tags: (!tags.is_empty()).then_some(tags),
        layers: docker.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
        parent: parents.get(&docker.config).copied(),
        layer_sources: docker.layer_sources(),
    };
    to_json(&listed(entries).into_iter().map(item).collect::<Vec<_>>())
}
