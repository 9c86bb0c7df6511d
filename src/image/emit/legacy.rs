//! The layout of Docker 1.10 to 24: a folder for each layer, named by a v1 ID.
//!
//! No loader since Docker 1.10 looks at what v1 IDs are made of, and Docker's own
//! depend on its program; ours are hashes of what the layer stands on. Each layer
//! is in the archive once, and `manifest.json` names that file; where the same
//! layer has a second folder, a link stands in it, as Docker has it.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::documents::{self, Item};
use super::entries::{Entry, ancestors, parents};
use super::{DockerImage, DocumentKind, EmitBody, EmitMember, EmitPlan, blob, file, folder};
use crate::digest::Digest;
use crate::image::config::chain_id;
use crate::image::error::Error;
use crate::image::manifest::to_json;

const VERSION: &[u8] = b"1.0";
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The folders of layers, as they come about.
#[derive(Default)]
struct Folders {
    members: Vec<EmitMember>,
    /// v1 IDs whose folders are there.
    known: HashSet<Digest>,
    /// Where each layer is, by diff ID, and its length.
    files: HashMap<Digest, (String, u64)>,
}

/// Plans the archive. Artifacts have no place in it.
pub(super) fn plan(entries: &[Entry]) -> Result<EmitPlan, Error> {
    let mut folders = Folders::default();
    let mut configs: BTreeMap<Digest, &[u8]> = BTreeMap::new();
    let mut items = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<&str, String>> = BTreeMap::new();
    for entry in entries {
        if let Some(docker) = &entry.image.docker {
            configs.insert(docker.config, config_of(entry, docker)?);
        }
    }
    let ancestors = ancestors(entries);
    configs.extend(ancestors.iter().map(|it| (it.docker.config, it.config.as_slice())));
    let parents = parents(entries);
    for (docker, tags) in documents::listed(entries) {
        let config = configs.get(&docker.config).copied().unwrap_or_default();
        let (layers, top) = folders.image(docker, config)?;
        for reference in &tags {
            if let Some(top) = top {
                let tags = repositories.entry(reference.familiar_repository().to_owned());
                tags.or_default().insert(reference.tag(), top.hex());
            }
        }
        items.push(Item {
            config: config_path(&docker.config),
            repo_tags: (!tags.is_empty()).then_some(tags),
            layers,
            parent: parents.get(&docker.config).copied(),
            layer_sources: docker.layer_sources(),
        });
    }
    let mut members = vec![file("manifest.json", to_json(&items))];
    if !repositories.is_empty() {
        members.push(file("repositories", to_json(&repositories)));
    }
    let configs = configs.iter().map(|(digest, bytes)| file(&config_path(digest), bytes.to_vec()));
    members.extend(configs);
    members.extend(folders.members);
    Ok(EmitPlan::of(members))
}

fn config_path(digest: &Digest) -> String {
    format!("{}.json", digest.hex())
}

fn config_of<'e>(entry: &'e Entry, docker: &DockerImage) -> Result<&'e [u8], Error> {
    let configs = entry.image.documents.iter().filter(|it| it.kind == DocumentKind::Config);
    let mut configs = configs.map(|document| document.bytes.as_slice());
    configs.find(|bytes| Digest::of(bytes) == docker.config).ok_or(Error::ManifestMismatch {
        manifest: entry.image.root.digest,
        problem: "its config is another",
    })
}

impl Folders {
    /// Adds the folders of an image; returns where its layers are, and the v1 ID of
    /// the topmost.
    fn image(
        &mut self,
        docker: &DockerImage,
        config: &[u8],
    ) -> Result<(Vec<String>, Option<Digest>), Error> {
        let mut paths = Vec::new();
        let (mut parent, mut chain) = (None, None);
        for (at, layer) in docker.layers.iter().enumerate() {
            let top = at + 1 == docker.layers.len();
            chain = Some(chain_id(chain, layer.diff_id));
            let id = v1_id(chain, parent, top.then_some(docker.config));
            let path = format!("{}/layer.tar", id.hex());
            if self.known.insert(id) {
                let json = if top { v1_top(config) } else { v1_layer() };
                self.folder(id, parent, json);
                if layer.source.is_none() {
                    self.layer(path.clone(), layer.diff_id, layer.size)?;
                }
            }
            let file = self.files.get(&layer.diff_id);
            paths.push(file.map_or(path, |(file, _)| file.clone()));
            parent = Some(id);
        }
        Ok((paths, parent))
    }

    fn folder(&mut self, id: Digest, parent: Option<Digest>, mut json: Map<String, Value>) {
        json.insert("id".to_owned(), id.hex().into());
        if let Some(parent) = parent {
            json.insert("parent".to_owned(), parent.hex().into());
        }
        let id = id.hex();
        self.members.push(folder(&format!("{id}/")));
        self.members.push(file(&format!("{id}/VERSION"), VERSION.to_vec()));
        self.members.push(file(&format!("{id}/json"), to_json(&json)));
    }

    fn layer(&mut self, path: String, diff_id: Digest, size: u64) -> Result<(), Error> {
        let body = match self.files.get(&diff_id) {
            Some((file, known)) if *known == size => EmitBody::Link(format!("../{file}")),
            Some((_, expected)) => {
                let what = format!("layer {diff_id}");
                return Err(Error::LengthMismatch { what, expected: *expected, found: size });
            }
            None => {
                self.files.insert(diff_id, (path.clone(), size));
                self.members.push(blob(path, diff_id, size));
                return Ok(());
            }
        };
        self.members.push(EmitMember { path, body });
        Ok(())
    }
}

/// The topmost layer of an image stands for the image, so its ID is the image's own.
fn v1_id(chain: Option<Digest>, parent: Option<Digest>, config: Option<Digest>) -> Digest {
    let parts = [chain, parent, config].map(|part| part.map(|digest| digest.to_string()));
    Digest::of(parts.map(Option::unwrap_or_default).join(" ").as_bytes())
}

/// What is said of a layer that isn't the topmost.
fn v1_layer() -> Map<String, Value> {
    let mut json = Map::new();
    json.insert("created".to_owned(), EPOCH.into());
    json.insert("container_config".to_owned(), json!({"Cmd": [""]}));
    json
}

/// What is said of the topmost layer: all that the config says, but for what v1
/// doesn't know.
fn v1_top(config: &[u8]) -> Map<String, Value> {
    let config = serde_json::from_slice(config).unwrap_or_default();
    let mut json = if let Value::Object(fields) = config { fields } else { Map::new() };
    for field in ["rootfs", "history"] {
        json.remove(field);
    }
    json
}
