//! Recipes: what rebuilds one blob (docs/FORMAT.md section 5).
//!
//! A recipe names chunks by runs of positions in directories, through virtual
//! numbers, so that its sections can be written before the packs of their
//! chunks are closed. This module encodes and decodes; it deliberately doesn't
//! know where a directory or section is.

use crate::codec::Compression;
use crate::digest::{Digest, Id};
use crate::varint::{self, Cursor, Malformed};

/// The largest blob that a recipe of kind *bytes* holds.
pub const INLINE_MAX: usize = 512 << 10;
/// The longest replay that a recipe of kind *encode* holds.
pub const REPLAY_MAX: usize = 512 << 10;
/// How many blobs may stand on one another below a blob.
pub const STANDS_MAX: usize = 4;

const VERSION: u8 = 1;
const KIND_BYTES: u8 = 1;
const KIND_CHUNKS: u8 = 2;
const KIND_TAR: u8 = 3;
const KIND_ENCODE: u8 = 4;
const KIND_DECODE: u8 = 6;
const DIRECTORIES_MAX: u32 = 1 << 16;
const SPANS_MAX: u32 = 1 << 20;
const SECTIONS_MAX: u32 = 1 << 16;

/// How one blob is rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob, in bytes.
    pub size: u64,
    /// By what means.
    pub body: Body,
}

/// The part of a recipe that depends on its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// Content alone.
    Chunks(Names),
    /// Tar framing around content.
    Tar(Names),
    /// What compressing another blob makes.
    Encode {
        /// The blob that is compressed.
        of: Digest,
        /// With what, and what else is needed; opaque here.
        replay: Vec<u8>,
    },
    /// What decompressing another blob makes.
    Decode {
        /// The blob that is decompressed.
        of: Digest,
        /// How that is compressed.
        compression: Compression,
        /// Sections that tell the tar's framing, without names of chunks.
        sections: Vec<Id>,
    },
}

impl Body {
    /// What the virtual numbers of the sections mean, where they name chunks.
    pub fn names(&self) -> Option<&Names> {
        match self {
            Self::Chunks(names) | Self::Tar(names) => Some(names),
            _ => None,
        }
    }

    /// The ids of the sections, in order.
    pub fn sections(&self) -> &[Id] {
        match self {
            Self::Chunks(names) | Self::Tar(names) => &names.sections,
            Self::Decode { sections, .. } => sections,
            Self::Bytes(_) | Self::Encode { .. } => &[],
        }
    }

    /// The blob that this one is made from.
    pub fn stands_on(&self) -> Option<Digest> {
        match self {
            Self::Encode { of, .. } | Self::Decode { of, .. } => Some(*of),
            _ => None,
        }
    }
}

/// What the virtual numbers in a recipe's sections mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The directories that spans refer to.
    pub directories: Vec<Id>,
    /// Ascending, without overlap.
    pub spans: Vec<Span>,
    /// The ids of the sections, in order.
    pub sections: Vec<Id>,
}

/// A range of virtual numbers and the chunks that they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first virtual number.
    pub virtual_first: u64,
    /// Index into [`Names::directories`].
    pub directory: u32,
    /// Position of the first chunk in that directory.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Chunks that stand one after the other in one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Which directory.
    pub directory: Id,
    /// Position of the first chunk.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Names {
    /// The chunks that `count` virtual numbers from `first` on mean.
    pub fn resolve(&self, first: u64, count: u64) -> Result<Vec<Run>, Malformed> {
        let unknown = Malformed::Other("a chunk is named that no span covers");
        let end = first.checked_add(count).ok_or(unknown)?;
        let mut runs = Vec::new();
        let mut at = first;
        let start = self.spans.partition_point(|span| span.virtual_first <= first);
        let spans = self.spans[start.saturating_sub(1)..].iter();
        for span in spans.filter(|span| span.count > 0) {
            if at == end {
                break;
            }
            let skip = at.checked_sub(span.virtual_first).ok_or(unknown)?;
            let skip = u32::try_from(skip).ok().filter(|skip| *skip < span.count).ok_or(unknown)?;
            let count = u64::from(span.count - skip).min(end - at);
            at += count;
            runs.push(Run {
                directory: self.directories[varint::in_memory(span.directory)],
                first: span.first + skip,
                count: u32::try_from(count).map_err(|_| unknown)?,
            });
        }
        if at == end { Ok(runs) } else { Err(unknown) }
    }
}

