//! A manifest as it goes out: as it was saved, or one made for layers in another
//! compression.

use std::collections::HashSet;

use serde_json::Value;

use super::ExportError;
use super::blobs::{Blobs, StoredLayer};
use super::encode::Form;
use super::{ExportOptions, Lack, LayerCompression, Note};
use crate::digest::Digest;
use crate::image::{Descriptor, DockerImage, DockerLayer, ManifestKind, make_manifest, media_type};
use crate::ops::gather::{GatheredLayer, GatheredManifest};

/// A manifest with its layers, as they go out.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// As an index may list it.
    pub(super) descriptor: Descriptor,
    /// The bytes of the manifest.
    pub(super) bytes: Vec<u8>,
    /// The bytes of the config, where it is a document.
    pub(super) config: Option<Vec<u8>>,
    /// Its blobs.
    pub(super) blobs: Vec<(Digest, u64)>,
    /// Layers that aren't there, and needn't be.
    pub(super) elsewhere: HashSet<Digest>,
    /// As `manifest.json` lists it, if it is an image.
    pub(super) docker: Option<DockerImage>,
    /// Whether its digest is another than it was.
    pub(super) changed: bool,
}

/// How a layer goes out.
enum Layer {
    /// As it is.
    Kept(Option<Form>),
    /// It isn't there.
    Elsewhere,
    /// Made anew.
    Made { digest: Digest, size: u64, form: Form },
}

impl Outgoing {
    /// Decides how a manifest goes out. Only images are ever changed.
    pub(super) fn new(
        gathered: &GatheredManifest,
        options: &ExportOptions,
        blobs: &mut Blobs<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<Self, ExportError> {
        let wanted = wanted(gathered, options, notes);
        let mut layers = Vec::new();
        for layer in &gathered.layers {
            layers.push(decide(layer, wanted, blobs)?);
        }
        let mut outgoing = Self {
            descriptor: gathered.descriptor.clone(),
            bytes: gathered.bytes.clone(),
            config: gathered.config.as_ref().map(|(bytes, _)| bytes.clone()),
            blobs: Vec::new(),
            elsewhere: HashSet::new(),
            docker: docker(gathered, &layers),
            changed: layers.iter().any(|layer| matches!(layer, Layer::Made { .. })),
        };
        if outgoing.config.is_none() {
            let config = &gathered.manifest.config;
            outgoing.blobs.push((config.digest, config.size));
        }
        let blob = |(layer, made): (&GatheredLayer, &Layer)| match made {
            Layer::Made { digest, size, .. } => (*digest, *size),
            _ => (layer.descriptor.digest, layer.descriptor.size),
        };
        let out: Vec<(Digest, u64)> = gathered.layers.iter().zip(&layers).map(blob).collect();
        let named = out.iter().zip(&gathered.layers).map(|((blob, _), it)| (*blob, it.diff_id));
        let held = options.held.of(&named.collect::<Vec<_>>());
        for ((blob, made), held) in out.into_iter().zip(&layers).zip(held) {
            if matches!(made, Layer::Elsewhere) {
                outgoing.elsewhere.insert(blob.0);
            } else if held {
                outgoing.elsewhere.insert(blob.0);
                blobs.held.insert(blob.0, blob.1);
            } else {
                outgoing.blobs.push(blob);
            }
        }
        if outgoing.changed {
            outgoing.bytes = rewritten(gathered, &layers)?;
            media_type::OCI_MANIFEST.clone_into(&mut outgoing.descriptor.media_type);
            outgoing.descriptor.digest = Digest::of(&outgoing.bytes);
            outgoing.descriptor.size = outgoing.bytes.len() as u64;
        }
        Ok(outgoing)
    }
}

/// In what form the layers of this manifest go out; `None` for as they are.
fn wanted(
    gathered: &GatheredManifest,
    options: &ExportOptions,
    notes: &mut Vec<Note>,
) -> Option<Form> {
    if gathered.kind != ManifestKind::Image {
        return None;
    }
    match options.layers {
        LayerCompression::Keep => {
            let zstd = |layer: &GatheredLayer| is_zstd(&layer.descriptor.media_type);
            let refused = !options.takes(Lack::ZstdLayers) && gathered.layers.iter().any(zstd);
            if refused {
                notes.push(Note::ZstdMadePlain { manifest: gathered.descriptor.digest });
            }
            refused.then_some(Form::Plain)
        }
        LayerCompression::None => Some(Form::Plain),
        LayerCompression::Gzip => Some(Form::Gzip),
        LayerCompression::Zstd => Some(Form::Zstd),
    }
}

fn decide(
    layer: &GatheredLayer,
    wanted: Option<Form>,
    blobs: &mut Blobs<'_>,
) -> Result<Layer, ExportError> {
    let descriptor = &layer.descriptor;
    let found = form(layer);
    if !layer.stored {
        return Ok(Layer::Elsewhere);
    }
    let Some(wanted) = wanted else { return Ok(Layer::Kept(found)) };
    if found == Some(wanted) {
        return Ok(Layer::Kept(found));
    }
    let (Some(found), Some(diff_id)) = (found, layer.diff_id) else {
        return Err(ExportError::Layer {
            digest: descriptor.digest,
            media_type: descriptor.media_type.clone(),
        });
    };
    let stored = StoredLayer { digest: descriptor.digest, form: found, diff_id };
    let (digest, size) = blobs.convert(stored, wanted)?;
    Ok(Layer::Made { digest, size, form: wanted })
}

/// What form a layer has; `None` where that can't be told.
fn form(layer: &GatheredLayer) -> Option<Form> {
    let media_type = &layer.descriptor.media_type;
    if layer.diff_id == Some(layer.descriptor.digest) {
        Some(Form::Plain)
    } else if is_zstd(media_type) {
        Some(Form::Zstd)
    } else if media_type.ends_with(".tar+gzip") || media_type.ends_with(".tar.gzip") {
        Some(Form::Gzip)
    } else {
        (media_type.rsplit('.').next() == Some("tar")).then_some(Form::Plain)
    }
}

fn is_zstd(media_type: &str) -> bool {
    media_type.ends_with("+zstd") || media_type.ends_with(".tar.zstd")
}

/// The media type of a layer of ours.
fn type_of(form: Form) -> &'static str {
    match form {
        Form::Plain => media_type::OCI_LAYER,
        Form::Gzip => media_type::OCI_LAYER_GZIP,
        Form::Zstd => media_type::OCI_LAYER_ZSTD,
    }
}

