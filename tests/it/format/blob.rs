//! Recipes, sections, templates and the cutter, sections 5, 6 and 8 of docs/FORMAT.md.
//!
//! A blob is built in memory. What the text forbids is a panic. Where chunks come
//! from is the business of `store`.

use crate::format::bytes::{Cursor, Hash, index};
use crate::format::chunks::Chunks;
use crate::format::compressed::{self, Replay};
use crate::format::store::{Chunking, check};

/// A run of chunks: virtual first, directory, first, count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) directory: u64,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// How a blob is rebuilt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    Sections { tar: bool, directories: Vec<Hash>, spans: Vec<Span>, sections: Vec<Hash> },
    Encode { of: Hash, replay: Replay },
    Decode { of: Hash, compression: u8, sections: Vec<Hash> },
}

/// A recipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) digest: Hash,
    pub(crate) size: u64,
    pub(crate) body: Body,
}

/// Reads a recipe.
pub(crate) fn recipe(bytes: &[u8]) -> Recipe {
    let mut cursor = Cursor::new(bytes);
    assert_eq!(cursor.u8(), 1, "version");
    let kind = cursor.u8();
    let digest = cursor.hash();
    let size = cursor.varint();
    let body = match kind {
        1 => Body::Bytes(cursor.take(index(size)).to_vec()),
        2 | 3 => {
            let directories = cursor.hashes(65_536);
            let spans = (0..cursor.count(1_048_576)).map(|_| span(&mut cursor)).collect();
            let sections = cursor.hashes(65_536);
            Body::Sections { tar: kind == 3, directories, spans, sections }
        }
        4 => {
            let of = cursor.hash();
            Body::Encode { of, replay: compressed::replay(cursor.take(cursor.len())) }
        }
        6 => {
            let (of, compression) = (cursor.hash(), cursor.u8());
            Body::Decode { of, compression, sections: cursor.hashes(65_536) }
        }
        _ => panic!("recipe of kind {kind}"),
    };
    assert!(cursor.is_empty(), "more in the recipe");
    Recipe { digest, size, body }
}

fn span(cursor: &mut Cursor<'_>) -> Span {
    Span {
        start: cursor.varint(),
        directory: cursor.varint(),
        first: cursor.varint(),
        count: cursor.varint(),
    }
}

/// The columns of a section.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) columns: [&'a [u8]; 10],
}

/// Reads a section.
pub(crate) fn section(bytes: &[u8]) -> Section<'_> {
    let mut cursor = Cursor::new(bytes);
    assert_eq!(cursor.u8(), 1, "version");
    let lengths = [(); 10].map(|()| cursor.varint());
    let columns = lengths.map(|length| cursor.take(index(length)));
    assert!(cursor.is_empty(), "more in the section");
    Section { columns }
}

impl Section<'_> {
    /// The runs: virtual first, count.
    pub(crate) fn runs(&self) -> Vec<(u64, u64)> {
        let (mut cursor, mut end, mut runs) = (Cursor::new(self.columns[9]), 0_u64, Vec::new());
        while !cursor.is_empty() {
            let first = end.wrapping_add_signed(cursor.zigzag());
            let count = cursor.varint();
            assert_ne!(count, 0);
            end = first + count;
            runs.push((first, count));
        }
        runs
    }
}

/// A content that is cut by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    /// What there should be: a truncated tar has less.
    pub(crate) told: usize,
    pub(crate) there: usize,
}

impl Content {
    fn whole(length: usize) -> Self {
        Self { told: length, there: length }
    }
}

/// A blob, and how its content is cut.
#[derive(Debug, Default)]
pub(crate) struct Blob {
    pub(crate) bytes: Vec<u8>,
    /// The lengths of the contents that are cut by themselves.
    pub(crate) contents: Vec<Content>,
    pub(crate) content: Vec<u8>,
    /// The lengths of the chunks of the content.
    pub(crate) chunks: Vec<usize>,
    /// Operations met, by number: 4 is a header with all templates.
    pub(crate) operations: [usize; 5],
    /// The template of each header.
    pub(crate) templates: Vec<[u8; 129]>,
    pub(crate) sections: usize,
    pub(crate) size: u64,
    /// What it decompresses to and how it is compressed; its own bytes are then
    /// unknown.
    pub(crate) encoded: Option<(Hash, Replay)>,
    /// What it was decompressed from, and how that is compressed.
    pub(crate) decoded: Option<(Hash, u8)>,
}

