//! orlop: a content-addressed, deduplicating archive store for container images.

pub mod digest;
pub mod layer;
pub mod image;
