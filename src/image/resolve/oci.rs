//! OCI layouts: from `index.json` down to the layers.
//!
//! Walks indexes to a limited depth, each blob once for each root. Every
//! document is compared with its descriptor before it is read, and may be only
//! one thing: an index or a manifest. What is listed and not in the archive is
//! noted, since an archive may leave out what the other side has.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::digest::Digest;
use crate::image::archive::Warning;
use crate::image::config::Config;
use crate::image::contents::{
    Document, FoundConfig, FoundLayer, FoundManifest, ManifestKind, Root,
};
use crate::image::error::{Error, shown};
use crate::image::manifest::{Descriptor, Index, Manifest, Platform};
use crate::image::media_type;
use crate::image::reference::Reference;
use crate::image::resolve::reader::{
    Fetched, Reader, blob_path, check_length, inline_data, not_valid,
};
use crate::image::resolve::{Found, INDEX, LAYOUT, State, Warnings};
use crate::image::small_bodies::MOST_OTHER;

/// The most indexes above a manifest, `index.json` aside.
const MOST_DEPTH: usize = 8;
/// The most layers of a manifest. Images have at most 127.
const MOST_LAYERS: usize = 10_000;

const FULL_NAME: &str = "io.containerd.image.name";
const NAME: &str = "org.opencontainers.image.ref.name";
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const ATTESTATION: &str = "attestation-manifest";

/// Compares the version of the layout mark at `place`; gives its bytes.
pub(super) fn check_layout<'b>(
    reader: &Reader<'_, '_, 'b>,
    place: usize,
) -> Result<Option<&'b [u8]>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Mark {
        image_layout_version: String,
    }
    let role = "layout mark";
    let Some(bytes) = reader.body(role, place)? else {
        return Ok(None);
    };
    let mark: Mark = serde_json::from_slice(bytes).map_err(not_valid(role, LAYOUT))?;
    let version = mark.image_layout_version;
    let is_known = version.strip_prefix("1.0.").is_some_and(|rest| rest.parse::<u32>().is_ok());
    if is_known { Ok(Some(bytes)) } else { Err(Error::LayoutVersion { found: shown(&version) }) }
}

/// Adds a root for each thing that the index at `place` lists.
pub(super) fn add_roots(
    reader: &Reader<'_, '_, '_>,
    place: usize,
    state: &mut State,
) -> Result<(), Error> {
    let Some(bytes) = reader.body("index", place)? else {
        return Ok(());
    };
    let index = Index::parse(bytes).map_err(not_valid("index", INDEX))?;
    let mut by_digest: HashMap<Digest, Option<usize>> = HashMap::new();
    for descriptor in &index.manifests {
        let at = if let Some(&at) = by_digest.get(&descriptor.digest) {
            at
        } else {
            state.listed += 1;
            let found = Walk { reader, warnings: &mut state.warnings }.root(descriptor)?;
            let at = found.is_some().then_some(state.found.len());
            state.found.extend(found);
            by_digest.insert(descriptor.digest, at);
            at
        };
        if let Some(at) = at {
            name(descriptor, at, state);
        }
    }
    Ok(())
}

/// Gives the root at `at` the name that its descriptor says.
fn name(descriptor: &Descriptor, at: usize, state: &mut State) {
    let texts = [FULL_NAME, NAME].map(|key| descriptor.annotations.get(key));
    let mut texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
    let reference = texts.clone().find_map(|text| Reference::parse_tagged(text).ok());
    if let Some(reference) = reference {
        state.names.claim(&reference, at, &mut state.found, &mut state.warnings);
    } else {
        let nameless = &mut state.found[at].nameless;
        *nameless = texts.next().map(|text| shown(text)).or(nameless.take());
    }
}

/// What a descriptor led to.
enum Node {
    Index(Document, Index),
    Manifest(Document, Box<Manifest>),
    /// Something that is neither.
    Other,
    Absent,
    Later,
}

/// Which keys a document has at its top.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

struct Walk<'r, 't, 'f, 'b> {
    reader: &'r Reader<'t, 'f, 'b>,
    warnings: &'r mut Warnings,
}

