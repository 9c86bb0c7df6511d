//! Docker archives: what `manifest.json` lists, alone or beside an OCI layout.
//!
//! Everything that the list says is checked against the archive: each path,
//! the layer counts, that one file is one layer, digests that a name in `blobs/`
//! promises. Beside an OCI layout an item adds its names to the root with the
//! same config; where the two disagree, the order of layers in `manifest.json`
//! counts, since it is the one that can be checked.

use std::collections::{BTreeSet, HashMap};

use crate::digest::Digest;
use crate::image::archive::Warning;
use crate::image::config::Config;
use crate::image::contents::{
    Document, FoundConfig, FoundLayer, FoundManifest, ManifestKind, Root,
};
use crate::image::error::{Error, shown};
use crate::image::lookalike::Lookalike;
use crate::image::manifest_json::{self, Item};
use crate::image::media_type;
use crate::image::reference::Reference;
use crate::image::resolve::oci::platform_of;
use crate::image::resolve::reader::{Reader, check_digest, not_valid};
use crate::image::resolve::{Found, LIST, State};

/// The items of the list at `place`; none if it is to be fetched.
pub(super) fn items(
    reader: &Reader<'_, '_, '_>,
    place: usize,
    may_be_empty: bool,
) -> Result<Vec<Item>, Error> {
    let role = "image list";
    let Some(bytes) = reader.body(role, place)? else {
        return Ok(Vec::new());
    };
    let items = manifest_json::parse(bytes).map_err(not_valid(role, LIST))?;
    if items.is_empty() && !may_be_empty {
        return Err(Error::NoImages);
    }
    if items.iter().any(|item| item.imgpkg) {
        let evidence = LIST.to_owned();
        return Err(Error::LooksLike { lookalike: Lookalike::Imgpkg, evidence });
    }
    Ok(items)
}

/// Adds the images of the list.
pub(super) fn add_images(
    reader: &Reader<'_, '_, '_>,
    items: &[Item],
    state: &mut State,
) -> Result<(), Error> {
    let mut of_layout: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (at, found) in state.found.iter().enumerate() {
        for config in found.root.manifests.iter().filter_map(config_digest) {
            of_layout.entry(config).or_default().push(at);
        }
    }
    let configs = HashMap::new();
    let diff_ids = HashMap::new();
    let mut images = Images { reader, state, of_layout, taken: HashMap::new(), configs, diff_ids };
    items.iter().try_for_each(|item| images.add(item))
}

fn config_digest(manifest: &FoundManifest) -> Option<Digest> {
    match &manifest.config {
        FoundConfig::Given { document, .. } if manifest.kind == ManifestKind::Image => {
            Some(document.digest)
        }
        _ => None,
    }
}

/// The images found so far.
struct Images<'r, 't, 'f, 'b> {
    reader: &'r Reader<'t, 'f, 'b>,
    state: &'r mut State,
    /// The roots of the layout that hold a config.
    of_layout: HashMap<Digest, Vec<usize>>,
    /// The root that stands for a config.
    taken: HashMap<Digest, usize>,
    /// Configs by place.
    configs: HashMap<usize, (Digest, Config)>,
    /// What each layer member must be.
    diff_ids: HashMap<usize, Digest>,
}

impl Images<'_, '_, '_, '_> {
    /// Takes in an item; one with a config that was there before adds its
    /// references to that image.
    fn add(&mut self, item: &Item) -> Result<(), Error> {
        let place = self.reader.tree.find("config", &item.config)?;
        let Some(bytes) = self.reader.body("config", place)? else {
            return Ok(());
        };
        let (digest, config) = match self.configs.remove(&place) {
            Some(known) => known,
            None => self.read_config(place, bytes)?,
        };
        let layers = self.layers(item, place, &config)?;
        if !self.taken.contains_key(&digest) {
            let at = self.root_for(digest, &config, &layers, item)?;
            let at = match at {
                Some(at) => at,
                None => self.make(place, bytes, digest, &config, layers)?,
            };
            self.taken.insert(digest, at);
        }
        let at = self.taken[&digest];
        self.configs.insert(place, (digest, config));
        if let Some(parent) = item.parent {
            self.state.parents.entry(digest).or_insert(parent);
        }
        self.add_references(item, digest, at)
    }

    fn read_config(&mut self, place: usize, bytes: &[u8]) -> Result<(Digest, Config), Error> {
        let path = &self.reader.tree.member(place).path;
        let digest = Digest::of(bytes);
        if let Some(hex) = path.strip_prefix("blobs/sha256/") {
            if let Ok(expected) = Digest::from_hex(hex) {
                check_digest(path, expected, bytes)?;
            }
        } else if named_digest(path).is_some_and(|named| named != digest) {
            self.state.warnings.push(Warning::ConfigName { path: shown(path), digest });
        }
        let config = Config::parse(bytes).map_err(not_valid("config", path))?;
        if config.rootfs.is_none() {
            return Err(Error::NoRootfs { path: shown(path) });
        }
        Ok((digest, config))
    }

    fn layers(
        &mut self,
        item: &Item,
        place: usize,
        config: &Config,
    ) -> Result<Vec<FoundLayer>, Error> {
        let diff_ids = config.diff_ids();
        if diff_ids.len() != item.layers.len() {
            return Err(Error::LayerCount {
                config: self.reader.path(place),
                diff_ids: diff_ids.len(),
                layers: item.layers.len(),
            });
        }
        let pairs = item.layers.iter().zip(diff_ids);
        pairs.map(|(path, &diff_id)| self.layer(item, path, diff_id)).collect()
    }

