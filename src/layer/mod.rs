//! Layer bytes: tar headers, and the split of a tar into framing and bodies.
//!
//! Knows nothing of images, chunks or the store.

pub mod header;
