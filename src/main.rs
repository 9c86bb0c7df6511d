//! The `orlop` command: parse, run, turn the outcome into an exit code.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os())
}