    fn layer(&mut self, item: &Item, path: &str, diff_id: Digest) -> Result<FoundLayer, Error> {
        let member = self.reader.tree.find_or_absent("layer", path)?;
        if let Some(place) = member {
            let first = *self.diff_ids.entry(place).or_insert(diff_id);
            if first != diff_id {
                let member = self.reader.path(place);
                return Err(Error::TwoDiffIds { member, first, second: diff_id });
            }
        }
        let path = member.map_or(path, |place| &self.reader.tree.member(place).path).to_owned();
        let descriptor = item.foreign.get(&diff_id).cloned();
        let foreign = descriptor.is_some();
        Ok(FoundLayer { path, descriptor, diff_id: Some(diff_id), member, foreign })
    }

    /// The root of the layout that the item is about; `None` if there is none
    /// that describes it rightly.
    fn root_for(
        &mut self,
        config: Digest,
        parsed: &Config,
        layers: &[FoundLayer],
        item: &Item,
    ) -> Result<Option<usize>, Error> {
        let places = self.of_layout.get(&config).cloned().unwrap_or_default();
        if places.is_empty() {
            return Ok(None);
        }
        self.compare_names(config, &places, item)?;
        let is_itself = |found: &Found| found.root.indexes.is_empty();
        let fits = |found: &Found| {
            let manifests = &found.root.manifests;
            let mut its = manifests.iter().filter(|m| config_digest(m) == Some(config));
            its.all(|manifest| describes(manifest, parsed.diff_ids()))
        };
        for &at in &places {
            let found = &self.state.found[at];
            if fits(found) {
                continue;
            }
            let warning = if is_itself(found) {
                self.count(layers)?;
                set_aside(&mut self.state.found[at], layers)
            } else {
                Some(Warning::LayersDiffer { config })
            };
            if let Some(warning) = warning {
                self.state.warnings.push(warning);
            }
        }
        let found = &self.state.found;
        let right = |&&at: &&usize| is_itself(&found[at]) || fits(&found[at]);
        let mut right: Vec<usize> = places.iter().filter(right).copied().collect();
        right.sort_by_key(|&at| !is_itself(&found[at]));
        Ok(right.first().copied())
    }

    /// Warns where the layout and the list give other names to the same image.
    fn compare_names(
        &mut self,
        config: Digest,
        places: &[usize],
        item: &Item,
    ) -> Result<(), Error> {
        let of_layout: BTreeSet<&Reference> =
            places.iter().flat_map(|&at| &self.state.found[at].root.references).collect();
        let tags = item.tags.iter().map(|tag| Reference::parse_tagged(tag));
        let tags: BTreeSet<Reference> = tags.collect::<Result<_, _>>()?;
        let unknown = tags.iter().any(|tag| !of_layout.contains(tag));
        if unknown && !of_layout.is_empty() {
            self.state.warnings.push(Warning::NamesDiffer { config });
        }
        Ok(())
    }

    /// A root for an image that came without a manifest.
    fn make(
        &mut self,
        place: usize,
        bytes: &[u8],
        digest: Digest,
        config: &Config,
        layers: Vec<FoundLayer>,
    ) -> Result<usize, Error> {
        self.reader.count(bytes.len())?;
        self.count(&layers)?;
        let media_type = media_type::OCI_CONFIG.to_owned();
        let document = Document { digest, media_type, bytes: bytes.to_vec() };
        let path = self.reader.tree.member(place).path.clone();
        let manifest = FoundManifest {
            document: None,
            kind: ManifestKind::Image,
            platform: platform_of(config),
            config: FoundConfig::Given { document, parsed: config.clone(), path },
            layers,
        };
        self.state.found.push(Found::new(Root {
            references: Vec::new(),
            descriptor: None,
            indexes: Vec::new(),
            manifests: vec![manifest],
            not_shipped: Vec::new(),
            referrers: Vec::new(),
            ancestors: Vec::new(),
        }));
        Ok(self.state.found.len() - 1)
    }

    fn count(&self, layers: &[FoundLayer]) -> Result<(), Error> {
        layers.iter().try_for_each(|layer| self.reader.count(layer.path.len()))
    }

    fn add_references(&mut self, item: &Item, config: Digest, at: usize) -> Result<(), Error> {
        let same = self.of_layout.get(&config).map_or(&[][..], Vec::as_slice);
        for tag in &item.tags {
            let reference = Reference::parse_tagged(tag)?;
            let state = &mut *self.state;
            // The layout may have the image several times, each with its name.
            if state.names.owner(&reference).is_some_and(|owner| same.contains(&owner)) {
                continue;
            }
            state.names.claim(&reference, at, &mut state.found, &mut state.warnings);
        }
        Ok(())
    }
}

/// Gives the root the layers of the list instead of its manifest.
fn set_aside(found: &mut Found, layers: &[FoundLayer]) -> Option<Warning> {
    found.subject = None;
    let given = found.root.descriptor.take()?;
    for manifest in &mut found.root.manifests {
        manifest.document = None;
        manifest.layers = layers.to_vec();
    }
    Some(Warning::ManifestIgnored { digest: given.digest })
}

/// Whether the manifest lists the layers with these diff IDs, as far as that
/// shows.
fn describes(manifest: &FoundManifest, diff_ids: &[Digest]) -> bool {
    let is_right = |(layer, diff_id): (&FoundLayer, &Digest)| {
        layer.descriptor.as_ref().is_none_or(|given| {
            !media_type::is_plain_layer(&given.media_type) || given.digest == *diff_id
        })
    };
    manifest.layers.len() == diff_ids.len() && manifest.layers.iter().zip(diff_ids).all(is_right)
}

/// The digest that a config's file name promises: `<hex>.json`, `sha256:<hex>`.
fn named_digest(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let hex = name.strip_suffix(".json").or_else(|| name.strip_prefix("sha256:"));
    hex.and_then(|hex| Digest::from_hex(hex).ok())
}