impl Recipe {
    /// The recipe as a chunk.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.body {
            Body::Bytes(_) => KIND_BYTES,
            Body::Chunks(_) => KIND_CHUNKS,
            Body::Tar(_) => KIND_TAR,
            Body::Encode { .. } => KIND_ENCODE,
            Body::Decode { .. } => KIND_DECODE,
        };
        let mut out = vec![VERSION, kind];
        out.extend_from_slice(self.digest.as_bytes());
        varint::put(&mut out, self.size);
        match &self.body {
            Body::Bytes(bytes) => out.extend_from_slice(bytes),
            Body::Chunks(names) | Body::Tar(names) => encode_names(&mut out, names),
            Body::Encode { of, replay } => {
                out.extend_from_slice(of.as_bytes());
                out.extend_from_slice(replay);
            }
            Body::Decode { of, compression, sections } => {
                out.extend_from_slice(of.as_bytes());
                out.push(code(*compression));
                put_ids(&mut out, sections);
            }
        }
        out
    }

    /// The recipe that a chunk holds.
    pub fn decode(chunk: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(chunk);
        let (version, kind) = (cursor.u8()?, cursor.u8()?);
        if version != VERSION {
            return Err(Malformed::Other(
                "the recipe is of a version that this program is too old for",
            ));
        }
        let digest = Digest::from_bytes(cursor.array()?);
        let size = cursor.varint()?;
        let body = match kind {
            KIND_BYTES => Body::Bytes(cursor.take(cursor.rest().len())?.to_vec()),
            KIND_CHUNKS => Body::Chunks(decode_names(&mut cursor)?),
            KIND_TAR => Body::Tar(decode_names(&mut cursor)?),
            KIND_ENCODE => decode_encode(&mut cursor)?,
            KIND_DECODE => decode_decode(&mut cursor)?,
            _ => {
                return Err(Malformed::Other(
                    "the recipe is of a kind that this program doesn't know",
                ));
            }
        };
        if !cursor.is_empty() {
            return Err(Malformed::Other("a recipe is followed by other bytes"));
        }
        Ok(Self { digest, size, body })
    }
}

fn decode_encode(cursor: &mut Cursor<'_>) -> Result<Body, Malformed> {
    let of = Digest::from_bytes(cursor.array()?);
    let length = cursor.rest().len();
    if length > REPLAY_MAX {
        let limit = REPLAY_MAX as u64;
        return Err(Malformed::OverLimit { what: "the length of a replay", limit });
    }
    Ok(Body::Encode { of, replay: cursor.take(length)?.to_vec() })
}

/// The code of a compression in a recipe.
fn code(compression: Compression) -> u8 {
    match compression {
        Compression::Gzip => 1,
        Compression::Zstd => 2,
        Compression::Bzip2 => 3,
        Compression::Xz => 4,
    }
}

fn of_code(found: u8) -> Option<Compression> {
    Compression::ALL.into_iter().find(|compression| code(*compression) == found)
}

fn decode_decode(cursor: &mut Cursor<'_>) -> Result<Body, Malformed> {
    let of = Digest::from_bytes(cursor.array()?);
    let compression = of_code(cursor.u8()?)
        .ok_or(Malformed::Other("a blob is compressed in a way that this program doesn't know"))?;
    let sections = take_ids(cursor, "the count of sections", SECTIONS_MAX)?;
    Ok(Body::Decode { of, compression, sections })
}

fn encode_names(out: &mut Vec<u8>, names: &Names) {
    put_ids(out, &names.directories);
    varint::put(out, names.spans.len() as u64);
    for span in &names.spans {
        varint::put(out, span.virtual_first);
        varint::put(out, span.directory.into());
        varint::put(out, span.first.into());
        varint::put(out, span.count.into());
    }
    put_ids(out, &names.sections);
}

fn decode_names(cursor: &mut Cursor<'_>) -> Result<Names, Malformed> {
    let directories = take_ids(cursor, "the count of directories", DIRECTORIES_MAX)?;
    let count = cursor.count("the count of spans", SPANS_MAX)?;
    let mut spans: Vec<Span> = Vec::new();
    for _ in 0..count {
        let span = Span {
            virtual_first: cursor.varint()?,
            directory: cursor.count("a directory", u32::MAX)?,
            first: cursor.count("a position", u32::MAX)?,
            count: cursor.count("a count of chunks", u32::MAX)?,
        };
        let before =
            spans.last().map_or(0, |before| before.virtual_first + u64::from(before.count));
        if span.virtual_first < before
            || span.first.checked_add(span.count).is_none()
            || span.virtual_first.checked_add(span.count.into()).is_none()
            || varint::in_memory(span.directory) >= directories.len()
        {
            return Err(Malformed::Other("a span of a recipe is out of order or out of range"));
        }
        spans.push(span);
    }
    let sections = take_ids(cursor, "the count of sections", SECTIONS_MAX)?;
    Ok(Names { directories, spans, sections })
}

