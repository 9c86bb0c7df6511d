//! What engines say, as far as we need it: their JSON, and what becomes of it.
//!
//! Every field that an engine may leave out, or have as `null`, is optional here; unknown ones
//! are passed over. Ids come with and without `sha256:` and end up as digests.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::digest::Digest;

/// Whose engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Docker, or one that is derived from it.
    Docker,
    /// Podman, by its API that is compatible with Docker's.
    Podman,
}

/// How an engine keeps images, and so which archives it accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageStore {
    /// Docker's graph drivers: image ids are digests of configs, layers known by their content.
    Graph,
    /// Docker with containerd's store: ids are digests of manifests or indexes.
    Containerd,
    /// Podman's.
    Podman,
}

/// What there is to say about an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Whose it is.
    pub product: Product,
    /// Its version, as `26.1.5`.
    pub version: String,
    /// The version of the API that is spoken with it, as `1.45`.
    pub api: (u32, u32),
    /// Its address.
    pub address: String,
    /// How it keeps images.
    pub image_store: ImageStore,
    /// Its operating system, as Go names it: `linux`.
    pub os: String,
    /// Its architecture, as Go names it: `amd64`.
    pub architecture: String,
    /// The variant of its architecture, if that is known: `v7`.
    pub variant: Option<String>,
}

impl fmt::Display for About {
    /// As people name it, without what a distribution appends: `docker 26.1.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let product = match self.product {
            Product::Docker => "docker",
            Product::Podman => "podman",
        };
        let version = self.version.split(['+', '~']).next().unwrap_or_default();
        write!(f, "{product} {version}")
    }
}

/// An image as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// The engine's id of it.
    pub id: Digest,
    /// Its names, each with a tag; none for one that is untagged.
    pub names: Vec<String>,
    /// Its names with the digests that they had in a registry.
    pub repo_digests: Vec<String>,
    /// Bytes of its layers, as the engine counts them.
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

/// An image in an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// The engine's id of it: of the config, or with containerd's store of what the name leads to.
    pub id: Digest,
    /// Its names, each with a tag.
    pub names: Vec<String>,
    /// Its names with the digests that they had in a registry.
    pub repo_digests: Vec<String>,
    /// Digests of its layers' content, from the lowest.
    pub diff_ids: Vec<Digest>,
    /// Bytes, as the engine counts them.
    pub size: u64,
    /// Operating system, as Go names it.
    pub os: String,
    /// Architecture, as Go names it.
    pub architecture: String,
    /// Variant of the architecture.
    pub variant: Option<String>,
    /// The image that the classic builder made it from.
    pub parent: Option<Digest>,
    /// When it was made, as the config says.
    pub created: Option<String>,
    /// What the name leads to in containerd's store, where the engine says so (API 1.48).
    pub descriptor: Option<ImageDescriptor>,
}

/// What a name leads to: a manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDescriptor {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
}

/// The answer to `/version`.
#[derive(Deserialize)]
pub(super) struct VersionAnswer {
    #[serde(rename = "Version")]
    pub(super) version: String,
    #[serde(rename = "ApiVersion")]
    pub(super) api: String,
    #[serde(rename = "MinAPIVersion")]
    pub(super) api_min: Option<String>,
    #[serde(rename = "Os", default)]
    pub(super) os: String,
    #[serde(rename = "Arch", default)]
    pub(super) arch: String,
    #[serde(rename = "Components", default, deserialize_with = "nullable")]
    pub(super) components: Vec<Component>,
}

#[derive(Deserialize)]
pub(super) struct Component {
    #[serde(rename = "Name", default)]
    pub(super) name: String,
}

/// The answer to `/info`.
#[derive(Deserialize)]
pub(super) struct InfoAnswer {
    #[serde(rename = "DriverStatus", default, deserialize_with = "nullable")]
    pub(super) driver_status: Vec<Vec<String>>,
    #[serde(rename = "Architecture", default)]
    pub(super) architecture: String,
}

/// An entry of `/images/json`.
#[derive(Deserialize)]
pub(super) struct ListAnswer {
    #[serde(rename = "Id", deserialize_with = "digest")]
    id: Digest,
    #[serde(rename = "RepoTags", default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(rename = "RepoDigests", default, deserialize_with = "nullable")]
    repo_digests: Vec<String>,
    #[serde(rename = "Size", default)]
    size: i64,
    #[serde(rename = "Created", default)]
    created: i64,
}