/// Rebuilds the blob of a recipe, and checks its digest. Of a blob of kind *encode*
/// the bytes are missing.
pub(crate) fn rebuild(chunks: &Chunks, asked: &Hash, bytes: &[u8]) -> Blob {
    rebuild_deep(chunks, asked, bytes, 0)
}

/// The same for one that so many others stand on.
fn rebuild_deep(chunks: &Chunks, asked: &Hash, bytes: &[u8], above: usize) -> Blob {
    assert!(above <= 4, "too deep");
    let Recipe { digest, size, body } = recipe(bytes);
    assert_eq!(digest, *asked);
    let below = |of: &Hash| {
        let recipes = recipes_deep(chunks, of, above + 1);
        rebuild_deep(chunks, of, recipes.first().expect("a recipe of what it stands on"), above + 1)
    };
    let mut blob = match body {
        Body::Encode { of, replay } => {
            assert_eq!(below(&of).size, replay.content_length());
            return Blob { size, encoded: Some((of, replay)), ..Blob::default() };
        }
        Body::Decode { of, compression, sections } => {
            let from = below(&of);
            assert!(from.encoded.is_none(), "this reader can't compress");
            let bytes = compressed::decompress(compression, &from.bytes, size);
            let blob = indexed(chunks, &bytes, &sections);
            Blob { decoded: Some((of, compression)), bytes, ..blob }
        }
        body => from_chunks(chunks, size, &body),
    };
    blob.size = size;
    assert_eq!(blob.bytes.len() as u64, size);
    check(&blob.bytes, asked);
    blob
}

/// The recipes of a blob for which all is there.
pub(crate) fn recipes<'a>(chunks: &'a Chunks, digest: &Hash) -> Vec<&'a Vec<u8>> {
    recipes_deep(chunks, digest, 0)
}

fn recipes_deep<'a>(chunks: &'a Chunks, digest: &Hash, above: usize) -> Vec<&'a Vec<u8>> {
    assert!(above <= 4, "too deep");
    let below = |of: &Hash| !recipes_deep(chunks, of, above + 1).is_empty();
    let all_there = |bytes: &&Vec<u8>| match recipe(bytes).body {
        Body::Bytes(_) => true,
        Body::Encode { of, .. } => below(&of),
        Body::Decode { of, sections, .. } => {
            below(&of) && sections.iter().all(|id| chunks.find_section(id).is_some())
        }
        Body::Sections { directories, spans, sections, .. } => {
            let sections: Option<Vec<Section<'_>>> =
                sections.iter().map(|id| chunks.find_section(id).map(section)).collect();
            sections.is_some_and(|sections| {
                let places = places(&directories, &spans, &sections);
                places.iter().all(|(directory, at)| chunks.find(directory, *at).is_some())
            })
        }
    };
    chunks.recipes(digest).iter().filter(all_there).collect()
}

