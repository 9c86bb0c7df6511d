//! Which parts of a revision go out, and what stands at their top.
//!
//! A root index goes out as it is only if all that it lists does, so that no
//! archive lists what it doesn't hold: that is what most engines fail on.
//! Otherwise the one image that is left stands for it, or a new index of those
//! that are.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use super::rewrite::{Outgoing, as_root, subject};
use super::{ExportError, ExportOptions, Lack, Note, blobs::Blobs};
use crate::digest::Digest;
use crate::image::{
    Descriptor, DocumentKind, EmitAncestor, EmitDocument, EmitImage, Format, ManifestKind,
    Platform, media_type,
};
use crate::ops::gather::{ATTESTED, Gathered, GatheredManifest};
use crate::ops::resolve::Resolved;

/// The annotation of an index of ours: the digest of the index that it stands for.
pub const ORIGINAL_INDEX: &str = "org.orlop.index.original";

/// Decides what goes out of one revision.
pub(super) fn select(
    resolved: &Resolved,
    gathered: &Gathered,
    options: &ExportOptions,
    blobs: &mut Blobs<'_>,
    notes: &mut Vec<Note>,
) -> Result<EmitImage, ExportError> {
    let chosen = chosen(resolved, gathered, options)?;
    let mut outgoing = Vec::new();
    for manifest in chosen {
        outgoing.push((manifest, Outgoing::new(manifest, options, blobs, notes)?));
    }
    let mut top = Top::of(resolved, gathered, outgoing, notes)?;
    if gathered.recorded.is_none() {
        notes.push(Note::RecordDamaged { image: called(resolved) });
    }
    if options.takes(Lack::Referrers) {
        top.add_referrers(gathered, options, blobs, notes)?;
    } else if !gathered.referrers.is_empty() {
        let (image, count) = (called(resolved), gathered.referrers.len());
        notes.push(Note::ReferrersRefused { image, count });
    }
    let references = resolved.reference.clone().into_iter().collect();
    let docker = docker_item(&top.outgoing, options);
    let item = docker.and_then(|at| top.outgoing[at].1.docker.clone());
    let ancestors = match &item {
        Some(_) if !gathered.is_index() => ancestors(resolved, gathered, options, blobs, notes)?,
        _ => Vec::new(),
    };
    let mut image = EmitImage {
        references,
        root: top.root,
        documents: Vec::new(),
        blobs: Vec::new(),
        elsewhere: HashSet::new(),
        docker: item,
        referrers: top.referrers,
        ancestors,
    };
    let outgoing = top.outgoing.into_iter().map(|(_, outgoing)| outgoing);
    for out in outgoing.chain(top.about) {
        let document = |kind| move |bytes| EmitDocument { kind, bytes };
        image.documents.extend(out.config.map(document(DocumentKind::Config)));
        image.documents.push(document(DocumentKind::Manifest)(out.bytes));
        image.blobs.extend(out.blobs);
        image.elsewhere.extend(out.elsewhere);
    }
    let indexes = top.indexes.into_iter();
    image.documents.extend(indexes.map(|bytes| EmitDocument { kind: DocumentKind::Index, bytes }));
    Ok(image)
}

/// What the image was built on, as far as each follows the next: engines fail on what
/// doesn't.
fn ancestors(
    resolved: &Resolved,
    gathered: &Gathered,
    options: &ExportOptions,
    blobs: &mut Blobs<'_>,
    notes: &mut Vec<Note>,
) -> Result<Vec<EmitAncestor>, ExportError> {
    let (layout, count) = (options.format == Format::Oci, gathered.ancestors.len());
    if layout || !options.takes(Lack::Ancestors) {
        if count > 0 {
            notes.push(Note::AncestorsLeftOut { image: called(resolved), count, layout });
        }
        return Ok(Vec::new());
    }
    let mut ancestors = Vec::new();
    let mut above = gathered.manifests.first();
    for manifest in &gathered.ancestors {
        let config =
            |of: &'_ GatheredManifest| of.config.as_ref().map(|(_, config)| config.clone());
        let follows = above.and_then(config).zip(config(manifest));
        if !follows.is_some_and(|(above, below)| above.follows(&below)) {
            break;
        }
        let out = Outgoing::new(manifest, options, blobs, notes)?;
        let (Some(docker), Some(config)) = (out.docker, out.config) else { break };
        ancestors.push(EmitAncestor { docker, config, blobs: out.blobs });
        above = Some(manifest);
    }
    Ok(ancestors)
}

