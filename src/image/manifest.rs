//! Image manifests and indexes: views beside the bytes, and the one manifest
//! that orlop makes itself.
//!
//! A manifest that was given is stored and given back as its bytes. Only a
//! docker archive brings none; [`make_manifest`] makes the same bytes for it
//! that Docker 25.0.3 and later put in their own archives, so both have the
//! same digest. That output is frozen: stored images are named by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::image::media_type;

/// What a manifest or index says about another blob (descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// Which blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where else it can be had; for foreign layers.
    #[serde(default, deserialize_with = "null_as_empty", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free texts by key.
    #[serde(
        default,
        deserialize_with = "null_as_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The blob itself in base64, if it is a small one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What it runs on; in an index only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact the blob is the manifest of, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// What an image runs on, by Go's names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Operating system, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// Variant of the architecture, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Version of the operating system (Windows).
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// A view of an image manifest, OCI or Docker schema 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2 today.
    pub schema_version: u32,
    /// OCI allows leaving it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is the manifest of, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image's config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
}

/// A view of an image index or manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2 today.
    pub schema_version: u32,
    /// OCI allows leaving it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it lists, in order.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub manifests: Vec<Descriptor>,
}

impl Manifest {
    /// Reads the view from the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl Index {
    /// Reads the view from the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl Descriptor {
    /// A descriptor of nothing but type, digest and length in bytes.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }
}

/// The OCI manifest of an image that was given without one: `layers` are diff
/// IDs and lengths in bytes of the plain layer tars, lowest first.
pub fn make_manifest(config: Digest, config_size: u64, layers: &[(Digest, u64)]) -> Vec<u8> {
    let plain =
        |&(diff_id, size): &(Digest, u64)| Descriptor::new(media_type::OCI_LAYER, diff_id, size);
    let layers: Vec<Descriptor> = layers.iter().map(plain).collect();
    make_manifest_of(config, config_size, &layers)
}

/// As [`make_manifest`], of layers in any form: `layers` stands in the manifest
/// as it is. Plain ones are of the type [`media_type::OCI_LAYER`].
pub fn make_manifest_of(config: Digest, config_size: u64, layers: &[Descriptor]) -> Vec<u8> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::new(media_type::OCI_CONFIG, config, config_size),
        layers: layers.to_vec(),
        subject: None,
    };
    to_json(&manifest)
}

/// The manifest that containerd makes of an image of plain layers in a Docker archive,
/// byte for byte.
pub fn make_docker_manifest(config: Digest, config_size: u64, layers: &[(Digest, u64)]) -> Vec<u8> {
    let layer =
        |&(digest, size): &(Digest, u64)| Descriptor::new(media_type::DOCKER_LAYER, digest, size);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::DOCKER_MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::new(media_type::DOCKER_CONFIG, config, config_size),
        layers: layers.iter().map(layer).collect(),
        subject: None,
    };
    to_json(&manifest)
}

/// Compact JSON, fields in the order they are declared, as Go marshals structs.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers, lists and maps with string keys always serialise, and
    // a Vec takes all bytes: there is no error to report.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Go writes nil lists and maps as `null`.
pub(crate) fn null_as_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Docker 26.1 with containerd's store made of `tests/data/hello/hello-1.tar`.
    #[test]
    fn the_manifest_that_containerd_makes() {
        let digest = |hex: &str| Digest::from_hex(hex).unwrap();
        let config = digest("8c0f0b01a2be1a9c1b711ee3834f3a8caf247a45150b4ccec0fd55aeaa6c9180");
        let layers = [
            ("423fe61dc98790b320fb3b4a3f0dd125c18fd1b9cbbd58c35a85455c625df482", 20_480),
            ("4d41b5f0ed7acbb8d2327de2b64caf9172566f4fe6cb8330a8c35bd7fda234e8", 61_952),
            ("7d2b30f5c0209c1b1c09297c27c7caf620a0a40963777714d5876eed8071d685", 3_584),
        ];
        let layers = layers.map(|(hex, size)| (digest(hex), size));
        let made = Digest::of(&make_docker_manifest(config, 2_965, &layers));
        let found = digest("7344667978b2323417c7b77d9947599bbf2cbe5eebc9ed12d7a87db373f0c446");
        assert_eq!(made, found);
    }

    #[test]
    fn made_manifests_are_frozen() {
        let made = make_manifest(Digest::of(b"config"), 6, &[(Digest::of(b"a"), 1024)]);
        let text = String::from_utf8(made).unwrap();
        assert_eq!(
            text,
            "{\"schemaVersion\":2,\
             \"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
             \"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\
             \"digest\":\"sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910\",\
             \"size\":6},\"layers\":[{\
             \"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\
             \"digest\":\"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\",\
             \"size\":1024}]}"
        );
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap().layers.len(), 1);
    }

    #[test]
    fn null_lists_are_empty() {
        let index = Index::parse(br#"{"schemaVersion":2,"manifests":null,"x":[1]}"#).unwrap();
        assert_eq!((index.manifests.len(), index.media_type), (0, None));
    }

    #[test]
    fn descriptors_keep_annotations_and_platform() {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{}","size":3,
            "annotations":{{"k":"v"}},"platform":{{"architecture":"arm","os":"linux",
            "variant":"v7"}},"data":"ignored"}}]}}"#,
            Digest::of(b"x")
        );
        let index = Index::parse(text.as_bytes()).unwrap();
        let descriptor = &index.manifests[0];
        assert_eq!(descriptor.annotations["k"], "v");
        let platform = descriptor.platform.as_ref().unwrap();
        assert_eq!((platform.os.as_str(), platform.variant.as_deref()), ("linux", Some("v7")));
    }
}
