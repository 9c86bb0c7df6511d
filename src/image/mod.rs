//! The world of container images: references, manifests, configs, archives.
//!
//! Knows nothing of the store.