/// The manifests that were asked for.
fn chosen<'g>(
    resolved: &Resolved,
    gathered: &'g Gathered,
    options: &ExportOptions,
) -> Result<Vec<&'g GatheredManifest>, ExportError> {
    let all = || gathered.manifests.iter();
    let asked = |manifest: &GatheredManifest| match resolved.manifest {
        Some(digest) => manifest.descriptor.digest == digest,
        None => true,
    };
    let fits = |manifest: &GatheredManifest| {
        let platform = manifest.platform();
        options.platforms.is_empty()
            || options.platforms.iter().any(|asked| matches(asked, &platform))
    };
    if resolved.manifest.is_none() && options.platforms.is_empty() {
        // An index may list nothing, and then nothing is lacking.
        if gathered.manifests.is_empty() && !gathered.absent.is_empty() {
            return Err(ExportError::NothingThere { image: called(resolved) });
        }
        return Ok(all().collect());
    }
    if !gathered.is_index() && gathered.images().next().is_none() {
        // What runs nowhere has no platform to be picked by.
        return Ok(all().collect());
    }
    let images: Vec<_> = gathered.images().filter(|it| asked(it) && fits(it)).collect();
    if images.is_empty() {
        let there = gathered.images().filter(|it| asked(it)).map(|it| shown(&it.platform()));
        return Err(ExportError::NoPlatform {
            image: called(resolved),
            asked: options.platforms.iter().map(shown).collect(),
            there: there.collect(),
        });
    }
    // What speaks of them goes with them.
    let digests: HashSet<Digest> = images.iter().map(|image| image.descriptor.digest).collect();
    let kept = all().filter(|manifest| {
        let attested = attested(manifest);
        digests.contains(&manifest.descriptor.digest)
            || attested.is_some_and(|digest| digests.contains(&digest))
    });
    Ok(kept.collect())
}

/// What an attestation speaks of.
fn attested(manifest: &GatheredManifest) -> Option<Digest> {
    let attestation = manifest.kind == ManifestKind::Attestation;
    let digest = manifest.descriptor.annotations.get(ATTESTED).filter(|_| attestation)?;
    digest.parse().ok()
}

/// What goes out, and what stands at its top.
struct Top<'g> {
    root: Descriptor,
    /// The bytes of the indexes that go out.
    indexes: Vec<Vec<u8>>,
    outgoing: Vec<(&'g GatheredManifest, Outgoing)>,
    referrers: Vec<Descriptor>,
    /// The referrers' manifests.
    about: Vec<Outgoing>,
}

