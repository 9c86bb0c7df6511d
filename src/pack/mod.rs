//! Packs: immutable files of compressed chunks, and their byte format.
//!
//! Knows bytes, ids and files; it deliberately doesn't know what the chunks
//! mean, nor where in a store a pack belongs.

pub mod directories;
pub mod format;
pub mod frame;
pub mod pipeline;
pub mod reader;
pub mod rewrite;
pub mod tables;
pub mod writer;
