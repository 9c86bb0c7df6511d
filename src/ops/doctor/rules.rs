//! Which programs take an archive of what shape, and why not.
//!
//! Each rule is a small function over a [`Shape`]; each program is a list of them.
//! Said of releases up to the middle of 2026.

use super::shape::Shape;
use crate::image::Compression;

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The archive is refused, or what comes of it is of no use.
    Refused(String),
    /// It is taken, and one thing is worth knowing.
    Note(String),
}

type Rule = fn(&Shape) -> Option<Finding>;

/// A program that reads image archives.
pub(super) struct Consumer {
    pub(super) name: &'static str,
    pub(super) rules: &'static [Rule],
}

/// The largest `manifest.json` and config that Podman and skopeo read.
const LIST_MAX: u64 = 1 << 20;
const CONFIG_MAX: u64 = 4 << 20;

/// All of them, engines first.
pub(super) const CONSUMERS: [Consumer; 13] = [
    Consumer {
        name: "Docker 20.10, graph drivers",
        rules: &[
            tar,
            outer_zstd,
            old_docker_needs_list,
            zstd_layers,
            no_images,
            missing_layers,
            xz_program,
            one_of_each_index,
            elsewhere,
            windows,
            colons,
            unnamed,
        ],
    },
    Consumer {
        name: "Docker 23 to 28, graph drivers",
        rules: &[
            tar,
            old_docker_needs_list,
            no_images,
            missing_layers,
            xz_program,
            one_of_each_index,
            elsewhere,
            windows,
            colons,
            unnamed,
        ],
    },
    Consumer {
        name: "Docker 29, graph drivers",
        rules: &[
            tar,
            needs_list,
            no_images,
            missing_layers,
            xz_program,
            one_of_each_index,
            elsewhere,
            windows,
            colons,
            unnamed,
        ],
    },
    Consumer {
        name: "Docker, containerd store",
        rules: &[
            tar,
            needs_layout_or_list,
            odd_paths,
            links,
            old_compression,
            missing_in_containerd,
            hollow_for_docker,
            artifacts,
            windows,
            unnamed,
        ],
    },
    Consumer {
        name: "containerd (ctr)",
        rules: &[
            tar,
            needs_layout_or_list,
            odd_paths,
            links,
            old_compression,
            outer_odd,
            missing_in_containerd,
            hollow_for_host,
            outer_for_new_ctr,
            unnamed_in_containerd,
        ],
    },
    Consumer {
        name: "nerdctl",
        rules: &[
            tar,
            needs_layout_or_list,
            odd_paths,
            links,
            old_compression,
            outer_odd,
            missing_in_containerd,
            hollow_for_host,
            unnamed,
        ],
    },
    Consumer {
        name: "kind",
        rules: &[
            tar,
            outer_any,
            needs_layout_or_list,
            odd_paths,
            links,
            old_compression,
            hollow,
            missing_in_containerd,
        ],
    },
    Consumer {
        name: "k3s, RKE2",
        rules: &[
            tar,
            outer_xz,
            needs_layout_or_list,
            odd_paths,
            links,
            old_compression,
            hollow,
            missing_in_containerd,
            outer_by_name,
            unnamed,
        ],
    },
    Consumer {
        name: "Podman, Buildah",
        rules: &[
            containers_read,
            no_images,
            missing_in_podman,
            podman_reads_list,
            links,
            elsewhere,
            unnamed,
        ],
    },
    Consumer {
        name: "skopeo",
        rules: &[
            skopeo_reads,
            missing_in_podman,
            skopeo_name,
            skopeo_types,
            zstd_to_docker,
            elsewhere,
        ],
    },
    Consumer {
        name: "crane, kaniko and their kin",
        rules: &[tar, outer_any, needs_list, no_images, mixed, missing_refused, one_of_several],
    },
    Consumer { name: "umoci", rules: &[umoci_folder, umoci_types, umoci_zstd] },
    Consumer {
        name: "trivy, syft, dive",
        rules: &[needs_layout_or_list, no_images, missing_refused, scanners_layout, scanners_zstd],
    },
];

fn refused(when: bool, why: impl Into<String>) -> Option<Finding> {
    when.then(|| Finding::Refused(why.into()))
}

fn note(when: bool, what: impl Into<String>) -> Option<Finding> {
    when.then(|| Finding::Note(what.into()))
}

/// `1 layer`, `2 layers`
fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

// The archive as a whole.

fn outer_zstd(shape: &Shape) -> Option<Finding> {
    let zstd = shape.outer == Some(Compression::Zstd);
    refused(zstd, "it knows no zstd, which came with 23.0")
}

fn outer_any(shape: &Shape) -> Option<Finding> {
    refused(shape.outer.is_some(), "it takes a plain tar, not a compressed one")
}

fn outer_odd(shape: &Shape) -> Option<Finding> {
    let odd = matches!(shape.outer, Some(Compression::Bzip2 | Compression::Xz));
    refused(odd, "of compressions it knows gzip and zstd only")
}