impl Walk<'_, '_, '_, '_> {
    /// The root that `descriptor` means; `None` if it is none or not there.
    fn root(&mut self, descriptor: &Descriptor) -> Result<Option<Found>, Error> {
        let digest = descriptor.digest;
        self.reader.count_descriptor(descriptor)?;
        let mut root = Root {
            references: Vec::new(),
            descriptor: Some(descriptor.clone()),
            indexes: Vec::new(),
            manifests: Vec::new(),
            not_shipped: Vec::new(),
            referrers: Vec::new(),
            ancestors: Vec::new(),
        };
        let mut subject = None;
        match self.node(descriptor)? {
            Node::Later => return Ok(None),
            Node::Absent => {
                self.warnings.push(Warning::RootAbsent { digest });
                return Ok(None);
            }
            Node::Other => {
                let media_type = shown(&descriptor.media_type);
                self.warnings.push(Warning::NoImage { digest, media_type });
                return Ok(None);
            }
            Node::Manifest(document, manifest) => {
                subject = manifest.subject.as_ref().map(|subject| subject.digest);
                root.manifests.extend(self.manifest(descriptor, document, &manifest)?);
            }
            Node::Index(document, index) => {
                let mut seen = HashSet::from([digest]);
                self.index(document, &index, 1, &mut root, &mut seen)?;
            }
        }
        Ok(Some(Found { subject, ..Found::new(root) }))
    }

    /// Adds an index and all that is below it.
    fn index(
        &mut self,
        document: Document,
        index: &Index,
        depth: usize,
        root: &mut Root,
        seen: &mut HashSet<Digest>,
    ) -> Result<(), Error> {
        if depth > MOST_DEPTH {
            let what = format!("the depth of index `{}`", blob_path(document.digest));
            let (limit, found) = (MOST_DEPTH as u64, depth as u64);
            return Err(Error::TooLarge { what, limit, found });
        }
        root.indexes.push(document);
        for descriptor in &index.manifests {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            match self.node(descriptor)? {
                Node::Later => {}
                Node::Index(document, index) => {
                    self.index(document, &index, depth + 1, root, seen)?;
                }
                Node::Manifest(document, manifest) => {
                    root.manifests.extend(self.manifest(descriptor, document, &manifest)?);
                }
                node @ (Node::Absent | Node::Other) => {
                    if matches!(node, Node::Other) {
                        let media_type = shown(&descriptor.media_type);
                        self.warnings
                            .push(Warning::NoImage { digest: descriptor.digest, media_type });
                    }
                    self.reader.count_descriptor(descriptor)?;
                    root.not_shipped.push(descriptor.clone());
                }
            }
        }
        Ok(())
    }

    /// The document that `descriptor` means, understood.
    fn node(&self, descriptor: &Descriptor) -> Result<Node, Error> {
        let given = descriptor.media_type.as_str();
        let known = media_type::is_index(given) || media_type::is_manifest(given);
        if !known && !given.is_empty() {
            return Ok(Node::Other);
        }
        let bytes = match self.reader.blob("manifest", descriptor)? {
            Fetched::Absent => return Ok(Node::Absent),
            Fetched::Later => return Ok(Node::Later),
            Fetched::Here(bytes) => bytes.into_owned(),
        };
        self.reader.count(bytes.len())?;
        let path = blob_path(descriptor.digest);
        let keys: Keys = serde_json::from_slice(&bytes).map_err(not_valid("manifest", &path))?;
        let is_like_index = keys.manifests.is_some();
        let is_like_manifest = keys.config.is_some() || keys.layers.is_some();
        let said = keys.media_type.unwrap_or_default();
        let media_type = if known { given } else { said.as_str() };
        let is_index = match media_type {
            "" => is_like_index,
            _ if media_type::is_index(media_type) => true,
            _ if media_type::is_manifest(media_type) => false,
            _ => return Ok(Node::Other),
        };
        // Two readers must not see two different things.
        let contradicts = !said.is_empty() && media_type::is_index(&said) != is_index;
        if contradicts || if is_index { is_like_manifest } else { is_like_index } {
            return Err(Error::Ambiguous { path });
        }
        let inferred = if is_index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
        let media_type = if media_type.is_empty() { inferred } else { media_type }.to_owned();
        let role = if is_index { "index" } else { "manifest" };
        let document = Document { digest: descriptor.digest, media_type, bytes };
        let not_valid = not_valid(role, &path);
        if is_index {
            let index = Index::parse(&document.bytes).map_err(not_valid)?;
            Ok(Node::Index(document, index))
        } else {
            let manifest = Manifest::parse(&document.bytes).map_err(not_valid)?;
            Ok(Node::Manifest(document, Box::new(manifest)))
        }
    }

