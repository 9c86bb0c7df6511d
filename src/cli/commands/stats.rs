//! `orlop stats`

use orlop::image::familiar_repository;
use orlop::ops::stats::{Stats, stats};
use orlop::size::ByteCount;
use serde::Serialize;

use crate::cli::output::{self, Printed};
use crate::cli::{Global, surroundings};

/// Show what the store saves, and what its bytes are used for
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    revisions: u64,
    raw: u64,
    after_layers: u64,
    after_chunks: u64,
    stored: u64,
    overhead: u64,
    kinds: Kinds,
    repositories: Vec<Repository>,
    originals: u64,
    shared: u64,
    base: u64,
}

#[derive(Serialize)]
struct Kinds {
    content_plain: u64,
    content_delta: u64,
    recipes: u64,
    sections: u64,
    directories: u64,
    records: u64,
    catalog: u64,
}

#[derive(Serialize)]
struct Repository {
    name: Option<String>,
    revisions: u64,
    raw: u64,
    exclusive: u64,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let store = surroundings::open_to_read(global)?;
    let stats = stats(&store)?;
    if args.json { output::json(&document(stats)) } else { output::lines(&lines(&stats)) }
}

fn lines(stats: &Stats) -> Vec<String> {
    let total = stats.total();
    let row = |name: &str, bytes: u64, of: u64| {
        vec![name.to_owned(), ByteCount(bytes).to_string(), percent(bytes, of)]
    };
    let steps = [
        row("images as they are", stats.raw, stats.raw),
        row("each layer once", stats.layers, stats.raw),
        row("each chunk once", stats.packs.content_raw, stats.raw),
        row("compressed, as stored", total, stats.raw),
    ];
    let kinds = [
        row("content", stats.packs.content_plain, total),
        row("content as deltas", stats.packs.content_delta, total),
        row("recipes", stats.packs.recipes, total),
        row("tar framing", stats.packs.sections, total),
        row("directories", stats.packs.directories, total),
        row("records", stats.records, total),
        row("catalog", stats.catalog, total),
    ];
    let mut repositories: Vec<Vec<String>> = Vec::new();
    for repository in &stats.repositories {
        let name = match repository.repository.as_str() {
            "" => "<none>",
            name => familiar_repository(name),
        };
        repositories.push(vec![
            name.to_owned(),
            repository.revisions.to_string(),
            ByteCount(repository.raw).to_string(),
            ByteCount(repository.exclusive).to_string(),
        ]);
    }
    let mut lines = output::table(&["STEP", "BYTES", "OF RAW"], &steps);
    lines.push(String::new());
    lines.extend(output::table(&["KIND", "BYTES", "OF STORE"], &kinds));
    lines.push(String::new());
    let header = ["REPOSITORY", "REVISIONS", "RAW", "EXCLUSIVE"];
    lines.extend(output::table(&header, &repositories));
    let (shared, base) = (ByteCount(stats.shared), ByteCount(stats.base));
    let originals = ByteCount(stats.originals);
    lines.push(format!("archives as they were saved: {originals}"));
    lines.push(format!("shared by several: {shared}; only bases of deltas, or unused: {base}"));
    lines
}

/// In percent, with two digits behind the point; of nothing, a dash.
fn percent(part: u64, of: u64) -> String {
    if of == 0 {
        return "-".to_owned();
    }
    let hundredths = u128::from(part) * 10_000 / u128::from(of);
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn document(stats: Stats) -> Document {
    let (stored, overhead) = (stats.total(), stats.overhead());
    let repositories = stats.repositories.into_iter().map(|repository| Repository {
        name: Some(repository.repository).filter(|name| !name.is_empty()),
        revisions: repository.revisions,
        raw: repository.raw,
        exclusive: repository.exclusive,
    });
    Document {
        schema: 1,
        revisions: stats.revisions,
        raw: stats.raw,
        after_layers: stats.layers,
        after_chunks: stats.packs.content_raw,
        stored,
        overhead,
        kinds: Kinds {
            content_plain: stats.packs.content_plain,
            content_delta: stats.packs.content_delta,
            recipes: stats.packs.recipes,
            sections: stats.packs.sections,
            directories: stats.packs.directories,
            records: stats.records,
            catalog: stats.catalog,
        },
        repositories: repositories.collect(),
        originals: stats.originals,
        shared: stats.shared,
        base: stats.base,
    }
}
