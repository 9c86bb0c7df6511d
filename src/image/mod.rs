//! The world of container images: references, manifests, configs, archives.
//!
//! Reads what engines and tools write, in their own words, and writes what they
//! accept. All archives are untrusted: limits are checked before memory is
//! taken, links and paths are kept inside the archive, digests are verified.
//! Knows nothing of the store, the file system or the terminal.

mod compression;
mod config;
mod error;
mod manifest;
pub mod media_type;
mod members;
mod path;
mod query;
mod reference;
mod source;

pub use compression::{Compression, sniff};
pub use config::{Config, History, Rootfs};
pub use error::Error;
pub use manifest::{Descriptor, Index, Manifest, Platform, make_manifest};
pub use members::{
    MOST_EXTENSION, MOST_MEMBERS, MOST_PATH_BYTES, Member, MemberBody, MemberKind, Members,
};
pub use path::clean as clean_path;
pub use query::Query;
pub use reference::{Reference, familiar_repository, parse_repository};
pub use source::{Seekable, Source, Stream};
