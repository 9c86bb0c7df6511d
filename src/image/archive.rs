//! What was found in an image archive: images, the archive's shape, and what
//! was odd about it.
//!
//! Data only, made by the resolver; refers to members by index. The shape is a
//! guess from names: it says who probably wrote the archive, and nothing that
//! its content depends on.

use std::fmt;

use crate::digest::Digest;
use crate::image::config::Config;
use crate::image::manifest_json::Item;
use crate::image::members::MemberKind;
use crate::image::reference::Reference;
use crate::image::tree::Tree;

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Who wrote it, as far as its shape tells.
    pub dialect: Dialect,
    /// The images, each config once, in the order of `manifest.json`.
    pub images: Vec<ArchiveImage>,
    /// What the user may want to know.
    pub warnings: Vec<Warning>,
}

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveImage {
    /// The config's bytes.
    pub config: Vec<u8>,
    /// Their digest: the image ID.
    pub config_digest: Digest,
    /// The member that holds them.
    pub config_path: String,
    /// A view of the config.
    pub parsed: Config,
    /// Its names; none, one or several, each once.
    pub references: Vec<Reference>,
    /// Its layers, lowest first.
    pub layers: Vec<ArchiveLayer>,
    /// The bytes of the OCI manifest that came with it and describes exactly
    /// these config and plain layers.
    pub manifest: Option<Vec<u8>>,
}

/// One layer of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLayer {
    /// The digest that its plain tar must have.
    pub diff_id: Digest,
    /// Index of the member with the body, links followed.
    pub member: usize,
}

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
    /// Any other archive with a `manifest.json`.
    DockerArchive,
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
}

impl Dialect {
    pub(super) fn of(tree: &Tree<'_>, items: &[Item], hybrid: bool) -> Self {
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
        if hybrid {
            Self::DockerHybrid
        } else if all(is_in_folder) {
            Self::DockerLegacy
        } else if all(is_by_diff_id) && has_links() {
            Self::Podman
        } else {
            Self::DockerArchive
        }
    }

    /// A short name that never changes, for records.
    pub fn name(self) -> &'static str {
        match self {
            Self::DockerLegacy => "docker-legacy",
            Self::DockerHybrid => "docker-hybrid",
            Self::Podman => "podman",
            Self::DockerArchive => "docker-archive",
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
        }
    }
}

/// `<64 hex>/layer.tar`
fn is_in_folder(path: &str) -> bool {
    path.strip_suffix("/layer.tar").is_some_and(|hex| Digest::from_hex(hex).is_ok())
}

/// `<64 hex>.tar`
fn is_by_diff_id(path: &str) -> bool {
    path.strip_suffix(".tar").is_some_and(|hex| Digest::from_hex(hex).is_ok())
}
