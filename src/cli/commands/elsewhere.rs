//! Verbs that people type because other tools have them: what is meant here.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::Printed;

/// Speak to a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Registry {
    names: Vec<String>,
}

pub(crate) fn pull(args: &Registry) -> Printed {
    let name = named(&args.names);
    let hint = format!("docker pull {name} && orlop save {name}");
    Err(Failure::new("orlop doesn't speak to registries", Exit::Usage).hint(hint))
}

pub(crate) fn push(args: &Registry) -> Printed {
    let name = named(&args.names);
    let hint = format!("orlop load {name} && docker push {name}");
    Err(Failure::new("orlop doesn't speak to registries", Exit::Usage).hint(hint))
}

fn named(names: &[String]) -> String {
    if names.is_empty() { "IMAGE".to_owned() } else { names.join(" ") }
}
