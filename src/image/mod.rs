//! The world of container images: references, manifests, configs, archives.
//!
//! Reads what engines and tools write, in their own words, and writes what they
//! accept. All archives are untrusted: limits are checked before memory is
//! taken, links and paths are kept inside the archive, digests are verified.
//! Knows nothing of the store, the file system or the terminal.

mod archive;
mod compression;
mod config;
mod contents;
mod emit;
mod error;
mod lookalike;
mod manifest;
mod manifest_json;
pub mod media_type;
mod members;
mod path;
mod query;
mod reference;
mod resolve;
mod small_bodies;
mod source;
mod tree;

pub use archive::{Dialect, Warning};
pub use compression::{Compression, sniff};
pub use config::{Config, History, Rootfs, chain_id};
pub use contents::{
    Contents, Document, FoundConfig, FoundLayer, FoundManifest, ManifestKind, Root,
};
pub use emit::{
    DockerImage, DockerLayer, DocumentKind, EmitAncestor, EmitBody, EmitDocument, EmitImage,
    EmitMember, EmitPlan, Format, Sink, TarSink,
};
pub use error::Error;
pub use lookalike::Lookalike;
pub use manifest::{
    Descriptor, Index, Manifest, Platform, make_docker_manifest, make_manifest, make_manifest_of,
};
pub use members::{
    MOST_EXTENSION, MOST_MEMBERS, MOST_PATH_BYTES, Member, MemberBody, MemberKind, Members,
};
pub use path::clean as clean_path;
pub use query::Query;
pub use reference::{Reference, familiar_repository, parse_repository};
pub use resolve::{Bodies, make_v1_config, resolve, wanted};
pub use small_bodies::{MOST_DOCUMENT, SmallBodies};
pub use source::{Seekable, Source, Stream};
