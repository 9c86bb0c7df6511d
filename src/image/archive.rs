//! What kind of archive it is, and what was odd about it.
//!
//! The kind is a guess from names: it says who probably wrote the archive, and
//! nothing that its content depends on.

use std::fmt;

use crate::digest::Digest;
use crate::image::manifest_json::Item;
use crate::image::members::MemberKind;
use crate::image::reference::Reference;
use crate::image::tree::Tree;

/// The shape of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// `docker save` of Docker 1.10 to 24: a folder for each layer.
    DockerLegacy,
    /// An OCI layout with a `manifest.json`, as of `docker save` since 25.
    DockerHybrid,
    /// Podman, Skopeo or Buildah `docker-archive`: layers by diff ID, and links.
    Podman,
    /// containerd and what is built on it, among them BuildKit and `docker save`
    /// with the containerd store: an OCI layout with a `manifest.json`.
    Containerd,
    /// crane, ko, kaniko and other tools on its library: the config is called
    /// `sha256:<hex>`, layers `<hex>.tar.gz`.
    Crane,
    /// Jib: the config is `config.json`, layers are `<hex>.tar.gz`.
    Jib,
    /// Bazel's `rules_oci`: blobs as in an OCI layout, without the layout.
    Bazel,
    /// Nix: each layer in a folder called by its diff ID.
    Nix,
    /// Any other archive with a `manifest.json`.
    DockerArchive,
    /// An OCI layout without a `manifest.json`.
    OciLayout,
    /// `docker save` of Docker before 1.10: no `manifest.json`.
    DockerV1,
}

/// Something odd that did no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Several members have this path; the last one was taken.
    DuplicateMember {
        /// The path.
        path: String,
    },
    /// Two images claim this reference; the last one got it.
    ReferenceTwice {
        /// The reference.
        reference: Reference,
    },
    /// The config's file name is not its digest.
    ConfigName {
        /// The member's path.
        path: String,
        /// The digest of its bytes.
        digest: Digest,
    },
    /// `index.json` lists something that `manifest.json` does not.
    NotListed {
        /// Its digest.
        digest: Digest,
    },
    /// The OCI manifest of an image describes other layers, or the same ones in
    /// another order, and was left aside.
    ManifestIgnored {
        /// Its digest.
        digest: Digest,
    },
    /// `index.json` lists something that the archive doesn't hold.
    RootAbsent {
        /// Its digest.
        digest: Digest,
    },
    /// Something that is listed is neither an image nor an artifact.
    NoImage {
        /// Its digest.
        digest: Digest,
        /// What it is said to be.
        media_type: String,
    },
    /// The only name of an image is no reference, such as a tag alone.
    NoRepository {
        /// The name.
        name: String,
    },
    /// A manifest and its config disagree on the number of layers.
    DiffIdCount {
        /// Digest of the manifest.
        digest: Digest,
        /// Count of `rootfs.diff_ids`.
        diff_ids: usize,
        /// Count of the manifest's layers.
        layers: usize,
    },
    /// `index.json` and `manifest.json` give different names to an image.
    NamesDiffer {
        /// Digest of its config.
        config: Digest,
    },
    /// `index.json` and `manifest.json` give different layers to an image, and
    /// both were taken.
    LayersDiffer {
        /// Digest of its config.
        config: Digest,
    },
}

impl Dialect {
    /// Of an archive with a `manifest.json` and no OCI layout.
    pub(super) fn of_docker(tree: &Tree<'_>, items: &[Item]) -> Self {
        let layers = || items.iter().flat_map(|item| &item.layers);
        let all = |shape: fn(&str) -> bool| {
            layers().next().is_some() && layers().all(|layer| shape(layer))
        };
        let has_links = || {
            let mut members = tree.members().iter();
            members.any(|member| {
                matches!(member.kind, MemberKind::Link { .. }) && is_in_folder(&member.path)
            })
        };
        let configs = |shape: fn(&str) -> bool| items.iter().all(|item| shape(&item.config));
        let legacy = |layer: &String| {
            layer.strip_suffix("layer.tar").is_some_and(|folder| tree.has(&format!("{folder}json")))
        };
        if configs(|config| config.starts_with("sha256:")) {
            Self::Crane
        } else if configs(|config| config == "config.json") && all(is_gzip) {
            Self::Jib
        } else if configs(|config| config.starts_with("blobs/sha256/")) {
            Self::Bazel
        } else if all(is_in_folder) {
            if layers().any(legacy) { Self::DockerLegacy } else { Self::Nix }
        } else if all(is_by_diff_id) && has_links() {
            Self::Podman
        } else {
            Self::DockerArchive
        }
    }

    /// Of an archive with a `manifest.json` and the OCI layout with this mark.
    pub(super) fn of_hybrid(mark: Option<&[u8]>) -> Self {
        // Docker writes it as a text of its own, with a blank.
        let blank = |mark: &[u8]| mark.contains(&b' ');
        if mark.is_some_and(blank) { Self::DockerHybrid } else { Self::Containerd }
    }

    /// A short name that never changes, for records.
    pub fn name(self) -> &'static str {
        match self {
            Self::DockerLegacy => "docker-legacy",
            Self::DockerHybrid => "docker-hybrid",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Crane => "crane",
            Self::Jib => "jib",
            Self::Bazel => "bazel",
            Self::Nix => "nix",
            Self::DockerArchive => "docker-archive",
            Self::OciLayout => "oci-layout",
            Self::DockerV1 => "docker-v1",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateMember { path } => {
                write!(f, "member `{path}` is there more than once; the last one counts")
            }
            Self::ReferenceTwice { reference } => {
                write!(f, "reference `{reference}` names two images; the last one has it")
            }
            Self::ConfigName { path, digest } => {
                write!(f, "config `{path}` is not named by its digest {digest}")
            }
            Self::NotListed { digest } => {
                write!(f, "`index.json` lists {digest}, which `manifest.json` does not; left out")
            }
            Self::ManifestIgnored { digest } => {
                write!(f, "manifest {digest} does not list the layers of its image; left aside")
            }
            Self::RootAbsent { digest } => {
                write!(f, "`index.json` lists {digest}, which is not in the archive; left out")
            }
            Self::NoImage { digest, media_type } => {
                write!(f, "{digest} is of the type `{media_type}` and no image; left out")
            }
            Self::NoRepository { name } => {
                write!(f, "`{name}` names no repository and tag; name the image with `--tag`")
            }
            Self::DiffIdCount { digest, diff_ids, layers } => {
                write!(f, "manifest {digest} lists {layers} layers, its config {diff_ids}")
            }
            Self::NamesDiffer { config } => {
                write!(
                    f,
                    "`index.json` and `manifest.json` name image {config} differently; it has \
                     all names"
                )
            }
            Self::LayersDiffer { config } => {
                write!(
                    f,
                    "`index.json` and `manifest.json` give different layers to image {config}; \
                     both are kept"
                )
            }
        }
    }
}

/// `<64 hex>/layer.tar`
fn is_in_folder(path: &str) -> bool {
    path.strip_suffix("/layer.tar").is_some_and(|hex| Digest::from_hex(hex).is_ok())
}

/// `<64 hex>.tar.gz`
fn is_gzip(path: &str) -> bool {
    path.strip_suffix(".tar.gz").is_some_and(|hex| Digest::from_hex(hex).is_ok())
}

/// `<64 hex>.tar`
fn is_by_diff_id(path: &str) -> bool {
    path.strip_suffix(".tar").is_some_and(|hex| Digest::from_hex(hex).is_ok())
}
