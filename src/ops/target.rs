//! What the programs that archives are made for accept, so that an export for one
//! of them is what it loads.
//!
//! Each program's rules are data; where they are silent, all goes. Said of their
//! releases up to the middle of 2026.

use super::export::Lack::{
    self, Ancestors, Artifacts, Folder, OciAlone, OddNames, Referrers, SeveralInOci, ZstdLayers,
};
use super::export::{ExportOptions, Form, LayerCompression};
use crate::image::Format;

/// A program that an archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Docker 20.10 and older ones from 1.10 on.
    Docker20,
    /// Docker since 23, with either of its image stores.
    Docker,
    /// containerd: `ctr` and `nerdctl`.
    Containerd,
    /// Podman.
    Podman,
    /// kind.
    Kind,
    /// k3s and RKE2.
    K3s,
    /// skopeo.
    Skopeo,
}

/// What a user asked for; what isn't given is the target's to choose.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The layout.
    pub format: Option<Format>,
    /// The compression of layers.
    pub layers: Option<LayerCompression>,
    /// The form of the archive as a whole.
    pub form: Form,
    /// Whether it is to be a folder.
    pub folder: bool,
    /// The name of the file, unless it is a stream.
    pub name: Option<&'a str>,
}

/// What a target doesn't take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target} does not load {what}")]
pub struct Refusal {
    target: &'static str,
    what: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

/// What a program accepts.
struct Rules {
    name: &'static str,
    /// Forms of the archive as a whole.
    forms: &'static [Form],
    lacks: &'static [Lack],
}

impl Target {
    fn rules(self) -> Rules {
        let all: &'static [Form] = &[Form::Plain, Form::Gzip, Form::Zstd];
        let (no_zstd, plain) = (&all[..2], &all[..1]);
        let (name, forms, lacks): (_, _, &[Lack]) = match self {
            // zstd is known since 23.0, and `index.json` is not looked at.
            Self::Docker20 => {
                let lacks = &[OciAlone, Artifacts, Referrers, ZstdLayers, Folder];
                ("docker-20", no_zstd, lacks)
            }
            // Its graph drivers need `manifest.json`.
            Self::Docker => ("docker", all, &[OciAlone, Artifacts, Folder]),
            // Before 2.0 it takes a plain tar only, and `ctr --local` still does. Neither it
            // nor what builds on it knows parent images.
            Self::Containerd => ("containerd", plain, &[Ancestors, Folder]),
            // It reads `index.json` where that has one entry, else `manifest.json`.
            // By the latter, each parent image is one more that it loads.
            Self::Podman => ("podman", all, &[Ancestors, SeveralInOci, Artifacts, Referrers]),
            // It hands the tar to `ctr` as it is.
            Self::Kind => ("kind", plain, &[Ancestors, Folder]),
            Self::K3s => ("k3s", all, &[Ancestors, Folder, OddNames]),
            // It can't make Docker's manifests for zstd layers. Where `manifest.json` lists
            // more than one image, it must be told which.
            Self::Skopeo => ("skopeo", all, &[Ancestors, ZstdLayers]),
        };
        Rules { name, forms, lacks }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.rules().name
    }

    /// What it can't take.
    pub fn lacks(self) -> &'static [Lack] {
        self.rules().lacks
    }

    /// Options for this target; what was wished for and it doesn't take is refused.
    pub fn options(self, wish: Wish<'_>) -> Result<ExportOptions, Refusal> {
        let Rules { name, forms, lacks } = self.rules();
        let options = ExportOptions { lacks, ..wish.options() };
        let refuse = |what, instead| Err(Refusal { target: name, what, instead });
        if options.format == Format::Oci && !options.takes(OciAlone) {
            return refuse("an OCI layout without `manifest.json`", "--format docker");
        }
        if options.layers == LayerCompression::Zstd && !options.takes(ZstdLayers) {
            return refuse("zstd layers", "--compression gzip");
        }
        if wish.folder && !options.takes(Folder) {
            return refuse("a folder", "-o FILE.tar");
        }
        if !forms.contains(&wish.form) {
            return match wish.form {
                Form::Zstd if forms.contains(&Form::Gzip) => {
                    refuse("an archive in zstd", "-o FILE.tar.gz")
                }
                _ => refuse("a compressed archive", "-o FILE.tar"),
            };
        }
        let endings = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"];
        let known = |name: &str| endings.iter().any(|ending| name.ends_with(ending));
        if !options.takes(OddNames) && wish.name.is_some_and(|name| !known(name)) {
            return refuse("a file whose name doesn't say how it is compressed", "-o FILE.tar");
        }
        Ok(options)
    }
}

impl Wish<'_> {
    /// Options for whatever reads the archive.
    pub fn options(self) -> ExportOptions {
        let format = self.format.unwrap_or_default();
        let usual = match format {
            Format::DockerLegacy => LayerCompression::None,
            Format::Docker | Format::Oci => LayerCompression::Keep,
        };
        let layers = self.layers.unwrap_or(usual);
        ExportOptions { format, layers, ..ExportOptions::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: [Target; 7] = [
        Target::Docker20,
        Target::Docker,
        Target::Containerd,
        Target::Podman,
        Target::Kind,
        Target::K3s,
        Target::Skopeo,
    ];

    /// The targets that refuse a wish.
    fn refusing(wish: Wish<'_>) -> Vec<&'static str> {
        let refuses = |target: &Target| target.options(wish).is_err();
        TARGETS.into_iter().filter(refuses).map(Target::name).collect()
    }

    #[test]
    fn the_default_is_for_all() {
        assert!(refusing(Wish::default()).is_empty());
        for target in TARGETS {
            let options = target.options(Wish::default()).unwrap();
            let kept = (options.format, options.layers);
            assert_eq!(kept, (Format::Docker, LayerCompression::Keep), "{}", target.name());
        }
    }

    #[test]
    fn each_refuses_what_it_can_not_load() {
        let wish = Wish::default();
        let oci = Wish { format: Some(Format::Oci), ..wish };
        assert_eq!(refusing(oci), ["docker-20", "docker"]);
        let zstd = Wish { layers: Some(LayerCompression::Zstd), ..wish };
        assert_eq!(refusing(zstd), ["docker-20", "skopeo"]);
        let gzip = Wish { form: Form::Gzip, name: Some("a.tgz"), ..wish };
        assert_eq!(refusing(gzip), ["containerd", "kind"]);
        let zstd = Wish { form: Form::Zstd, name: Some("a.tar.zst"), ..wish };
        assert_eq!(refusing(zstd), ["docker-20", "containerd", "kind"]);
        let folder = Wish { folder: true, format: Some(Format::Oci), ..wish };
        assert_eq!(refusing(folder), ["docker-20", "docker", "containerd", "kind", "k3s"]);
        assert_eq!(refusing(Wish { name: Some("a.image"), ..wish }), ["k3s"]);
    }
}
