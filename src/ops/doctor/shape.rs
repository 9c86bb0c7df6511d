//! What consumers of image archives look at: the shape of an archive.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use crate::image::{
    Bodies, Compression, Contents, FoundConfig, FoundManifest, Manifest, ManifestKind, Member,
    MemberKind, resolve,
};

/// What an archive is like. Counts, where 0 is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Shape {
    /// Who wrote it, as far as that shows.
    pub dialect: &'static str,
    /// Whether it is a folder, and no tar.
    pub folder: bool,
    /// How the file as a whole is compressed.
    pub outer: Option<Compression>,
    /// Whether it is an OCI layout.
    pub layout: bool,
    /// Whether it has a `manifest.json`.
    pub list: bool,
    /// Whether more follows the one JSON value of `manifest.json`.
    pub list_goes_on: bool,
    /// Bytes of `manifest.json`.
    pub list_size: u64,
    /// Images in `manifest.json`.
    pub items: usize,
    /// Whether `manifest.json` has paths that are not quite the members' own.
    pub odd_paths: bool,
    /// Descriptors in `index.json`.
    pub entries: usize,
    /// Those of them that are manifests or lists of Docker's own types.
    pub docker_types: usize,
    /// Images that can run.
    pub images: usize,
    /// Roots that are no images.
    pub artifacts: usize,
    /// Images beyond the first of an index.
    pub more_platforms: usize,
    /// Images for Windows.
    pub windows: usize,
    /// Roots without a name.
    pub unnamed: usize,
    /// Tags that stand for several images, since repositories don't count.
    pub tags_twice: usize,
    /// Manifests that an index lists and the archive doesn't hold.
    pub hollow: usize,
    /// Layers that the archive should hold and doesn't.
    pub missing: usize,
    /// Layers that are to be fetched from elsewhere.
    pub elsewhere: usize,
    /// Links to layers.
    pub links: usize,
    /// In what forms layers are; `None` is plain.
    pub layers: BTreeSet<Option<&'static str>>,
    /// Bytes of the largest config.
    pub config_size: u64,
    /// Members whose names have a colon.
    pub colons: usize,
}

/// How the layer that is a member is compressed.
pub(super) type Heads<'f> = &'f dyn Fn(usize) -> Option<Compression>;

impl Shape {
    /// The shape of an archive with these members, of which `bodies` has the
    /// documents.
    pub(super) fn of(
        members: &[Member],
        bodies: Bodies<'_, '_>,
        heads: Heads<'_>,
    ) -> Result<Self, crate::image::Error> {
        let contents = resolve(members, bodies)?;
        let mut shape = Self { dialect: contents.dialect.name(), ..Self::default() };
        shape.look_at_documents(members, bodies);
        shape.look_at_roots(&contents, members, heads);
        let colons = members.iter().filter(|member| member.path.contains(':'));
        shape.colons = colons.count();
        Ok(shape)
    }

    fn look_at_documents(&mut self, members: &[Member], bodies: Bodies<'_, '_>) {
        // The last of several counts.
        let by_path: HashMap<&str, usize> =
            members.iter().map(|member| (member.path.as_str(), member.index)).collect();
        let body = |path: &str| by_path.get(path).and_then(|index| bodies(*index));
        if let Some(index) = body("index.json").filter(|_| by_path.contains_key("oci-layout")) {
            let index: Value = serde_json::from_slice(index).unwrap_or_default();
            self.layout = true;
            let entries = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
            self.entries = entries.len();
            let kind = |entry: &Value| entry["mediaType"].as_str().unwrap_or_default().to_owned();
            let docker = |entry: &&Value| kind(entry).starts_with("application/vnd.docker.");
            self.docker_types = entries.iter().filter(docker).count();
        }
        let Some(list) = body("manifest.json") else { return };
        self.list = true;
        self.list_size = list.len() as u64;
        self.list_goes_on = serde_json::from_slice::<Value>(list).is_err();
        let first = serde_json::Deserializer::from_slice(list).into_iter::<Value>().next();
        let items = first.and_then(Result::ok).unwrap_or_default();
        let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
        self.items = items.len();
        let named = |text: &Value| {
            let text = text.as_str().unwrap_or_default();
            text.starts_with("./") || text.starts_with('/') || text.contains("//")
        };
        let layers = |item: &Value| item["Layers"].as_array().cloned().unwrap_or_default();
        let odd = |item: &Value| named(&item["Config"]) || layers(item).iter().any(named);
        self.odd_paths = items.iter().any(odd);
    }

    fn look_at_roots(&mut self, contents: &Contents, members: &[Member], heads: Heads<'_>) {
        let mut tags: HashMap<&str, usize> = HashMap::new();
        let mut paths = HashSet::new();
        for root in &contents.roots {
            let images = |manifest: &&FoundManifest| manifest.kind == ManifestKind::Image;
            let count = root.manifests.iter().filter(images).count();
            self.images += count;
            self.more_platforms += count.saturating_sub(1);
            self.artifacts += usize::from(count == 0);
            self.unnamed += usize::from(root.references.is_empty());
            self.hollow += root.not_shipped.len();
            for reference in &root.references {
                *tags.entry(reference.tag()).or_default() += 1;
            }
            for manifest in root.manifests.iter().filter(images) {
                self.look_at_image(manifest, (members, heads), &mut paths);
            }
        }
        let links = members.iter().filter(|member| match &member.kind {
            MemberKind::Link { target: Some(target), .. } => paths.contains(target.as_str()),
            _ => false,
        });
        self.links = links.count();
        self.tags_twice = tags.values().filter(|count| **count > 1).count();
    }

    /// Adds the paths of its layers to `paths`.
    fn look_at_image<'m>(
        &mut self,
        manifest: &FoundManifest,
        (members, heads): (&'m [Member], Heads<'_>),
        paths: &mut HashSet<&'m str>,
    ) {
        self.windows += usize::from(manifest.platform.os == "windows");
        if let FoundConfig::Given { document, .. } = &manifest.config {
            self.config_size = self.config_size.max(document.bytes.len() as u64);
        }
        for layer in &manifest.layers {
            let Some(member) = layer.member else {
                if layer.foreign {
                    self.elsewhere += 1;
                } else if layer.inline_body().is_none() {
                    self.missing += 1;
                }
                continue;
            };
            let form = heads(member).map(|compression| match compression {
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
                Compression::Bzip2 => "bzip2",
                Compression::Xz => "xz",
            });
            self.layers.insert(form);
            paths.insert(&members[member].path);
        }
    }

    /// Whether some layer is in this form.
    pub(super) fn has(&self, form: &str) -> bool {
        self.layers.contains(&Some(form))
    }
}

/// How blobs are compressed by what the manifests among these bodies say.
pub(super) fn by_manifests<'b>(
    bodies: impl Iterator<Item = &'b [u8]>,
) -> HashMap<crate::digest::Digest, Compression> {
    let manifests = bodies.filter_map(|body| Manifest::parse(body).ok());
    let layers = manifests.flat_map(|manifest| manifest.layers);
    layers
        .filter_map(|layer| {
            let gzip = layer.media_type.ends_with("gzip");
            let zstd = layer.media_type.ends_with("zstd");
            let form = if gzip { Compression::Gzip } else { Compression::Zstd };
            (gzip || zstd).then_some((layer.digest, form))
        })
        .collect()
}
