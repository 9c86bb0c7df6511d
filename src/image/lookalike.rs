//! What people take for an image archive, and what to do instead.
//!
//! Data only; who can tell them apart is the resolver.

use std::fmt;

/// Something that holds images or files, and is no image archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lookalike {
    /// A bundle of imgpkg, with a `manifest.json` of its own kind.
    Imgpkg,
    /// A package of Zarf: images are inside, one folder down.
    Zarf,
    /// The files of a container, as of `docker export`.
    Container,
    /// A file system.
    System,
    /// A Helm chart.
    Chart,
    /// An image archive or layout that was packed with the folder around it.
    Folder,
}

impl Lookalike {
    /// What can be done.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Imgpkg => {
                "copy it into a registry with `imgpkg copy --tar`, and save the images from there"
            }
            Self::Zarf => "unpack it and save its folder `images`",
            Self::Container => "save the image with `docker save` instead of `docker export`",
            Self::System => "a file system alone is no image: `docker import` makes one of it",
            Self::Chart => "save the images that the chart names",
            Self::Folder => "unpack it and save the folder inside",
        }
    }
}

impl fmt::Display for Lookalike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imgpkg => "a bundle of imgpkg",
            Self::Zarf => "a package of Zarf",
            Self::Container => "the files of one container",
            Self::System => "a file system",
            Self::Chart => "a Helm chart",
            Self::Folder => "a folder around an image archive",
        })
    }
}
