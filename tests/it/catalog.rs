//! The catalog is a cache: whatever happens to it, nothing is lost.