/// The chunks of a content: directory and position.
pub(crate) fn places(
    directories: &[Hash],
    spans: &[Span],
    sections: &[Section<'_>],
) -> Vec<(Hash, u64)> {
    let numbers = sections.iter().flat_map(Section::runs).flat_map(|(first, n)| first..first + n);
    let place = |number| {
        let span = spans.iter().rfind(|span| span.start <= number).expect("a span");
        assert!(number < span.start + span.count, "no span has {number}");
        (directories[index(span.directory)], span.first + (number - span.start))
    };
    numbers.map(place).collect()
}

/// What sections without content say of a blob, which they must make of itself.
fn indexed(chunks: &Chunks, bytes: &[u8], sections: &[Hash]) -> Blob {
    let blob = Blob { sections: sections.len(), ..Blob::default() };
    let mut tar = Tar { blob, content: Cursor::new(bytes), padding: 0, in_place: Some(bytes) };
    for id in sections {
        let section = section(chunks.section(id));
        assert!(section.columns[9].is_empty(), "runs");
        tar.section(&section);
    }
    tar.pad();
    assert!(tar.blob.bytes.starts_with(bytes), "sections that make another blob");
    // They aren't cut, since they aren't kept.
    Blob { contents: Vec::new(), ..tar.blob }
}

/// Rebuilds a blob that stands on no other.
fn from_chunks(chunks: &Chunks, size: u64, body: &Body) -> Blob {
    let mut blob = Blob::default();
    match body {
        Body::Bytes(bytes) => blob.bytes.clone_from(bytes),
        Body::Sections { tar, directories, spans, sections } => {
            assert!(spans.is_sorted_by(|a, b| a.start + a.count <= b.start), "{spans:?}");
            let sections: Vec<Section<'_>> =
                sections.iter().map(|id| section(chunks.section(id))).collect();
            blob.sections = sections.len();
            for (directory, position) in places(directories, spans, &sections) {
                let chunk = chunks.at(&directory, position);
                blob.content.extend(chunk);
                blob.chunks.push(chunk.len());
            }
            if *tar {
                let content = std::mem::take(&mut blob.content);
                let content_at = Cursor::new(&content);
                let mut tar = Tar { blob, content: content_at, padding: 0, in_place: None };
                for section in &sections {
                    tar.section(section);
                }
                tar.pad();
                assert!(tar.content.is_empty(), "more content than operations ask for");
                blob = Blob { content: content.clone(), ..tar.blob };
                assert!(blob.bytes.len() as u64 >= size);
                blob.bytes.truncate(index(size));
            } else {
                assert!(sections.iter().all(|s| s.columns[..9].iter().all(|c| c.is_empty())));
                blob.bytes.clone_from(&blob.content);
                blob.contents.push(Content::whole(blob.content.len()));
            }
        }
        Body::Encode { .. } | Body::Decode { .. } => panic!("it stands on another"),
    }
    blob
}

/// Makes a tar from sections.
struct Tar<'a> {
    blob: Blob,
    content: Cursor<'a>,
    /// How many bytes the last body lacks.
    padding: usize,
    /// The blob itself, where its parts are the content.
    in_place: Option<&'a [u8]>,
}

impl Tar<'_> {
    fn section(&mut self, section: &Section<'_>) {
        let mut columns = section.columns.map(Cursor::new);
        let mut mtime = 0_u64;
        while !columns[8].is_empty() {
            let operation = columns[8].varint();
            if operation != 3 {
                self.pad();
            }
            self.blob.operations[index(operation.min(4))] += 1;
            match operation {
                0 => {
                    let count = index(columns[8].varint());
                    self.blob.bytes.extend(columns[6].take(count));
                }
                1 => {
                    let count = index(columns[8].varint());
                    self.blob.bytes.resize(self.blob.bytes.len() + count, 0);
                }
                2 => {
                    let count = index(columns[8].varint());
                    self.take_content(count);
                }
                3 => {
                    assert_ne!(self.padding, 0, "no padding to replace");
                    self.blob.bytes.extend(columns[6].take(self.padding));
                    self.padding = 0;
                }
                _ => {
                    let template = columns[7].at(index(operation - 4) * 129, 129);
                    self.header(template.try_into().unwrap(), &mut columns, &mut mtime);
                }
            }
        }
        for (number, column) in columns.iter().enumerate().filter(|(number, _)| *number < 7) {
            assert!(column.is_empty(), "more in column {number}");
        }
    }

    fn header(&mut self, template: &[u8; 129], columns: &mut [Cursor<'_>; 10], mtime: &mut u64) {
        let flags = template[128];
        assert!(flags < 16, "flags {flags}");
        let name = columns[0].string();
        let link = if flags & 4 == 0 { &[] } else { columns[1].string() };
        let prefix = if flags & 8 == 0 { &[] } else { columns[2].string() };
        *mtime = mtime.wrapping_add_signed(columns[3].zigzag());
        let size = columns[4].varint();
        let strings = Strings { name, link, prefix };
        self.blob.bytes.extend(header(template, strings, size, *mtime));
        self.blob.templates.push(*template);
        match flags & 3 {
            0 => return,
            1 => self.take_content(index(size)),
            2 => self.blob.bytes.extend(columns[5].take(index(size))),
            _ => panic!("a body of both kinds"),
        }
        self.padding = index(size).next_multiple_of(512) - index(size);
    }

    /// Writes zeros behind the last body.
    fn pad(&mut self) {
        self.blob.bytes.resize(self.blob.bytes.len() + self.padding, 0);
        self.padding = 0;
    }

    fn take_content(&mut self, told: usize) {
        if let Some(blob) = self.in_place {
            self.content = Cursor::new(&blob[self.blob.bytes.len()..]);
        }
        let there = told.min(self.content.len());
        self.blob.bytes.extend(self.content.take(there));
        self.blob.contents.push(Content { told, there });
    }
}

