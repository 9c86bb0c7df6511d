//! All integration tests, in one binary to save linking.

#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]
#![allow(clippy::print_stderr, reason = "tests say what they skip")]
#![allow(clippy::print_stdout, reason = "tests print tables for who wants them")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files of their own")]

mod catalog;
mod cli;
mod collect;
mod compressed;
mod concurrent;
mod cost;
mod crash;
mod cut;
mod damage;
mod dialects;
mod engines;
mod fixtures;
mod format;
mod history;
mod limits;
mod optimize;
mod records;
mod roundtrip;
mod support;
mod vectors;
