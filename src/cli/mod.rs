//! The command line: arguments, one call into the library, and what people see.
//!
//! The only place that knows the terminal, the environment, the clock and exit
//! codes. Standard output carries data only; all else goes to standard error.

mod commands;
mod exit;
mod failure;
mod output;
mod progress;
mod surroundings;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};

use exit::Exit;

/// Keep container images in a deduplicating archive store
///
/// orlop takes image archives (`docker save`) apart into layers, files and
/// chunks, stores each once, and gives any stored image back as an archive that
/// `docker load` accepts, exactly as it was.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, max_term_width = 100, after_help = exit::HELP)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// Folder of the store [default: orlop in the user's data folder]
    // An empty variable is no variable, so the parser must let it pass.
    #[arg(short, long, global = true, env = "ORLOP_STORE", value_name = "PATH",
        value_parser = OsStringValueParser::new().map(PathBuf::from))]
    store: Option<PathBuf>,
    /// Print nothing but data and errors
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Save(commands::save::Args),
    Images(commands::images::Args),
    Inspect(commands::inspect::Args),
    Load(commands::load::Args),
    Export(commands::export::Args),
    Doctor(commands::doctor::Args),
    Tag(commands::tag::Args),
    Rm(commands::rm::Args),
    Pin(commands::pin::Pin),
    Unpin(commands::pin::Unpin),
    Forget(commands::forget::Args),
    Undo(commands::undo::Args),
    Init(commands::init::Args),
    Stats(commands::stats::Args),
    Optimize(commands::optimize::Args),
    Gc(commands::gc::Args),
    Reindex(commands::reindex::Args),
    #[command(hide = true)]
    Pull(commands::elsewhere::Registry),
    #[command(hide = true)]
    Push(commands::elsewhere::Registry),
}

/// Runs the command that these arguments ask for.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help that nobody reads to its end is no failure.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    surroundings::clean_up_on_signals();
    let result = match carry_out(&arguments) {
        // The catalog holds nothing of its own: build it again, and try again.
        Err(failure) if failure.is_in_catalog() => {
            surroundings::rebuild_catalog(&arguments.global).and_then(|()| carry_out(&arguments))
        }
        result => result,
    };
    match result {
        Ok(exit) => exit,
        Err(failure) => failure.report(),
    }
    .into()
}

fn carry_out(arguments: &Arguments) -> output::Printed {
    let global = &arguments.global;
    match &arguments.command {
        Command::Save(args) => commands::save::run(global, args),
        Command::Images(args) => commands::images::run(global, args),
        Command::Inspect(args) => commands::inspect::run(global, args),
        Command::Load(args) => commands::load::run(global, args),
        Command::Export(args) => commands::export::run(global, args),
        Command::Doctor(args) => commands::doctor::run(global, args),
        Command::Tag(args) => commands::tag::run(global, args),
        Command::Rm(args) => commands::rm::run(global, args),
        Command::Pin(args) => commands::pin::run_pin(global, args),
        Command::Unpin(args) => commands::pin::run_unpin(global, args),
        Command::Forget(args) => commands::forget::run(global, args),
        Command::Undo(args) => commands::undo::run(global, args),
        Command::Init(args) => commands::init::run(global, args),
        Command::Stats(args) => commands::stats::run(global, args),
        Command::Optimize(args) => commands::optimize::run(global, args),
        Command::Gc(args) => commands::gc::run(global, args),
        Command::Reindex(args) => commands::reindex::run(global, args),
        Command::Pull(args) => commands::elsewhere::pull(args),
        Command::Push(args) => commands::elsewhere::push(args),
    }
}
