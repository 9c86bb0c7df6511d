//! Verbs that people type because other tools have them: what is meant here.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, quoted};
use crate::cli::output::Printed;

/// Load images into an engine
#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    #[arg(short, long)]
    input: Option<PathBuf>,
    names: Vec<String>,
}

/// Speak to a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Registry {
    names: Vec<String>,
}

pub(crate) fn load(args: &Load) -> Printed {
    if let Some(input) = &args.input {
        let input = quoted(input);
        let failure = Failure::new("`load` doesn't take an archive", Exit::Usage)
            .hint(format!("keep it in the store: orlop save -i {input}"))
            .hint(format!("give it to the engine: docker load -i {input}"));
        return Err(failure);
    }
    Err(through_engine("load", &args.names, "orlop export", "| docker load"))
}

pub(crate) fn pull(args: &Registry) -> Printed {
    let name = named(&args.names);
    let hint = format!("docker pull {name} && docker save {name} | orlop save -i -");
    Err(Failure::new("orlop doesn't speak to registries", Exit::Usage).hint(hint))
}

pub(crate) fn push(args: &Registry) -> Printed {
    let name = named(&args.names);
    let hint = format!("orlop export {name} | docker load && docker push {name}");
    Err(Failure::new("orlop doesn't speak to registries", Exit::Usage).hint(hint))
}

fn through_engine(verb: &str, names: &[String], before: &str, after: &str) -> Failure {
    Failure::new(format!("`{verb}` doesn't speak to engines yet"), Exit::Usage)
        .hint(format!("{before} {} {after}", named(names)))
}

fn named(names: &[String]) -> String {
    if names.is_empty() { "IMAGE".to_owned() } else { names.join(" ") }
}
