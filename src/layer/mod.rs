//! Layer bytes: tar headers, the split of a tar into framing and bodies, and
//! the way back.
//!
//! Assumes nothing of the bytes: any sequence of them comes back exactly.
//! Deliberately knows nothing of images, chunks, packs or the store.

pub mod header;
pub mod rebuild;
pub mod section;
pub mod split;
pub mod template;