fn put_ids(out: &mut Vec<u8>, ids: &[Id]) {
    varint::put(out, ids.len() as u64);
    for id in ids {
        out.extend_from_slice(id.as_bytes());
    }
}

fn take_ids(cursor: &mut Cursor<'_>, what: &'static str, limit: u32) -> Result<Vec<Id>, Malformed> {
    let count = cursor.count(what, limit)?;
    let bytes = cursor.take(varint::in_memory(count) * 32)?;
    let (ids, _) = bytes.as_chunks::<32>();
    Ok(ids.iter().map(|id| Id::from_bytes(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let (one, two) = (Id::of(b"one"), Id::of(b"two"));
        Names {
            directories: vec![one, two],
            spans: vec![
                Span { virtual_first: 0, directory: 0, first: 5, count: 10 },
                Span { virtual_first: 10, directory: 1, first: 0, count: 4 },
                Span { virtual_first: 1 << 32, directory: 0, first: 0, count: 5 },
            ],
            sections: vec![Id::of(b"section")],
        }
    }

    #[test]
    fn recipes_come_back() {
        let of = Digest::of(b"other");
        let mut bodies = vec![
            Body::Bytes(b"{}".to_vec()),
            Body::Chunks(names()),
            Body::Tar(names()),
            Body::Encode { of, replay: b"replay".to_vec() },
        ];
        bodies.extend(Compression::ALL.map(|compression| {
            let sections = names().sections;
            Body::Decode { of, compression, sections }
        }));
        for body in bodies {
            let recipe = Recipe { digest: Digest::of(b"{}"), size: 2, body };
            let encoded = recipe.encode();
            assert_eq!(Recipe::decode(&encoded), Ok(recipe));
            for length in 0..encoded.len() {
                // A shorter one may be well formed (kind bytes), never a panic.
                let _shorter = Recipe::decode(&encoded[..length]);
            }
        }
    }

    #[test]
    fn what_goes_beyond_the_format_is_refused() {
        let (digest, of) = (Digest::of(b"{}"), Digest::of(b"other"));
        let decoded = |body| Recipe::decode(&Recipe { digest, size: 2, body }.encode());
        let encode = |length| decoded(Body::Encode { of, replay: vec![0; length] });
        assert!(encode(REPLAY_MAX).is_ok());
        let limit = REPLAY_MAX as u64;
        let error = Malformed::OverLimit { what: "the length of a replay", limit };
        assert_eq!(encode(REPLAY_MAX + 1), Err(error));
        let body = Body::Decode { of, compression: Compression::Gzip, sections: Vec::new() };
        let mut chunk = Recipe { digest, size: 2, body }.encode();
        let code = chunk.len() - 2;
        for wrong in [0, 5, 255] {
            chunk[code] = wrong;
            assert!(Recipe::decode(&chunk).is_err());
        }
        chunk[code] = 4;
        assert!(Recipe::decode(&chunk).is_ok());
        chunk.push(0);
        assert!(Recipe::decode(&chunk).is_err());
        for reserved in [0, 5, 7] {
            chunk[1] = reserved;
            assert!(Recipe::decode(&chunk).is_err());
        }
    }

    #[test]
    fn virtual_numbers_resolve_across_spans() {
        let names = names();
        let (one, two) = (names.directories[0], names.directories[1]);
        assert_eq!(
            names.resolve(8, 4),
            Ok(vec![
                Run { directory: one, first: 13, count: 2 },
                Run { directory: two, first: 0, count: 2 },
            ])
        );
        let far = names.resolve((1 << 32) + 1, 4);
        assert_eq!(far, Ok(vec![Run { directory: one, first: 1, count: 4 }]));
        assert!(names.resolve(12, 3).is_err());
        assert!(names.resolve(14, 1).is_err());
        assert!(names.resolve(u64::MAX, 2).is_err());
        assert!(Names::default().resolve(0, 1).is_err());
    }

    #[test]
    fn a_span_of_nothing_hides_no_other() {
        let mut names = names();
        let nothing = Span { virtual_first: 10, directory: 0, first: 0, count: 0 };
        names.spans.insert(1, nothing);
        let recipe = Recipe { digest: Digest::of(b""), size: 2, body: Body::Tar(names.clone()) };
        assert_eq!(Recipe::decode(&recipe.encode()), Ok(recipe));
        names.spans.remove(1);
        let expected = names.resolve(8, 4);
        names.spans.insert(1, nothing);
        assert!(expected.is_ok());
        assert_eq!(names.resolve(8, 4), expected);
    }
}