/// The strings of a tar header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strings<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) prefix: &'a [u8],
}

/// Makes a tar header.
pub(crate) fn header(
    template: &[u8; 129],
    strings: Strings<'_>,
    size: u64,
    mtime: u64,
) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |offset: usize, bytes: &[u8]| {
        header[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    assert!(strings.name.len() <= 100 && strings.link.len() <= 100 && strings.prefix.len() <= 155);
    put(0, strings.name);
    put(100, &template[..24]);
    put(124, &number(template[125], size));
    put(136, &number(template[126], mtime));
    put(148, b"        ");
    put(156, &template[24..25]);
    put(157, strings.link);
    put(257, &template[25..113]);
    put(345, strings.prefix);
    put(500, &template[113..125]);
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    let checksum = match template[127] {
        0 => format!("{sum:06o}\0 "),
        1 => format!("{sum:07o}\0"),
        2 => format!("{sum:06o} \0"),
        3 => format!("{sum:>6}\0 ", sum = format!("{sum:o}")),
        style => panic!("checksum of style {style}"),
    };
    header[148..156].copy_from_slice(checksum.as_bytes());
    header
}

/// A number field of a tar header.
fn number(style: u8, value: u64) -> [u8; 12] {
    let octal = format!("{value:o}");
    let text = match style {
        0 => format!("{octal:0>11}\0"),
        1 => format!("{octal:0>11} "),
        2 => {
            let mut bytes = [0; 12];
            bytes[0] = 0x80;
            for (place, byte) in bytes[4..].iter_mut().zip(value.to_le_bytes().iter().rev()) {
                *place = *byte;
            }
            return bytes;
        }
        3 => {
            assert_eq!(value, 0);
            return [0; 12];
        }
        4 => format!("{octal:>11} "),
        5 => format!("{octal:>11}\0"),
        6 => format!("{octal:0>12}"),
        style => panic!("number of style {style}"),
    };
    text.as_bytes().try_into().expect("a value that fits")
}

/// The table of `gear-1`.
pub(crate) fn gear() -> [u64; 256] {
    std::array::from_fn(|byte| {
        let mut input = b"orlop gear ".to_vec();
        input.push(u8::try_from(byte).unwrap());
        Cursor::new(blake3::hash(&input).as_bytes()).u64()
    })
}

/// Cuts a content: the lengths of its chunks.
pub(crate) fn cut(gear: &[u64; 256], with: Chunking, content: &[u8], told: usize) -> Vec<usize> {
    let (mut rest, mut lengths) = (content, Vec::new());
    while !rest.is_empty() {
        let length = if told <= with.whole { rest.len() } else { next(gear, with, rest) };
        lengths.push(length);
        rest = &rest[length..];
    }
    lengths
}

fn next(gear: &[u64; 256], with: Chunking, rest: &[u8]) -> usize {
    if rest.len() <= with.min {
        return rest.len();
    }
    let (end, mut state) = (rest.len().min(with.max), 0_u64);
    for n in with.min + 1..=end {
        state = (state << 1).wrapping_add(gear[usize::from(rest[n - 1])]);
        let bits = if n <= with.average { 18 } else { 14 };
        if state >> (64 - bits) == 0 {
            return n;
        }
    }
    end
}
