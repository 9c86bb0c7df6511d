//! `orlop load`

use std::path::PathBuf;

use orlop::image::Reference;
use orlop::ops::images::images;
use orlop::ops::load::{LoadOutcome, LoadState, LoadedImage, Sent, load};
use orlop::ops::resolve::Resolved;
use orlop::size::ByteCount;
use orlop::store::Store;
use serde::Serialize;

use super::chosen::{EngineChoice, Projects};
use super::find;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, quoted};
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

/// Put images into a running engine, sending only the layers that it lacks
///
/// The engine is asked what it has; afterwards each image is looked up under its name.
/// An engine that refuses what is left is sent everything.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which images: `app:1.4`, `app:1.4~1` (the one before),
    /// `app:1.4@{2026-05-01}` (as of then), `app@sha256:...`, or 6 or more hex
    /// digits of an image ID
    #[arg(value_name = "REF",
        required_unless_present_any = ["all", "compose", "kubernetes", "input"])]
    names: Vec<String>,
    /// The newest image under each name in the store
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    projects: Projects,
    #[command(flatten)]
    engine: EngineChoice,
    /// Name the image like this in the engine
    #[arg(short, long, value_name = "REF", conflicts_with_all = ["all", "compose", "kubernetes"])]
    tag: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// As `docker load` has it.
    #[arg(short, long, hide = true)]
    input: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    engine: String,
    images: Vec<ImageRow>,
    failures: Vec<FailureRow>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct ImageRow {
    reference: Option<String>,
    image_id: String,
    state: &'static str,
    moved: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<SentRow>,
}

/// What was sent for it, and for others that were sent at once.
#[derive(Serialize)]
struct SentRow {
    layers: usize,
    layers_sent: usize,
    bytes: u64,
    whole: u64,
    refused: Option<String>,
}

#[derive(Serialize)]
struct FailureRow {
    name: String,
    error: String,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    if let Some(input) = &args.input {
        let input = quoted(input);
        return Err(Failure::new("`load` doesn't take an archive", Exit::Usage)
            .hint(format!("keep it in the store: orlop save -i {input}"))
            .hint(format!("give it to the engine: docker load -i {input}")));
    }
    let tag = args.tag.as_deref().map(Reference::parse).transpose();
    let tag = tag.map_err(|error| Failure::new(error.to_string(), Exit::Usage))?;
    if tag.is_some() && args.names.len() > 1 {
        return Err(Failure::new("`--tag` takes one image at a time", Exit::Usage));
    }
    let store = surroundings::open_to_read(global)?;
    let mut failures = Vec::new();
    let chosen = chosen(&store, args, &mut failures)?;
    if chosen.is_empty() {
        return match failures.len() {
            0 => Err(Failure::new("the store has no image with a name", Exit::NotFound)),
            _ => Ok(Exit::NotFound),
        };
    }
    let engine = args.engine.connect()?;
    let about = engine.about().to_string();
    let bar = Bar::new("loading", global.quiet);
    let outcome = load(&store, &engine, &chosen, tag.as_ref(), &bar)?;
    if args.json {
        output::json(&document(about, &outcome, failures.iter()))?;
    } else if !global.quiet {
        for note in &outcome.notes {
            output::note(&format!("note: {note}"));
        }
        report(&about, &outcome)?;
    }
    Ok(if failures.is_empty() { Exit::Done } else { Exit::SomeFailed })
}

/// The images that were asked for. What isn't in the store is told, and the others
/// are loaded, but where it was asked for by a single name.
fn chosen(
    store: &Store,
    args: &Args,
    failures: &mut Vec<(String, String)>,
) -> Result<Vec<Resolved>, Failure> {
    let mut names = args.names.clone();
    names.extend(args.projects.images()?.into_iter().map(|image| image.name));
    if args.all {
        let named = images(store, None, false)?.into_iter().filter_map(|image| image.reference);
        names.extend(named.map(|name| format!("{}:{}", name.repository, name.tag)));
    }
    let mut chosen: Vec<Resolved> = Vec::new();
    for name in &names {
        match find(store, name) {
            Ok(found) => {
                let same = |it: &Resolved| {
                    it.reference == found.reference && it.revision.root == found.revision.root
                };
                if !chosen.iter().any(same) {
                    chosen.push(found);
                }
            }
            Err(failure) if names.len() == 1 => return Err(failure),
            Err(failure) => {
                failures.push((name.clone(), failure.line()));
                failure.report();
            }
        }
    }
    Ok(chosen)
}

fn report(engine: &str, outcome: &LoadOutcome) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(image) = outcome.images.get(at) {
        let LoadState::Sent(sent) = &image.state else {
            lines.push(match image.state {
                LoadState::Named => format!(
                    "named {} in {engine}: the image was there, nothing sent",
                    called(image)
                ),
                _ => format!("unchanged {} in {engine}", called(image)),
            });
            at += 1;
            continue;
        };
        // Images that were sent at once stand together.
        let same = outcome.images[at..].iter().take_while(|it| it.state == image.state).count();
        let names: Vec<String> = outcome.images[at..at + same].iter().map(called).collect();
        lines.push(format!("loaded {} into {engine}: {}", names.join(", "), what(sent)));
        if let Some(refused) = &sent.refused {
            output::note(&format!(
                "note: sent everything, since what was left didn't do: {refused}"
            ));
        }
        at += same;
    }
    for image in &outcome.images {
        if let Some(moved) = image.moved {
            let (name, moved) = (called(image), moved.short());
            output::note(&format!("note: {name} was another image, sha256:{moved}"));
        }
    }
    output::lines(&lines)?;
    Ok(())
}

fn what(sent: &Sent) -> String {
    let (layers, s) = (sent.layers, if sent.layers == 1 { "" } else { "s" });
    let bytes = ByteCount(sent.bytes);
    if sent.layers_sent == layers {
        return format!("sent {layers} layer{s}, {bytes}");
    }
    let (some, whole) = (sent.layers_sent, ByteCount(sent.whole));
    format!("sent {some} of {layers} layers, {bytes} instead of {whole}")
}

fn called(image: &LoadedImage) -> String {
    let name = image.reference.as_ref().map(Reference::familiar);
    name.unwrap_or_else(|| format!("sha256:{}", image.image_id.short()))
}

fn document<'a>(
    engine: String,
    outcome: &LoadOutcome,
    failures: impl Iterator<Item = &'a (String, String)>,
) -> Document {
    let images = outcome.images.iter().map(|image| ImageRow {
        reference: image.reference.as_ref().map(ToString::to_string),
        image_id: image.image_id.to_string(),
        state: match image.state {
            LoadState::There => "there",
            LoadState::Named => "named",
            LoadState::Sent(_) => "loaded",
        },
        moved: image.moved.map(|moved| moved.to_string()),
        sent: match &image.state {
            LoadState::Sent(sent) => Some(SentRow {
                layers: sent.layers,
                layers_sent: sent.layers_sent,
                bytes: sent.bytes,
                whole: sent.whole,
                refused: sent.refused.clone(),
            }),
            _ => None,
        },
    });
    Document {
        schema: 1,
        engine,
        images: images.collect(),
        failures: failures
            .map(|(name, error)| FailureRow { name: name.clone(), error: error.clone() })
            .collect(),
        notes: outcome.notes.iter().map(ToString::to_string).collect(),
    }
}
