//! `orlop images`

use orlop::image::familiar_repository;
use orlop::ops::images::{ListedImage, images};
use orlop::size::ByteCount;
use orlop::time::Time;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// List stored images
///
/// Shows the newest revision of each reference, and images without one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only images whose name matches; `*` and `?` stand for any text and letter
    pattern: Option<String>,
    /// Show older revisions too
    #[arg(short, long)]
    all: bool,
    /// Print JSON
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
    repository: Option<String>,
    tag: Option<String>,
    image_id: String,
    root: String,
    platform: String,
    created: Option<String>,
    saved_at: Time,
    save: String,
    layers: u64,
    size: u64,
    added: u64,
    pinned: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let store = surroundings::open(global, false)?;
    let listed = images(&store, args.pattern.as_deref(), args.all)?;
    // A listing that isn't complete must not look like one that is.
    let complete = store.records_unreadable() == 0;
    let exit = |done| if complete { done } else { Exit::Damage };
    if args.json {
        let images = listed.into_iter().map(row).collect();
        return output::json(&Document { schema: 1, images }).map(exit);
    }
    let now = surroundings::now();
    let rows: Vec<Vec<String>> = listed.iter().map(|image| cells(image, now)).collect();
    let header = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SAVED", "SIZE", "ADDED", "PINNED"];
    // Few stores have any.
    let columns = header.len() - usize::from(listed.iter().all(|it| !it.revision.pinned));
    output::lines(&output::table(&header[..columns], &rows)).map(exit)
}

fn cells(image: &ListedImage, now: Time) -> Vec<String> {
    let none = || "<none>".to_owned();
    let revision = &image.revision;
    let (repository, tag) = match &image.reference {
        Some(name) => (familiar_repository(&name.repository).to_owned(), name.tag.clone()),
        None => (none(), none()),
    };
    let created = revision.created.as_ref().and_then(|created| created.parse::<Time>().ok());
    vec![
        repository,
        tag,
        revision.image_id.short(),
        created
            .map_or_else(|| "unknown".to_owned(), |created| output::ago(created.seconds_to(now))),
        output::ago(revision.saved_at.seconds_to(now)),
        ByteCount(revision.size).to_string(),
        ByteCount(revision.added).to_string(),
        if revision.pinned { "yes" } else { "" }.to_owned(),
    ]
}

fn row(image: ListedImage) -> Row {
    let revision = image.revision;
    let (repository, tag) = image.reference.map(|name| (name.repository, name.tag)).unzip();
    Row {
        repository,
        tag,
        image_id: revision.image_id.to_string(),
        root: revision.root.to_string(),
        platform: revision.platform,
        created: revision.created,
        saved_at: revision.saved_at,
        save: revision.record.to_string(),
        layers: revision.layers,
        size: revision.size,
        added: revision.added,
        pinned: revision.pinned,
    }
}
