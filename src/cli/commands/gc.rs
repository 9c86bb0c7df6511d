//! `orlop gc`

use orlop::codec::Levels;
use orlop::ops::gc::{GcOptions, gc, plan};
use orlop::size::ByteCount;
use orlop::store::gc::{Collected, Outcome};
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

/// The level of what is compressed again: that of `save`, by default.
const LEVEL: i32 = 6;

/// Free the space of what was removed
///
/// Removes packs that no revision needs, and writes others again that are partly
/// needed, until what nothing needs is at most --max-waste of the store. `undo` goes back
/// no further than this. Others may save and export meanwhile; what those that began
/// before may still need stays for the next time. It can be interrupted at any moment,
/// and where the disk is full, what needs no room to be removed still goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Leave at most this much of the store to what nothing needs
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    max_waste: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    dry_run: bool,
    before: u64,
    removed: u64,
    written: u64,
    free: i64,
    waste: u64,
    packs: u64,
    records: u64,
    no_room: bool,
    waiting_for: Vec<u32>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    let mut store = surroundings::open(global, false)?;
    if args.dry_run {
        let planned = plan(&mut store, args.max_waste, &[]);
        surroundings::report_notices(global, &mut store);
        let planned = planned?;
        let outcome = Outcome { collected: planned, waiting_for: Vec::new() };
        if args.json {
            return json(true, &outcome, planned.dead + planned.again);
        }
        output::lines(&plan_lines(&planned))?;
        return Ok(Exit::Done);
    }
    let options = GcOptions {
        waste: args.max_waste,
        levels: Levels::for_content(LEVEL),
        now: surroundings::now(),
        program: surroundings::PROGRAM,
    };
    let bar = Bar::new("collecting", global.quiet);
    let outcome = gc(&mut store, &options, &bar);
    surroundings::report_notices(global, &mut store);
    let outcome = outcome?;
    if args.json {
        json(false, &outcome, outcome.collected.removed)?;
    } else if !global.quiet {
        output::lines(&[done_line(&outcome.collected)])?;
    }
    report(&outcome)
}

/// Says what is left to do.
fn report(outcome: &Outcome) -> Printed {
    if outcome.collected.no_room {
        let text = "warning: no room to write packs again: only those that nothing needs went";
        output::note(text);
    }
    if outcome.waiting_for.is_empty() {
        return Ok(if outcome.collected.no_room { Exit::SomeFailed } else { Exit::Done });
    }
    let mut names: Vec<String> = Vec::new();
    for pid in &outcome.waiting_for {
        names.push(if *pid == 0 { "one that isn't known".to_owned() } else { pid.to_string() });
    }
    let failure = Failure::new(
        format!("cannot remove packs that running processes may need: {}", names.join(", ")),
        Exit::SomeFailed,
    );
    Err(failure.hint("when they have ended: orlop gc"))
}

fn json(dry_run: bool, outcome: &Outcome, removed: u64) -> Printed {
    let it = &outcome.collected;
    output::json(&Document {
        schema: 1,
        dry_run,
        before: it.before,
        removed,
        written: it.written,
        free: removed.cast_signed() - it.written.cast_signed(),
        waste: it.waste,
        packs: it.packs,
        records: it.records,
        no_room: it.no_room,
        waiting_for: outcome.waiting_for.clone(),
    })?;
    Ok(Exit::Done)
}

fn plan_lines(it: &Collected) -> Vec<String> {
    if it.packs == 0 {
        return vec![without_packs(it, "would remove")];
    }
    let line = |verb: &str, bytes: u64, what: &str| {
        format!("would {verb:<8} {:>8} {what}", ByteCount(bytes).to_string())
    };
    let mut lines = Vec::new();
    if it.dead > 0 {
        lines.push(line("remove", it.dead, "in packs that nothing needs"));
    }
    if it.again > 0 {
        let what = format!("in packs that are partly needed, as {}", ByteCount(it.written));
        lines.push(line("rewrite", it.again, &what));
    }
    lines.push(line("free", it.free(), &format!("of {}", ByteCount(it.before))));
    if it.waste > 0 {
        lines.push(line("leave", it.waste, "that nothing needs"));
    }
    lines
}

fn done_line(it: &Collected) -> String {
    if it.packs == 0 {
        return without_packs(it, "removed");
    }
    let free = it.removed.saturating_sub(it.written);
    let mut line = format!("freed {} of {}", ByteCount(free), ByteCount(it.before));
    if it.written > 0 {
        let text = format!(": removed {}, wrote {}", ByteCount(it.removed), ByteCount(it.written));
        line.push_str(&text);
    }
    line
}

/// What is said where no pack goes.
fn without_packs(it: &Collected, verb: &str) -> String {
    match it.records {
        0 => "nothing to do".to_owned(),
        1 => format!("{verb} 1 record and no packs"),
        count => format!("{verb} {count} records and no packs"),
    }
}

/// A percentage as hundredths of a percent.
fn parse_percent(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let parsed = (digits(part) && part.len() <= 2 && digits(whole) && !whole.is_empty())
        .then(|| format!("{whole}{part:0<2}").parse().ok())
        .flatten();
    parsed
        .filter(|value| *value <= 10_000)
        .ok_or_else(|| "expected a percentage of 0 to 100, such as 5%".to_owned())
}