impl<'g> Top<'g> {
    fn of(
        resolved: &Resolved,
        gathered: &'g Gathered,
        mut outgoing: Vec<(&'g GatheredManifest, Outgoing)>,
        notes: &mut Vec<Note>,
    ) -> Result<Self, ExportError> {
        let whole = gathered.absent.is_empty()
            && outgoing.len() == gathered.manifests.len()
            && outgoing.iter().all(|(_, out)| !out.changed);
        let (root, indexes) = if !gathered.is_index() {
            (outgoing.first().map(|(_, out)| as_root(out)), Vec::new())
        } else if whole {
            let indexes = gathered.indexes.iter().map(|(_, bytes)| bytes.clone());
            (Some(gathered.root.clone()), indexes.collect())
        } else {
            drop_stale(resolved, &mut outgoing, notes);
            let images = outgoing.iter().filter(|(it, _)| it.kind == ManifestKind::Image);
            if let (Some((_, one)), 1) = (images.clone().next(), images.count()) {
                let root = as_root(one);
                if !gathered.absent.is_empty() && gathered.images().count() == 1 {
                    let (image, absent) = (called(resolved), gathered.absent.len());
                    notes.push(Note::OneOfIndex { image, absent });
                }
                outgoing.retain(|(it, _)| it.kind == ManifestKind::Image);
                (Some(root), Vec::new())
            } else {
                let bytes = new_index(gathered, &outgoing)?;
                let (image, listed) = (called(resolved), outgoing.len());
                let dropped = gathered.manifests.len() + gathered.absent.len() - listed;
                notes.push(Note::NewIndex { image, listed, dropped });
                let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
                (Some(Descriptor::new(media_type::OCI_INDEX, digest, size)), vec![bytes])
            }
        };
        let root = root.ok_or_else(|| ExportError::NothingThere { image: called(resolved) })?;
        Ok(Self { root, indexes, outgoing, referrers: Vec::new(), about: Vec::new() })
    }

    /// Adds what is about something that goes out as it was, and about that in turn.
    fn add_referrers(
        &mut self,
        gathered: &Gathered,
        options: &ExportOptions,
        blobs: &mut Blobs<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<(), ExportError> {
        let mut there: HashSet<Digest> =
            self.outgoing.iter().map(|(_, out)| out.descriptor.digest).collect();
        there.extend(self.indexes.iter().map(|bytes| Digest::of(bytes)));
        let mut left: Vec<&GatheredManifest> = gathered.referrers.iter().collect();
        loop {
            let before = left.len();
            let mut waiting = Vec::new();
            for referrer in left {
                if subject(&referrer.bytes).is_some_and(|subject| there.contains(&subject)) {
                    there.insert(referrer.descriptor.digest);
                    let out = Outgoing::new(referrer, options, blobs, notes)?;
                    self.referrers.push(as_root(&out));
                    self.about.push(out);
                } else {
                    waiting.push(referrer);
                }
            }
            left = waiting;
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        self.referrers.sort_by_key(|referrer| referrer.digest);
        self.about.sort_by_key(|out| out.descriptor.digest);
        if !left.is_empty() {
            notes.push(Note::ReferrersDropped { count: left.len() });
        }
        Ok(())
    }
}

/// Takes out attestations of manifests that were made anew: they speak of digests
/// that nobody will find.
fn drop_stale(
    resolved: &Resolved,
    outgoing: &mut Vec<(&GatheredManifest, Outgoing)>,
    notes: &mut Vec<Note>,
) {
    let changed: HashSet<Digest> = outgoing
        .iter()
        .filter(|(_, out)| out.changed)
        .map(|(gathered, _)| gathered.descriptor.digest)
        .collect();
    let before = outgoing.len();
    outgoing.retain(|(it, _)| attested(it).is_none_or(|digest| !changed.contains(&digest)));
    let count = before - outgoing.len();
    if count > 0 {
        notes.push(Note::AttestationsDropped { image: called(resolved), count });
    }
}

/// An index of what goes out, in the order of the one that it stands for.
fn new_index(
    gathered: &Gathered,
    outgoing: &[(&GatheredManifest, Outgoing)],
) -> Result<Vec<u8>, ExportError> {
    let damaged = |source| ExportError::Document { digest: gathered.root.digest, source };
    let original = gathered.indexes.first().map(|(_, bytes)| bytes.as_slice());
    let original: Value = serde_json::from_slice(original.unwrap_or_default()).map_err(damaged)?;
    let mut annotations: BTreeMap<&str, Value> = BTreeMap::new();
    if let Value::Object(given) = &original["annotations"] {
        annotations.extend(given.iter().map(|(key, value)| (key.as_str(), value.clone())));
    }
    annotations.insert(ORIGINAL_INDEX, gathered.root.digest.to_string().into());
    let manifests: Vec<&Descriptor> = outgoing.iter().map(|(_, out)| &out.descriptor).collect();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": manifests,
        "annotations": annotations,
    });
    serde_json::to_vec(&index).map_err(damaged)
}

/// Which of them `manifest.json` lists: of the platform that was asked for first,
/// else for linux/amd64, else the first.
fn docker_item(
    outgoing: &[(&GatheredManifest, Outgoing)],
    options: &ExportOptions,
) -> Option<usize> {
    let platforms: HashMap<usize, Platform> = (outgoing.iter().enumerate())
        .filter(|(_, (_, out))| out.docker.is_some())
        .map(|(at, (gathered, _))| (at, gathered.platform()))
        .collect();
    let usual = Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        ..Platform::default()
    };
    let liked = options.platforms.iter().chain(std::iter::once(&usual));
    let found = |asked: &Platform| {
        let fit = platforms.iter().filter(|(_, platform)| matches(asked, platform));
        fit.map(|(at, _)| *at).min()
    };
    liked.into_iter().find_map(found).or_else(|| platforms.keys().copied().min())
}

/// Whether an image of that platform is what was asked for. A variant that wasn't
/// asked for may be any.
pub(in crate::ops) fn matches(asked: &Platform, platform: &Platform) -> bool {
    let variant = |platform: &Platform| match (&*platform.architecture, &platform.variant) {
        // What arm64 means without one.
        ("arm64", None) => Some("v8".to_owned()),
        (_, variant) => variant.clone(),
    };
    asked.os == platform.os
        && asked.architecture == platform.architecture
        && (asked.variant.is_none() || variant(asked) == variant(platform))
}

/// Reads `os/architecture[/variant]`.
pub fn parse_platform(text: &str) -> Option<Platform> {
    let mut parts = text.split('/').map(|part| Some(part).filter(|part| !part.is_empty()));
    let (os, architecture) = (parts.next()??, parts.next()??);
    let variant = match parts.next() {
        Some(variant) => Some(variant?.to_owned()),
        None => None,
    };
    // Names that people know from `uname`.
    let architecture = match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let (os, architecture) = (os.to_owned(), architecture.to_owned());
    let platform = Platform { architecture, os, variant, ..Platform::default() };
    parts.next().is_none().then_some(platform)
}

/// `os/architecture[/variant]`
pub(super) fn shown(platform: &Platform) -> String {
    let variant = platform.variant.as_ref();
    let variant = variant.map_or_else(String::new, |variant| format!("/{variant}"));
    format!("{}/{}{variant}", platform.os, platform.architecture)
}

/// How messages call an image.
pub(super) fn called(resolved: &Resolved) -> String {
    let reference = resolved.reference.as_ref().map(crate::image::Reference::familiar);
    reference.unwrap_or_else(|| resolved.revision.image_id.short())
}
