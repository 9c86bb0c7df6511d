//! What a docker archive holds: from its members and JSON documents to images.
//!
//! Pure functions over the list of members and a look-up of bodies, so the same
//! code serves a file that can be sought in and a stream that has passed.
//! Everything that `manifest.json` says is checked against the archive: each
//! path, the layer counts, that one file is one layer, digests that a name in
//! `blobs/` promises. Layer bodies are not read here: whoever reads them
//! compares their digests with the diff IDs.

use std::collections::{HashMap, HashSet};

use crate::digest::Digest;
use crate::image::archive::{Archive, ArchiveImage, ArchiveLayer, Dialect, Warning};
use crate::image::compression::{Compression, sniff};
use crate::image::config::Config;
use crate::image::error::{Error, shown};
use crate::image::manifest::{Descriptor, Index, Manifest};
use crate::image::manifest_json::{self, Item};
use crate::image::media_type;
use crate::image::members::Member;
use crate::image::reference::Reference;
use crate::image::small_bodies::MOST_DOCUMENT;
use crate::image::tree::Tree;

/// The most bytes of all configs and manifests of one archive together.
const MOST_DOCUMENTS: u64 = 64 << 20;
const MOST_DUPLICATES: usize = 20;
/// Warnings stop here: a hostile archive could ask for any number.
const MOST_WARNINGS: usize = 40;

const LIST: &str = "manifest.json";
const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const REPOSITORIES: &str = "repositories";

/// Looks up the body of a member by index; `None` if it is not at hand.
pub type Bodies<'f, 'b> = &'f dyn Fn(usize) -> Option<&'b [u8]>;

/// Indexes of the members whose bodies [`resolve`] will ask for and `bodies`
/// doesn't have. Fetch them and ask again, until there are none: what is needed
/// shows only as documents are read. `members` is all of them, in order.
pub fn wanted(members: &[Member], bodies: Bodies<'_, '_>) -> Result<Vec<usize>, Error> {
    let tree = Tree::new(members);
    let reader = Reader { tree: &tree, bodies };
    let top = Top::find(&tree)?;
    let mut wanted: Vec<(&'static str, usize)> = vec![("image list", top.list)];
    wanted.extend(top.index.map(|place| ("index", place)));
    reader.keep_missing(&mut wanted)?;
    if wanted.is_empty() {
        for item in reader.items(top.list)? {
            wanted.push(("config", tree.find("config", &item.config)?));
        }
        for (_, place) in reader.listed_manifests(top.index)? {
            wanted.extend(place.map(|place| ("manifest", place)));
        }
        wanted.sort_unstable_by_key(|&(_, place)| place);
        wanted.dedup_by_key(|&mut (_, place)| place);
        let together = wanted.iter().map(|&(_, place)| tree.member(place).size).sum();
        if together > MOST_DOCUMENTS {
            let what = "the length of all configs and manifests".to_owned();
            return Err(Error::TooLarge { what, limit: MOST_DOCUMENTS, found: together });
        }
        reader.keep_missing(&mut wanted)?;
    }
    Ok(wanted.into_iter().map(|(_, place)| place).collect())
}

/// The images of the archive with these `members` (all of them, in order).
///
/// # Errors
/// Each names the member or reference at fault; [`Error::NotKept`] if a body
/// that [`wanted`] asks for is not at hand.
pub fn resolve(members: &[Member], bodies: Bodies<'_, '_>) -> Result<Archive, Error> {
    let tree = Tree::new(members);
    let reader = Reader { tree: &tree, bodies };
    let top = Top::find(&tree)?;
    let items = reader.items(top.list)?;
    let mut warnings: Vec<Warning> = tree
        .duplicates(MOST_DUPLICATES)
        .into_iter()
        .map(|path| Warning::DuplicateMember { path })
        .collect();
    let mut images = Images::new(&reader);
    for item in &items {
        images.add(item, &mut warnings)?;
    }
    let mut images = images.finish();
    reader.match_manifests(top.index, &mut images, &mut warnings)?;
    warnings.truncate(MOST_WARNINGS);
    let dialect = Dialect::of(&tree, &items, top.index.is_some());
    Ok(Archive { dialect, images, warnings })
}

/// Refuses a layer whose body begins with `head` (best a whole tar block) and
/// is compressed.
pub fn check_plain_layer(member: &Member, head: &[u8]) -> Result<(), Error> {
    match sniff(head) {
        Some(compression) => {
            Err(Error::UnsupportedLayer { member: shown(&member.path), compression })
        }
        None => Ok(()),
    }
}

/// Where the documents with fixed names are.
struct Top {
    list: usize,
    /// `index.json`, if `oci-layout` is there as well.
    index: Option<usize>,
}

impl Top {
    fn find(tree: &Tree<'_>) -> Result<Self, Error> {
        let list = tree.find_if_there("image list", LIST)?;
        let index = tree.find_if_there("index", INDEX)?;
        let layout = tree.find_if_there("layout mark", LAYOUT)?;
        if let Some(list) = list {
            return Ok(Self { list, index: layout.and(index) });
        }
        for (place, evidence) in [(layout, LAYOUT), (index, INDEX)] {
            if place.is_some() {
                return Err(Error::UnsupportedDialect { dialect: "OCI layout", evidence });
            }
        }
        if tree.find_if_there("list of references", REPOSITORIES)?.is_some() {
            let dialect = "docker archive of Docker before 1.10";
            return Err(Error::UnsupportedDialect { dialect, evidence: REPOSITORIES });
        }
        Err(Error::NotAnArchive { members: tree.len() })
    }
}

/// Reads documents.
struct Reader<'t, 'f, 'b> {
    tree: &'t Tree<'t>,
    bodies: Bodies<'f, 'b>,
}

