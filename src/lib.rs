//! orlop: a content-addressed, deduplicating archive store for container images.
//!
//! The library that the `orlop` command is made of. Start at [`ops`], which has
//! one function for each thing that a user can ask for; [`store::Store`] is what
//! they work on. The modules below stand in reading order, from what a user asks
//! for down to bytes; `docs/ARCHITECTURE.md` says what each may use.
//!
//! The API serves the command and its tests and may change with any release;
//! the store format and the command line are what is kept stable.

pub mod ops;

pub mod engine;
pub mod project;
pub mod store;

pub mod catalog;
pub mod image;
pub mod pack;

pub mod chunk;
pub mod gzip;
pub mod layer;

pub mod codec;
pub mod fs;
pub mod progress;
pub mod time;

pub mod digest;
pub mod size;
pub mod varint;