fn outer_xz(shape: &Shape) -> Option<Finding> {
    refused(shape.outer == Some(Compression::Xz), "it knows no xz")
}

fn outer_for_new_ctr(shape: &Shape) -> Option<Finding> {
    note(shape.outer.is_some(), "compressed, it needs containerd 2 and no `--local`")
}

fn outer_by_name(shape: &Shape) -> Option<Finding> {
    note(shape.outer.is_some(), "the file's name must end as its compression says: .tar.gz, ...")
}

fn tar(shape: &Shape) -> Option<Finding> {
    refused(shape.folder, "it takes a tar, not a folder")
}

/// Of the layout of old Docker some programs know symbolic links only.
fn links(shape: &Shape) -> Option<Finding> {
    let what = "some layers are links: it follows symbolic ones, and not hard ones";
    note(shape.links > 0 && !shape.layout, what)
}

fn colons(shape: &Shape) -> Option<Finding> {
    note(shape.colons > 0, "names with `:` can't be unpacked on Windows")
}

// Documents.

fn needs_list(shape: &Shape) -> Option<Finding> {
    refused(!shape.list, "there is no `manifest.json`, and it reads nothing else")
}

fn old_docker_needs_list(shape: &Shape) -> Option<Finding> {
    // Of Docker before 1.10 there is another way to read it.
    let readable = shape.list || !shape.layout;
    refused(!readable, "there is no `manifest.json`, and it reads no OCI layout")
}

fn needs_layout_or_list(shape: &Shape) -> Option<Finding> {
    let readable = shape.list || shape.layout;
    refused(!readable, "there is neither an OCI layout nor a `manifest.json`")
}

fn odd_paths(shape: &Shape) -> Option<Finding> {
    let read = shape.list && !shape.layout;
    let why = "`manifest.json` has paths such as `./x`, which it looks for as written";
    refused(read && shape.odd_paths, why)
}

fn hollow(shape: &Shape) -> Option<Finding> {
    let why = "it imports all platforms, and an index lists";
    let listed = count(shape.hollow, "manifest");
    let read = shape.layout && shape.hollow > 0;
    refused(read, format!("{why} {listed} that the archive doesn't hold"))
}

fn hollow_for_host(shape: &Shape) -> Option<Finding> {
    let listed = count(shape.hollow, "manifest");
    let what = format!("an index lists {listed} that the archive doesn't hold: not with");
    note(shape.layout && shape.hollow > 0, format!("{what} `--all-platforms`"))
}

fn hollow_for_docker(shape: &Shape) -> Option<Finding> {
    let listed = count(shape.hollow, "manifest");
    let what = format!("an index lists {listed} that the archive doesn't hold: not with");
    note(shape.layout && shape.hollow > 0, format!("{what} `--platform`"))
}

fn one_of_each_index(shape: &Shape) -> Option<Finding> {
    let what = "of an index it takes the one image that `manifest.json` lists";
    note(shape.list && shape.more_platforms > 0, what)
}

fn unnamed(shape: &Shape) -> Option<Finding> {
    let images = count(shape.unnamed, "image");
    note(shape.unnamed > 0, format!("{images} will have no name"))
}

fn unnamed_in_containerd(shape: &Shape) -> Option<Finding> {
    let images = count(shape.unnamed, "image");
    note(shape.unnamed > 0, format!("{images} without a name: only with `--digests`"))
}

// Layers and what else images are made of.

fn zstd_layers(shape: &Shape) -> Option<Finding> {
    refused(shape.has("zstd"), "it knows no zstd layers, which came with 23.0")
}

fn xz_program(shape: &Shape) -> Option<Finding> {
    let xz = shape.has("xz") || shape.outer == Some(Compression::Xz);
    note(xz, "for xz, the program `xz` must be there")
}

fn old_compression(shape: &Shape) -> Option<Finding> {
    let old = shape.has("bzip2") || shape.has("xz");
    refused(old, "of layers it knows plain, gzip and zstd ones only")
}

fn mixed(shape: &Shape) -> Option<Finding> {
    refused(shape.layers.len() > 1, "it takes all layers to be compressed as the first one is")
}

/// How many layers there should be and are not.
fn absent(number: usize) -> String {
    let verb = if number == 1 { "isn't" } else { "aren't" };
    format!("{} {verb}", count(number, "layer"))
}

fn missing_layers(shape: &Shape) -> Option<Finding> {
    let what = absent(shape.missing);
    let what = format!("{what} in it: only where the engine has them, and all below");
    note(shape.missing > 0, what)
}

fn missing_in_containerd(shape: &Shape) -> Option<Finding> {
    let what = absent(shape.missing);
    if shape.layout {
        return note(shape.missing > 0, format!("{what} in it: only where it has them"));
    }
    refused(shape.missing > 0, format!("{what} in it, which `manifest.json` lists"))
}