/// The answer to `/images/NAME/json`.
#[derive(Deserialize)]
pub(super) struct ImageAnswer {
    #[serde(rename = "Id", deserialize_with = "digest")]
    id: Digest,
    #[serde(rename = "RepoTags", default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(rename = "RepoDigests", default, deserialize_with = "nullable")]
    repo_digests: Vec<String>,
    #[serde(rename = "RootFS", default)]
    root: Option<RootAnswer>,
    #[serde(rename = "Size", default)]
    size: i64,
    #[serde(rename = "Os", default, deserialize_with = "nullable")]
    os: String,
    #[serde(rename = "Architecture", default, deserialize_with = "nullable")]
    architecture: String,
    #[serde(rename = "Variant")]
    variant: Option<String>,
    #[serde(rename = "Parent")]
    parent: Option<String>,
    #[serde(rename = "Created")]
    created: Option<String>,
    #[serde(rename = "Descriptor")]
    descriptor: Option<DescriptorAnswer>,
}

#[derive(Deserialize)]
struct RootAnswer {
    #[serde(rename = "Layers", default, deserialize_with = "nullable")]
    layers: Vec<Digest>,
}

#[derive(Deserialize)]
struct DescriptorAnswer {
    digest: Digest,
    #[serde(rename = "mediaType", default)]
    media_type: String,
}

/// An entry of `/images/NAME/history`.
#[derive(Deserialize)]
pub(super) struct HistoryAnswer {
    #[serde(rename = "Id", default)]
    pub(super) id: String,
}

/// A message on the way of a load, or a refusal.
#[derive(Deserialize, Default)]
pub(super) struct Message {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) stream: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) error: String,
    #[serde(rename = "errorDetail", default, deserialize_with = "nullable")]
    pub(super) detail: ErrorDetail,
    #[serde(rename = "message", default, deserialize_with = "nullable")]
    pub(super) refusal: String,
}

#[derive(Deserialize, Default)]
pub(super) struct ErrorDetail {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) message: String,
}

impl Message {
    /// What went wrong, if this is an error.
    pub(super) fn failure(&self) -> Option<&str> {
        [&self.detail.message, &self.error]
            .into_iter()
            .find(|it| !it.is_empty())
            .map(String::as_str)
    }
}

impl From<ListAnswer> for ListedImage {
    fn from(answer: ListAnswer) -> Self {
        Self {
            id: answer.id,
            names: real_names(answer.names),
            repo_digests: real_names(answer.repo_digests),
            size: answer.size.try_into().unwrap_or(0),
            created: answer.created,
        }
    }
}

impl From<ImageAnswer> for EngineImage {
    fn from(answer: ImageAnswer) -> Self {
        let descriptor = answer
            .descriptor
            .map(|it| ImageDescriptor { digest: it.digest, media_type: it.media_type });
        Self {
            id: answer.id,
            names: real_names(answer.names),
            repo_digests: real_names(answer.repo_digests),
            diff_ids: answer.root.map_or_else(Vec::new, |root| root.layers),
            size: answer.size.try_into().unwrap_or(0),
            os: answer.os,
            architecture: answer.architecture,
            variant: answer.variant.filter(|it| !it.is_empty()),
            parent: answer.parent.and_then(|id| parse_id(&id)),
            created: answer.created.filter(|it| !it.is_empty()),
            descriptor,
        }
    }
}

/// Names without those that stand for none: `<none>:<none>`, `<none>@<none>`.
fn real_names(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| !name.contains("<none>")).collect()
}

/// An id, with or without `sha256:`.
pub(super) fn parse_id(text: &str) -> Option<Digest> {
    Digest::from_hex(text.strip_prefix("sha256:").unwrap_or(text)).ok()
}

/// Go's names of architectures, and variants, for what a kernel calls them.
pub(super) fn variant_of(machine: &str) -> Option<&'static str> {
    match machine {
        "armv7l" => Some("v7"),
        "armv6l" => Some("v6"),
        "armv5tel" | "armv5l" => Some("v5"),
        _ => None,
    }
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_id(&text).ok_or_else(|| serde::de::Error::custom("an image's id is no digest"))
}

/// `null` as what stands for nothing.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
