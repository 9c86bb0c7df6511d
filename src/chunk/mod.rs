//! Chunks: where content is cut, and the recipes that name the pieces.
//!
//! Knows nothing of tar, packs or the store.

pub mod cutter;
pub mod recipe;
