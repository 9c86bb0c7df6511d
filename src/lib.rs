//! orlop: a content-addressed, deduplicating archive store for container images.

pub mod catalog;
pub mod chunk;
pub mod codec;
pub mod digest;
pub mod fs;
pub mod image;
pub mod layer;
pub mod ops;
pub mod pack;
pub mod progress;
pub mod size;
pub mod store;
pub mod time;
pub mod varint;