impl<'b> Reader<'_, '_, 'b> {
    /// Leaves those whose bodies are not at hand; checks the size of all.
    fn keep_missing(&self, wanted: &mut Vec<(&'static str, usize)>) -> Result<(), Error> {
        for &(role, place) in wanted.iter() {
            self.check_size(role, place)?;
        }
        wanted.retain(|&(_, place)| (self.bodies)(place).is_none());
        Ok(())
    }

    fn check_size(&self, role: &'static str, place: usize) -> Result<(), Error> {
        let member = self.tree.member(place);
        if member.size > MOST_DOCUMENT {
            let what = format!("{role} `{}`", shown(&member.path));
            return Err(Error::TooLarge { what, limit: MOST_DOCUMENT, found: member.size });
        }
        Ok(())
    }

    fn body(&self, role: &'static str, place: usize) -> Result<&'b [u8], Error> {
        self.check_size(role, place)?;
        (self.bodies)(place)
            .ok_or_else(|| Error::NotKept { role, path: shown(&self.tree.member(place).path) })
    }

    fn items(&self, list: usize) -> Result<Vec<Item>, Error> {
        let role = "image list";
        let items = manifest_json::parse(self.body(role, list)?).map_err(|source| Error::Json {
            role,
            path: LIST.to_owned(),
            source,
        })?;
        if items.is_empty() {
            return Err(Error::NoImages);
        }
        if items.iter().any(|item| item.imgpkg) {
            return Err(Error::UnsupportedDialect { dialect: "imgpkg archive", evidence: LIST });
        }
        Ok(items)
    }

    /// What `index.json` lists, each once, and the place of each that is a
    /// manifest and in the archive.
    fn listed_manifests(
        &self,
        index: Option<usize>,
    ) -> Result<Vec<(Descriptor, Option<usize>)>, Error> {
        let Some(index) = index else {
            return Ok(Vec::new());
        };
        let role = "index";
        let parsed = Index::parse(self.body(role, index)?).map_err(|source| Error::Json {
            role,
            path: INDEX.to_owned(),
            source,
        })?;
        let mut seen = HashSet::new();
        let mut listed = Vec::new();
        for descriptor in parsed.manifests {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            let path = format!("blobs/sha256/{}", descriptor.digest.hex());
            let place = if media_type::is_manifest(&descriptor.media_type) {
                self.tree.find_if_there("manifest", &path)?
            } else {
                None
            };
            listed.push((descriptor, place));
        }
        Ok(listed)
    }

    /// Gives each image the OCI manifest that describes it.
    fn match_manifests(
        &self,
        index: Option<usize>,
        images: &mut [ArchiveImage],
        warnings: &mut Vec<Warning>,
    ) -> Result<(), Error> {
        let by_config: HashMap<Digest, usize> =
            images.iter().enumerate().map(|(at, image)| (image.config_digest, at)).collect();
        for (descriptor, place) in self.listed_manifests(index)? {
            let digest = descriptor.digest;
            let Some(place) = place else {
                warnings.push(Warning::NotListed { digest });
                continue;
            };
            let role = "manifest";
            let bytes = self.body(role, place)?;
            let path = || shown(&self.tree.member(place).path);
            check_digest(path, digest, bytes)?;
            let manifest = Manifest::parse(bytes).map_err(|source| Error::Json {
                role,
                path: path(),
                source,
            })?;
            let Some(&at) = by_config.get(&manifest.config.digest) else {
                warnings.push(Warning::NotListed { digest });
                continue;
            };
            let image = &mut images[at];
            if self.describes(&manifest, image)? {
                image.manifest.get_or_insert_with(|| bytes.to_vec());
            } else {
                warnings.push(Warning::ManifestIgnored { digest });
            }
        }
        Ok(())
    }

    /// Whether the manifest's layers are the image's plain layers.
    fn describes(&self, manifest: &Manifest, image: &ArchiveImage) -> Result<bool, Error> {
        let pairs = || manifest.layers.iter().zip(&image.layers);
        for (given, layer) in pairs() {
            let compression = match given.media_type.as_str() {
                media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Compression::Gzip,
                media_type::OCI_LAYER_ZSTD => Compression::Zstd,
                _ => continue,
            };
            if given.digest != layer.diff_id {
                let member = shown(&self.tree.member(layer.member).path);
                return Err(Error::UnsupportedLayer { member, compression });
            }
        }
        Ok(manifest.layers.len() == image.layers.len()
            && pairs().all(|(given, layer)| {
                media_type::is_plain_layer(&given.media_type) && given.digest == layer.diff_id
            }))
    }
}

/// The images found so far.
struct Images<'r, 't, 'f, 'b> {
    reader: &'r Reader<'t, 'f, 'b>,
    list: Vec<ArchiveImage>,
    by_config: HashMap<Digest, usize>,
    by_place: HashMap<usize, usize>,
    by_reference: HashMap<Reference, usize>,
    diff_ids: HashMap<usize, Digest>,
}

impl<'r, 't, 'f, 'b> Images<'r, 't, 'f, 'b> {
    fn new(reader: &'r Reader<'t, 'f, 'b>) -> Self {
        Self {
            reader,
            list: Vec::new(),
            by_config: HashMap::new(),
            by_place: HashMap::new(),
            by_reference: HashMap::new(),
            diff_ids: HashMap::new(),
        }
    }

    /// Takes in an item; one with a config that was there before adds its
    /// references to that image.
    fn add(&mut self, item: &Item, warnings: &mut Vec<Warning>) -> Result<(), Error> {
        let place = self.reader.tree.find("config", &item.config)?;
        let at = if let Some(&at) = self.by_place.get(&place) {
            at
        } else {
            let image = self.read_config(place, warnings)?;
            let at = *self.by_config.entry(image.config_digest).or_insert(self.list.len());
            if at == self.list.len() {
                self.list.push(image);
            }
            self.by_place.insert(place, at);
            at
        };
        let layers = self.layers(item, &self.list[at])?;
        for layer in &layers {
            let known = *self.diff_ids.entry(layer.member).or_insert(layer.diff_id);
            if known != layer.diff_id {
                return Err(Error::TwoDiffIds {
                    member: shown(&self.reader.tree.member(layer.member).path),
                    first: known,
                    second: layer.diff_id,
                });
            }
        }
        if self.list[at].layers.is_empty() {
            self.list[at].layers = layers;
        }
        self.add_references(item, at, warnings)
    }

    fn read_config(
        &self,
        place: usize,
        warnings: &mut Vec<Warning>,
    ) -> Result<ArchiveImage, Error> {
        let role = "config";
        let bytes = self.reader.body(role, place)?;
        let path = &self.reader.tree.member(place).path;
        let digest = Digest::of(bytes);
        if let Some(hex) = path.strip_prefix("blobs/sha256/") {
            if let Ok(expected) = Digest::from_hex(hex) {
                check_digest(|| shown(path), expected, bytes)?;
            }
        } else if named_digest(path).is_some_and(|named| named != digest) {
            warnings.push(Warning::ConfigName { path: shown(path), digest });
        }
        let parsed = Config::parse(bytes).map_err(|source| Error::Json {
            role,
            path: shown(path),
            source,
        })?;
        if parsed.rootfs.is_none() {
            return Err(Error::NoRootfs { path: shown(path) });
        }
        Ok(ArchiveImage {
            config: bytes.to_vec(),
            config_digest: digest,
            config_path: path.clone(),
            parsed,
            references: Vec::new(),
            layers: Vec::new(),
            manifest: None,
        })
    }

    fn layers(&self, item: &Item, image: &ArchiveImage) -> Result<Vec<ArchiveLayer>, Error> {
        let diff_ids = image.parsed.diff_ids();
        if diff_ids.len() != item.layers.len() {
            return Err(Error::LayerCount {
                config: shown(&image.config_path),
                diff_ids: diff_ids.len(),
                layers: item.layers.len(),
            });
        }
        let find = |(path, &diff_id): (&String, &Digest)| {
            let member = self.reader.tree.find("layer", path)?;
            Ok(ArchiveLayer { diff_id, member })
        };
        item.layers.iter().zip(diff_ids).map(find).collect()
    }

    fn add_references(
        &mut self,
        item: &Item,
        at: usize,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), Error> {
        for tag in &item.tags {
            let reference = Reference::parse_tagged(tag)?;
            match self.by_reference.insert(reference.clone(), at) {
                Some(before) if before == at => continue,
                Some(_) if warnings.len() < MOST_WARNINGS => {
                    warnings.push(Warning::ReferenceTwice { reference: reference.clone() });
                }
                _ => {}
            }
            self.list[at].references.push(reference);
        }
        Ok(())
    }

    /// The images, each reference on the last one that claimed it.
    fn finish(mut self) -> Vec<ArchiveImage> {
        for (at, image) in self.list.iter_mut().enumerate() {
            // Removing makes each stay once, even where it went back and forth.
            image.references.retain(|reference| {
                self.by_reference.get(reference) == Some(&at)
                    && self.by_reference.remove(reference).is_some()
            });
        }
        self.list
    }
}

/// The digest that a config's file name promises: `<hex>.json`, `sha256:<hex>`.
fn named_digest(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let hex = name.strip_suffix(".json").or_else(|| name.strip_prefix("sha256:"));
    hex.and_then(|hex| Digest::from_hex(hex).ok())
}

fn check_digest(what: impl Fn() -> String, expected: Digest, bytes: &[u8]) -> Result<(), Error> {
    let found = Digest::of(bytes);
    if found == expected {
        Ok(())
    } else {
        Err(Error::DigestMismatch { what: what(), expected, found })
    }
}