/// The manifest for layers that were made. One for plain layers alone is what we
/// make of a docker archive, so that both are the same image.
fn rewritten(gathered: &GatheredManifest, layers: &[Layer]) -> Result<Vec<u8>, ExportError> {
    let config = &gathered.manifest.config;
    let plain: Option<Vec<(Digest, u64)>> = (gathered.layers.iter().zip(layers))
        .map(|(layer, made)| match made {
            Layer::Kept(Some(Form::Plain)) => {
                Some((layer.descriptor.digest, layer.descriptor.size))
            }
            Layer::Made { digest, size, form: Form::Plain } => Some((*digest, *size)),
            _ => None,
        })
        .collect();
    if let Some(plain) = plain {
        return Ok(make_manifest(config.digest, config.size, &plain));
    }
    let damaged = |source| ExportError::Document { digest: gathered.descriptor.digest, source };
    // As it stands, so that annotations and what else it says are kept.
    let mut json: Value = serde_json::from_slice(&gathered.bytes).map_err(damaged)?;
    json["mediaType"] = media_type::OCI_MANIFEST.into();
    json["config"]["mediaType"] = media_type::OCI_CONFIG.into();
    for (at, made) in layers.iter().enumerate() {
        let layer = &mut json["layers"][at];
        match made {
            Layer::Elsewhere | Layer::Kept(None) => {}
            Layer::Kept(Some(form)) => layer["mediaType"] = type_of(*form).into(),
            Layer::Made { digest, size, form } => {
                layer["mediaType"] = type_of(*form).into();
                layer["digest"] = digest.to_string().into();
                layer["size"] = (*size).into();
            }
        }
    }
    serde_json::to_vec(&json).map_err(damaged)
}

/// How `manifest.json` lists an image, if it can: it needs all diff IDs.
fn docker(gathered: &GatheredManifest, layers: &[Layer]) -> Option<DockerImage> {
    gathered.config.as_ref().filter(|_| gathered.kind == ManifestKind::Image)?;
    let raw = raw_layers(gathered);
    let layers = gathered.layers.iter().zip(layers).zip(raw).map(|((layer, made), raw)| {
        let (digest, size) = match made {
            Layer::Made { digest, size, .. } => (*digest, *size),
            _ => (layer.descriptor.digest, layer.descriptor.size),
        };
        let source = matches!(made, Layer::Elsewhere).then_some(raw);
        Some(DockerLayer { digest, diff_id: layer.diff_id?, size, source })
    });
    let layers = layers.collect::<Option<Vec<_>>>()?;
    Some(DockerImage { config: gathered.manifest.config.digest, layers })
}

/// The layers' descriptors with all that they say, such as URLs.
fn raw_layers(gathered: &GatheredManifest) -> Vec<Value> {
    let json: Value = serde_json::from_slice(&gathered.bytes).unwrap_or_default();
    match &json["layers"] {
        Value::Array(layers) => layers.clone(),
        _ => Vec::new(),
    }
}

/// What a manifest says it is about (OCI image specification, manifest.md).
pub(super) fn subject(bytes: &[u8]) -> Option<Digest> {
    let json: Value = serde_json::from_slice(bytes).ok()?;
    json["subject"]["digest"].as_str()?.parse().ok()
}

/// A descriptor of a manifest for `index.json`. What an index says of it, a
/// manifest alone doesn't need.
pub(super) fn as_root(outgoing: &Outgoing) -> Descriptor {
    let listed = &outgoing.descriptor;
    let json: Value = serde_json::from_slice(&outgoing.bytes).unwrap_or_default();
    let text = |key: &str| json[key].as_str().map(str::to_owned);
    let media_type = text("mediaType").unwrap_or_else(|| listed.media_type.clone());
    let mut root = Descriptor::new(&media_type, listed.digest, listed.size);
    root.artifact_type = text("artifactType");
    root
}
