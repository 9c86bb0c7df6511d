//! `orlop optimize`

use std::time::{Duration, Instant};

use orlop::ops::optimize::{OptimizeOptions, OptimizeOutcome, Plan, Watch, least_memory, optimize};
use orlop::progress::Progress;
use orlop::size::{ByteCount, parse_bytes};
use orlop::time::parse_duration;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

/// Compress what is stored again, as hard as it can be
///
/// Takes one pack after the other, at zstd level 19, and keeps each that is done: it can
/// be ended at any time, and goes on with the next one when it is run again. Nothing
/// that is stored changes but for its size. Others may save and export meanwhile. The
/// packs that it replaces are removed on the way; those that processes may need which
/// began before go with the next `optimize` or `gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Begin no more packs after this time, such as 1h or 30m
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Use at most this much memory, such as 512M or 2G
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    memory: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    packs: u64,
    before: u64,
    after: u64,
    removed: u64,
    stay: u64,
    left: u64,
    damaged: Vec<DamagedRow>,
}

#[derive(Serialize)]
struct DamagedRow {
    pack: String,
    error: String,
}

/// Draws how it goes, and looks at the clock.
struct Watcher {
    bar: Bar,
    quiet: bool,
    begun: Instant,
    time: Option<Duration>,
}

impl Progress for Watcher {
    fn begin(&self, total: Option<u64>) {
        self.bar.begin(total);
    }

    fn advance(&self, bytes: u64) {
        self.bar.advance(bytes);
    }

    fn finish(&self) {
        self.bar.finish();
    }
}

impl Watch for Watcher {
    fn planned(&self, plan: &Plan) {
        if !self.quiet {
            let (count, space) = (packs(plan.packs), ByteCount(plan.space));
            let in_use = if plan.space_in_use > plan.space {
                format!(", or {} if others use the store", ByteCount(plan.space_in_use))
            } else {
                String::new()
            };
            output::note(&format!(
                "optimizing {count}, which takes up to {space} of free space{in_use}"
            ));
        }
    }

    fn has_time(&self) -> bool {
        self.time.is_none_or(|time| self.begun.elapsed() < time)
    }
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let usage = |text: String| Failure::new(text, Exit::Usage);
    let time = args.time.as_deref().map(|text| {
        parse_duration(text).ok_or_else(|| {
            usage(format!("`{text}` is not a length of time")).hint("orlop optimize --time 1h")
        })
    });
    let time = time.transpose()?;
    let memory = parse_bytes(&args.memory).ok_or_else(|| {
        usage(format!("`{}` is not a size", args.memory)).hint("orlop optimize --memory 1G")
    })?;
    if memory < least_memory() {
        let least = least_memory() >> 20;
        let text = format!("cannot optimize in {} of memory: {least}M are needed", args.memory);
        return Err(usage(text).hint(format!("orlop optimize --memory {least}M")));
    }
    let mut store = surroundings::open(global, false)?;
    let bar = Bar::new("optimizing", global.quiet);
    let watcher = Watcher { bar, quiet: global.quiet, begun: Instant::now(), time };
    let (now, program) = (surroundings::now(), surroundings::PROGRAM);
    let options = OptimizeOptions { memory, now, program };
    let result = optimize(&mut store, &options, &watcher);
    surroundings::report_notices(global, &mut store);
    report(global, args, result?)
}

fn report(global: &Global, args: &Args, outcome: OptimizeOutcome) -> Printed {
    if !args.json && !global.quiet {
        output::lines(&lines(&outcome))?;
    }
    let OptimizeOutcome { packs, before, after, removed, stay, left, damaged } = outcome;
    let mut exit = Exit::Done;
    let mut rows = Vec::new();
    for (pack, error) in damaged {
        let act = format!("cannot optimize pack `{}`", pack.short());
        let failure = Failure::of(act, &error, Exit::Damage);
        rows.push(DamagedRow { pack: pack.to_string(), error: failure.line() });
        exit = failure.report();
    }
    if args.json {
        let (schema, damaged) = (1, rows);
        output::json(&Document { schema, packs, before, after, removed, stay, left, damaged })?;
    }
    Ok(exit)
}

/// What a person reads.
fn lines(outcome: &OptimizeOutcome) -> Vec<String> {
    let mut lines = Vec::new();
    if outcome.packs > 0 {
        let (before, after) = (ByteCount(outcome.before), ByteCount(outcome.after));
        let saved = ByteCount(outcome.before.saturating_sub(outcome.after));
        let count = packs(outcome.packs);
        lines.push(format!("optimized {count}: {before} became {after}, {saved} less"));
    } else if outcome.removed > 0 {
        let removed = ByteCount(outcome.removed);
        lines.push(format!("removed {removed} in packs that were replaced before"));
    } else if outcome.stay > 0 {
        // Said below.
    } else if outcome.left == 0 && outcome.damaged.is_empty() {
        lines.push("nothing to do: all packs are optimized".to_owned());
    }
    if outcome.stay > 0 {
        let old = format!("{} old pack{}", outcome.stay, if outcome.stay == 1 { "" } else { "s" });
        lines.push(format!("{old} left to the next gc, as others use the store: orlop gc"));
    }
    if outcome.left > 0 {
        lines.push(format!("out of time, {} left: run it again to go on", packs(outcome.left)));
    }
    lines
}

fn packs(count: u64) -> String {
    format!("{count} pack{}", if count == 1 { "" } else { "s" })
}
