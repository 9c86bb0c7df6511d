//! `orlop inspect`

use orlop::ops::inspect::{Inspected, inspect};
use orlop::time::Time;
use serde::Serialize;
use serde_json::value::RawValue;

use super::find;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Show all that is known of images, as JSON
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which images: `app:1.4`, `app:1.4~1` (the one before), `app@sha256:...`, or
    /// 6 or more hex digits of an image ID
    #[arg(required = true, value_name = "REF")]
    names: Vec<String>,
    /// Print JSON, as without
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    images: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    references: Vec<String>,
    image_id: String,
    root: Root,
    platform: String,
    created: Option<String>,
    saved_at: Time,
    save: String,
    size: u64,
    added: u64,
    pinned: bool,
    layers: Vec<Layer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Indexed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    referrers: Vec<Root>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ancestors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_shipped: Vec<String>,
    config: Option<Box<RawValue>>,
    manifest: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Root {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Serialize)]
struct Layer {
    digest: String,
    #[serde(rename = "mediaType")]
    media_type: String,
    diff_id: Option<String>,
    size: u64,
    stored: u64,
}

/// An image of an index.
#[derive(Serialize)]
struct Indexed {
    manifest: String,
    image_id: String,
    platform: String,
    layers: u64,
    size: u64,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let store = surroundings::open_to_read(global)?;
    let mut images = Vec::new();
    for name in &args.names {
        images.push(row(inspect(&store, find(&store, name)?)?)?);
    }
    output::json(&Document { schema: 1, images })
}

fn row(found: Inspected) -> Result<Row, Failure> {
    let revision = found.resolved.revision;
    let layers = found.layers.iter().map(|layer| Layer {
        digest: layer.digest.to_string(),
        media_type: layer.media_type.clone(),
        diff_id: layer.diff_id.map(|diff_id| diff_id.to_string()),
        size: layer.size,
        stored: layer.stored,
    });
    let images = found.images.iter().map(|image| Indexed {
        manifest: image.manifest.to_string(),
        image_id: image.image_id.to_string(),
        platform: image.platform.to_string(),
        layers: image.layers,
        size: image.size,
    });
    let referrers = found.referrers.iter().map(|root| Root {
        media_type: root.media_type.clone(),
        digest: root.digest.to_string(),
        size: root.size,
    });
    let names = found.references.iter().map(|name| format!("{}:{}", name.repository, name.tag));
    Ok(Row {
        references: names.collect(),
        image_id: revision.image_id.to_string(),
        root: Root {
            media_type: revision.root_type,
            digest: revision.root.to_string(),
            size: revision.root_size,
        },
        platform: revision.platform,
        created: revision.created,
        saved_at: revision.saved_at,
        save: revision.record.to_string(),
        size: revision.size,
        added: revision.added,
        pinned: revision.pinned,
        layers: layers.collect(),
        images: images.collect(),
        referrers: referrers.collect(),
        ancestors: found.ancestors.iter().map(ToString::to_string).collect(),
        not_shipped: found.not_shipped.iter().map(ToString::to_string).collect(),
        config: found.config.as_deref().map(raw).transpose()?,
        manifest: found.manifest.as_deref().map(raw).transpose()?,
        index: found.index.as_deref().map(raw).transpose()?,
    })
}

fn raw(bytes: &[u8]) -> Result<Box<RawValue>, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::of("cannot show a stored document", &error, Exit::Damage))
}