    /// What a manifest is the manifest of; `None` if its config is to be fetched.
    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        document: Document,
        manifest: &Manifest,
    ) -> Result<Option<FoundManifest>, Error> {
        let count = manifest.layers.len();
        if count > MOST_LAYERS {
            let what = format!("the count of layers of `{}`", blob_path(document.digest));
            let (limit, found) = (MOST_LAYERS as u64, count as u64);
            return Err(Error::TooLarge { what, limit, found });
        }
        let Some(config) = self.config(&manifest.config)? else {
            return Ok(None);
        };
        let kind = kind(descriptor, manifest, &config);
        let diff_ids = match &config {
            FoundConfig::Given { parsed, .. } if kind == ManifestKind::Image => parsed.diff_ids(),
            _ => &[],
        };
        if kind == ManifestKind::Image
            && diff_ids.len() != count
            && matches!(config, FoundConfig::Given { .. })
        {
            let digest = document.digest;
            let (diff_ids, layers) = (diff_ids.len(), count);
            self.warnings.push(Warning::DiffIdCount { digest, diff_ids, layers });
        }
        let known = diff_ids.len() == count;
        let mut layers = Vec::with_capacity(count);
        for (at, layer) in manifest.layers.iter().enumerate() {
            let diff_id = known.then(|| diff_ids.get(at).copied()).flatten();
            layers.push(self.layer(layer, diff_id)?);
        }
        let platform = match (&descriptor.platform, &config) {
            (Some(platform), _) => platform.clone(),
            (None, FoundConfig::Given { parsed, .. }) => platform_of(parsed),
            (None, _) => Platform::default(),
        };
        Ok(Some(FoundManifest { document: Some(document), kind, platform, config, layers }))
    }

    /// The config of a manifest; `None` if it is to be fetched.
    fn config(&self, descriptor: &Descriptor) -> Result<Option<FoundConfig>, Error> {
        let is_image = is_image_config(&descriptor.media_type);
        let path = blob_path(descriptor.digest);
        // What isn't about an image may be anything, and large.
        if !is_image
            && let Some(place) = self.reader.tree.find_or_absent("config", &path)?
            && self.reader.tree.member(place).size > MOST_OTHER
        {
            return Ok(Some(FoundConfig::Blob(self.layer(descriptor, None)?)));
        }
        let bytes = match self.reader.blob("config", descriptor)? {
            Fetched::Here(bytes) => bytes.into_owned(),
            Fetched::Later => return Ok(None),
            Fetched::Absent => return Ok(Some(FoundConfig::Blob(self.layer(descriptor, None)?))),
        };
        self.reader.count(bytes.len())?;
        let parsed = match Config::parse(&bytes) {
            Ok(parsed) => parsed,
            Err(error) if is_image => return Err(not_valid("config", &path)(error)),
            Err(_) => Config::default(),
        };
        let given = descriptor.media_type.as_str();
        let media_type = if given.is_empty() { media_type::OCI_CONFIG } else { given }.to_owned();
        let document = Document { digest: descriptor.digest, media_type, bytes };
        Ok(Some(FoundConfig::Given { document, parsed, path }))
    }

    fn layer(&self, descriptor: &Descriptor, diff_id: Option<Digest>) -> Result<FoundLayer, Error> {
        self.reader.count_descriptor(descriptor)?;
        let path = blob_path(descriptor.digest);
        let member = self.reader.tree.find_or_absent("layer", &path)?;
        match member.map(|place| self.reader.tree.member(place).size) {
            // An empty member may stand for a layer that the other side has.
            Some(0) => {}
            Some(size) => check_length(&path, descriptor.size, size)?,
            None => drop(inline_data(descriptor)?),
        }
        let foreign = media_type::is_foreign(&descriptor.media_type);
        Ok(FoundLayer { path, descriptor: Some(descriptor.clone()), diff_id, member, foreign })
    }
}

/// Whether a config with this media type is read as that of an image.
fn is_image_config(media_type: &str) -> bool {
    media_type.is_empty() || media_type::is_config(media_type)
}

fn kind(descriptor: &Descriptor, manifest: &Manifest, config: &FoundConfig) -> ManifestKind {
    let platform = descriptor.platform.as_ref();
    let is_unknown =
        |platform: &Platform| platform.os == "unknown" && platform.architecture == "unknown";
    let says = descriptor.annotations.get(REFERENCE_TYPE).is_some_and(|text| text == ATTESTATION);
    if says || platform.is_some_and(is_unknown) {
        return ManifestKind::Attestation;
    }
    let has_rootfs = match config {
        FoundConfig::Given { parsed, .. } => parsed.rootfs.is_some(),
        FoundConfig::Blob(_) | FoundConfig::V1(_) => true,
    };
    let is_layer =
        |layer: &Descriptor| layer.media_type.is_empty() || media_type::is_layer(&layer.media_type);
    let is_image = manifest.artifact_type.is_none()
        && is_image_config(&manifest.config.media_type)
        && has_rootfs
        && manifest.layers.iter().all(is_layer);
    if is_image { ManifestKind::Image } else { ManifestKind::Artifact }
}

/// What a config says that its image runs on.
pub(super) fn platform_of(config: &Config) -> Platform {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Platform {
        architecture: config.architecture.clone().unwrap_or_default(),
        os: config.os.clone().unwrap_or_default(),
        variant: given(&config.variant),
        os_version: given(&config.os_version),
    }
}
