//! All integration tests, in one binary to save linking.

mod catalog;
mod cli;
mod concurrent;
mod cost;
mod crash;
mod damage;
mod engines;
mod fixtures;
mod format;
mod limits;
mod roundtrip;
mod support;
mod vectors;