fn missing_in_podman(shape: &Shape) -> Option<Finding> {
    let what = absent(shape.missing);
    if shape.layout && shape.entries == 1 {
        return note(shape.missing > 0, format!("{what} in it: only where it has them"));
    }
    refused(shape.missing > 0, format!("{what} in it, and it reads all of them"))
}

fn missing_refused(shape: &Shape) -> Option<Finding> {
    let missing = shape.missing + shape.elsewhere;
    let what = absent(missing);
    refused(missing > 0, format!("{what} in it, and it reads all of them"))
}

fn elsewhere(shape: &Shape) -> Option<Finding> {
    let what = count(shape.elsewhere, "layer");
    note(shape.elsewhere > 0, format!("{what} must be fetched from elsewhere"))
}

fn no_images(shape: &Shape) -> Option<Finding> {
    let none = shape.images == 0 && shape.artifacts > 0;
    refused(none, "what it holds is no image")
}

fn artifacts(shape: &Shape) -> Option<Finding> {
    let what = count(shape.artifacts, "artifact");
    note(shape.artifacts > 0, format!("{what} can be kept, and not be run"))
}

fn windows(shape: &Shape) -> Option<Finding> {
    let what = count(shape.windows, "image");
    note(shape.windows > 0, format!("{what} for Windows: only there"))
}

// Programs with ways of their own.

/// Both read an OCI layout, or else `manifest.json`, and that strictly.
fn containers_read(shape: &Shape) -> Option<Finding> {
    if shape.layout && shape.entries == 1 {
        return None;
    }
    if shape.list {
        return strict_list(shape);
    }
    let why = if shape.layout {
        "`index.json` doesn't list one thing alone, and there is no `manifest.json`"
    } else {
        "there is neither an OCI layout nor a `manifest.json`"
    };
    refused(true, why)
}

fn strict_list(shape: &Shape) -> Option<Finding> {
    refused(shape.list_goes_on, "more follows the list in `manifest.json`")
        .or_else(|| refused(shape.list_size > LIST_MAX, "`manifest.json` is larger than 1 MiB"))
        .or_else(|| refused(shape.config_size > CONFIG_MAX, "a config is larger than 4 MiB"))
}

fn podman_reads_list(shape: &Shape) -> Option<Finding> {
    let what = "as `index.json` lists several things, it reads `manifest.json`: \
                digests of manifests are made anew";
    note(shape.layout && shape.entries != 1 && shape.list, what)
}

fn skopeo_reads(shape: &Shape) -> Option<Finding> {
    if shape.layout {
        return None;
    }
    if shape.list {
        return strict_list(shape);
    }
    refused(true, "there is neither an OCI layout nor a `manifest.json`")
}

fn skopeo_name(shape: &Shape) -> Option<Finding> {
    let transport = if shape.list { "docker-archive:FILE:REF" } else { "oci-archive:FILE:TAG" };
    let several = if shape.list { shape.items > 1 } else { shape.entries > 1 };
    if !shape.list && shape.tags_twice > 0 {
        return note(
            true,
            "several images have the same tag, and it can tell them by no other name",
        );
    }
    note(several, format!("say which image: {transport}"))
}

fn skopeo_types(shape: &Shape) -> Option<Finding> {
    // With `manifest.json`, it can be read as a docker-archive.
    let only = shape.docker_types > 0 && !shape.list;
    note(only, "name no tag: among manifests of Docker's own types it finds none by its tag")
}

fn zstd_to_docker(shape: &Shape) -> Option<Finding> {
    note(shape.has("zstd"), "zstd layers: not to where Docker's manifests are needed")
}

fn one_of_several(shape: &Shape) -> Option<Finding> {
    note(shape.items > 1, "of several images it takes the one whose tag is given")
}

fn umoci_folder(shape: &Shape) -> Option<Finding> {
    if shape.layout && !shape.folder {
        let why = "it reads layouts as folders: unpack it, or `orlop export --format oci -o DIR/`";
        return refused(true, why);
    }
    refused(!shape.layout, "it reads OCI layouts as folders, and this is none")
}

fn umoci_types(shape: &Shape) -> Option<Finding> {
    let why = "it knows no manifests of Docker's own types: `orlop export --compression gzip` \
               makes them anew";
    refused(shape.layout && shape.docker_types > 0, why)
}

fn umoci_zstd(shape: &Shape) -> Option<Finding> {
    note(shape.has("zstd"), "0.4 fails on zstd layers")
}

fn scanners_layout(shape: &Shape) -> Option<Finding> {
    let name = if shape.folder { "oci-dir:DIR" } else { "oci-archive:FILE" };
    note(!shape.list, format!("dive reads no OCI layout; name it `{name}` for syft"))
}

fn scanners_zstd(shape: &Shape) -> Option<Finding> {
    note(shape.has("zstd"), "releases from before zstd layers fail on them")
}
