//! The test vectors in docs/FORMAT.md section 15, against the library and the second
//! reader.
//!
//! A vector is a fenced block `vector NAME` of lines `label: value`; a line that
//! begins with a space continues the value. Compressed payloads are only ever
//! decoded: another zstd may compress otherwise. When a vector is wrong, the
//! message has the block as it should be.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod actions;
mod kept;
mod saves;
mod standing;

use orlop::chunk::cutter;
use orlop::chunk::recipe::{Body, Names, Recipe, Span};
use orlop::digest::{Digest, Id};
use orlop::layer::section::SectionWriter;
use orlop::layer::template::{Fields, Keep, Template};
use orlop::pack::format::{
    BaseRun, Codec, FrameHeader, FrameKind, PackFeatures, PackKind, len32, pack_header,
};
use orlop::pack::tables::{Directory, Footer, FrameEntry, decode_table, encode_table};
use orlop::varint;

use crate::format::bytes::{self, hex, unhex};
use crate::format::chunks::{Chunks, Way};
use crate::format::samples::Random;
use crate::format::{blob, pack, store};

const DOCUMENT: &str = include_str!("../../docs/FORMAT.md");

type Vector = Vec<(String, String)>;

/// The vectors of the document, in order.
fn vectors() -> Vec<(String, Vector)> {
    let mut found = Vec::new();
    for block in DOCUMENT.split("\n```vector ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let mut vector = Vector::new();
        for line in rest.split("\n```").next().unwrap().lines() {
            if let Some(more) = line.strip_prefix(' ') {
                vector.last_mut().unwrap().1 += more.trim();
            } else {
                let (label, value) = line.split_once(':').unwrap();
                vector.push((label.to_owned(), value.trim().to_owned()));
            }
        }
        found.push((name.to_owned(), vector));
    }
    found
}

fn vector(name: &str) -> Vector {
    let found = vectors().into_iter().find(|(found, _)| found == name);
    found.map(|(_, vector)| vector).unwrap_or_default()
}

/// The vector of the document must have these labels and values.
fn check(name: &str, expected: &[(&str, String)]) {
    let plain = |text: &str| text.replace(' ', "");
    let found = vector(name);
    let equal = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| {
            found.0 == expected.0 && plain(&found.1) == plain(&expected.1)
        });
    assert!(equal, "should be:\n\n```vector {name}\n{}```\n", block(expected));
}

fn block(expected: &[(&str, String)]) -> String {
    let mut lines = Vec::new();
    for (label, value) in expected {
        let is_hex = value.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || value.len() <= 64 {
            lines.push(format!("{label}: {value}\n"));
            continue;
        }
        lines.push(format!("{label}:\n"));
        for line in value.as_bytes().chunks(64) {
            lines.push(format!("  {}\n", str::from_utf8(line).unwrap()));
        }
    }
    lines.concat()
}

#[test]
fn every_vector_is_checked() {
    let names: Vec<String> = vectors().into_iter().map(|(name, _)| name).collect();
    let checked = [
        "varint",
        "zigzag",
        "pack-stored",
        "pack-zstd",
        "pack-optimized",
        "pack-generation",
        "kept-directory",
        "section-chunks",
        "section-tar",
        "recipe-bytes",
        "recipe-chunks",
        "recipe-tar",
        "recipe-encode",
        "recipe-decode",
        "gear",
        "cuts",
        "record",
        "record-with-ancestors",
        "tag-record",
        "remove-record",
        "pin-record",
        "undo-record",
        "repack-record",
    ];
    assert_eq!(names, checked);
}

#[test]
fn numbers() {
    let numbers = [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX];
    let encoded = numbers.map(|number| {
        let mut out = Vec::new();
        varint::put(&mut out, number);
        assert_eq!(varint::Cursor::new(&out).varint().unwrap(), number);
        assert_eq!(bytes::Cursor::new(&out).varint(), number);
        (number.to_string(), hex(&out))
    });
    check("varint", &encoded.each_ref().map(|(number, hex)| (number.as_str(), hex.clone())));

    let numbers = [0, -1, 1, -2, 63, -64, 64, i64::MAX, i64::MIN];
    let encoded = numbers.map(|number| {
        let mut out = Vec::new();
        varint::put_signed(&mut out, number);
        assert_eq!(varint::Cursor::new(&out).signed().unwrap(), number);
        assert_eq!(bytes::Cursor::new(&out).zigzag(), number);
        (number.to_string(), hex(&out))
    });
    check("zigzag", &encoded.each_ref().map(|(number, hex)| (number.as_str(), hex.clone())));
}

/// A frame of one pack: what is in it, and its payload.
struct Frame {
    kind: FrameKind,
    chunks: Vec<Vec<u8>>,
    codec: Codec,
    bases: Vec<BaseRun>,
    prefix: Vec<u8>,
    payload: Vec<u8>,
}

impl Frame {
    fn stored(kind: FrameKind, chunks: &[&[u8]]) -> Self {
        Self {
            kind,
            chunks: chunks.iter().map(|chunk| chunk.to_vec()).collect(),
            codec: Codec::Stored,
            bases: Vec::new(),
            prefix: Vec::new(),
            payload: chunks.concat(),
        }
    }

    fn header(&self) -> FrameHeader {
        let header = FrameHeader {
            kind: self.kind,
            codec: self.codec,
            depth: u8::from(!self.bases.is_empty()),
            stored_len: len32(self.payload.len()),
            raw_len: len32(self.chunks.concat().len()),
            payload: Id::of(&self.payload),
            bases: self.bases.clone(),
            lengths: self.chunks.iter().map(|chunk| len32(chunk.len())).collect(),
        };
        assert_eq!(FrameHeader::decode(&header.encode()).unwrap(), header);
        let raw = orlop::pack::frame::decode(&header, &self.payload, &self.prefix).unwrap();
        assert_eq!(raw, self.chunks.concat());
        header
    }
}

/// A pack of these frames by the library: its parts, named.
fn pack(kind: PackKind, frames: &[Frame]) -> Vec<(&'static str, Vec<u8>)> {
    let mut parts = vec![("pack header", pack_header(kind, PackFeatures::default()))];
    let (mut directory, mut entries) = (Directory::default(), Vec::new());
    let mut offset = parts[0].1.len();
    for frame in frames {
        let header = frame.header();
        let encoded = header.encode();
        entries.push(FrameEntry {
            offset: offset as u64,
            header_len: len32(encoded.len()),
            stored_len: header.stored_len,
            raw_len: header.raw_len,
            first: len32(directory.ids.len()),
            count: len32(header.lengths.len()),
            kind: header.kind,
            codec: header.codec,
            depth: header.depth,
        });
        directory.lengths.extend(&header.lengths);
        directory.ids.extend(frame.chunks.iter().map(|chunk| Id::of(chunk)));
        offset += encoded.len() + frame.payload.len();
        parts.extend([("frame header", encoded), ("payload", frame.payload.clone())]);
    }
    let (encoded, table) = (directory.encode(), encode_table(&entries));
    assert_eq!(Directory::decode(&encoded).unwrap(), directory);
    assert_eq!(decode_table(&table).unwrap(), entries);
    let footer = Footer {
        directory_offset: offset as u64,
        directory_len: len32(encoded.len()),
        table_len: len32(table.len()),
        directory: Id::of(&encoded),
        table: Id::of(&table),
    };
    parts.extend([("directory", encoded), ("frame table", table), ("footer", footer.encode())]);
    parts
}

fn whole(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    parts.iter().flat_map(|(_, part)| part.clone()).collect()
}

fn directory_id(parts: &[(&str, Vec<u8>)]) -> Id {
    Id::of(&parts.iter().find(|(name, _)| *name == "directory").unwrap().1)
}

fn check_pack(name: &str, parts: &[(&'static str, Vec<u8>)]) {
    let mut expected: Vec<(&str, String)> =
        parts.iter().map(|(label, part)| (*label, hex(part))).collect();
    expected.push(("directory id", hex(directory_id(parts).as_bytes())));
    expected.push(("pack id", hex(Id::of(&whole(parts)).as_bytes())));
    check(name, &expected);
}

/// The first vector: two chunks as they are.
fn pack_stored() -> Vec<(&'static str, Vec<u8>)> {
    pack(PackKind::Data, &[Frame::stored(FrameKind::Content, &[b"hello", b"world!"])])
}

/// The second: a compressed chunk, and one upon it and on one of the first pack.
fn pack_zstd() -> Vec<(&'static str, Vec<u8>)> {
    let payloads: Vec<Vec<u8>> = vector("pack-zstd")
        .iter()
        .filter(|(label, _)| label == "payload")
        .map(|(_, value)| unhex(&value.replace(' ', "")))
        .collect();
    let base = "orlop ".repeat(20).into_bytes();
    let other = Some(directory_id(&pack_stored()));
    let prefix = [b"world!", &base[..]].concat();
    let frames = [
        Frame {
            kind: FrameKind::Content,
            chunks: vec![base],
            codec: Codec::Zstd,
            bases: Vec::new(),
            prefix: Vec::new(),
            payload: payloads[0].clone(),
        },
        Frame {
            kind: FrameKind::Content,
            chunks: vec![[&prefix[..], b"?"].concat()],
            codec: Codec::Zstd,
            bases: vec![
                BaseRun { directory: other, first: 1, count: 1 },
                BaseRun { directory: None, first: 0, count: 1 },
            ],
            prefix,
            payload: payloads[1].clone(),
        },
    ];
    pack(PackKind::Data, &frames)
}

#[test]
fn packs() {
    let (stored, zstd) = (pack_stored(), pack_zstd());
    check_pack("pack-stored", &stored);
    check_pack("pack-zstd", &zstd);
    let header =
        hex(&pack_header(PackKind::Data, PackFeatures { optimized: true, generation: None }));
    check("pack-optimized", &[("pack header", header)]);
    let header =
        pack_header(PackKind::Data, PackFeatures { optimized: false, generation: Some(3) });
    assert_eq!(pack::features(&header), ["c generation-3"]);
    check("pack-generation", &[("pack header", hex(&header))]);
    for parts in [&stored, &zstd] {
        let bytes = whole(parts);
        let footer = bytes[bytes.len() - 96..].try_into().unwrap();
        let footer = Footer::decode(footer, bytes.len() as u64).unwrap();
        assert_eq!(footer.directory, directory_id(parts));
    }
    // In the wrong order: the second reader finds out which is first.
    let mut chunks = Chunks::default();
    chunks.add_bytes([whole(&zstd), whole(&stored)], Way::Whole);
    let chunk = chunks.at(directory_id(&zstd).as_bytes(), 1);
    assert_eq!(chunk, format!("world!{}?", "orlop ".repeat(20)).as_bytes());
    let (frames, _) = pack::scan(&whole(&zstd));
    assert_eq!(frames[1].row.depth, 1);
}

/// A ustar header of a member of the sample tar.
fn member(name: &[u8], kind: u8, link: &[u8], prefix: &[u8], size: u64) -> [u8; 512] {
    let mut template = [0; 129];
    template[..24].copy_from_slice(b"0000644\x000001750\x000001750\0");
    template[24] = kind;
    template[25..33].copy_from_slice(b"ustar\x0000");
    let fields = Fields { name, link, prefix, mtime: 1_777_636_800, size };
    Template::from_bytes(template).unwrap().join(&fields)
}

/// The sample tar by the library: its section, and what it is.
fn section_tar() -> (Vec<u8>, Vec<u8>) {
    let extension = b"13 comment=a\n";
    let headers = [
        member(b"pax", b'x', b"", b"", 13),
        member(b"a.txt", b'0', b"", b"", 11),
        member(b"link", b'2', b"a.txt", b"folder", 0),
    ];
    let mut writer = SectionWriter::default();
    assert!(writer.header(&headers[0], Keep::Extension, extension));
    assert!(writer.header(&headers[1], Keep::Content, b""));
    assert!(writer.header(&headers[2], Keep::Nothing, b""));
    writer.raw(b"end");
    writer.zeros(10);
    writer.content(5);
    writer.run(5, 2);
    writer.run(5, 1);
    let padded = |body: &[u8]| {
        let mut body = body.to_vec();
        body.resize(512, 0);
        body
    };
    let blob = [
        &headers[0][..],
        &padded(extension),
        &headers[1],
        &padded(b"helloworld!"),
        &headers[2],
        b"end",
        &[0; 10],
        b"hello",
    ];
    (writer.take(), blob.concat())
}

/// The section of a blob that is content alone.
fn section_chunks() -> Vec<u8> {
    let mut writer = SectionWriter::default();
    writer.run(5, 2);
    writer.take()
}

#[test]
fn sections() {
    let (chunk, blob) = section_tar();
    let labels = [
        "names",
        "links",
        "prefixes",
        "mtimes",
        "sizes",
        "extensions",
        "raw",
        "templates",
        "operations",
        "runs",
    ];
    let section = blob::section(&chunk);
    let columns: Vec<(&str, String)> =
        labels.into_iter().zip(section.columns).map(|(label, c)| (label, hex(c))).collect();
    let length: usize = section.columns.iter().map(|column| column.len()).sum();
    let mut expected = vec![("version and lengths", hex(&chunk[..chunk.len() - length]))];
    expected.extend(columns);
    expected.push(("section id", hex(Id::of(&chunk).as_bytes())));
    expected.push(("the second header", hex(&blob[1024..1536])));
    check("section-tar", &expected);
    assert_eq!(section.runs(), [(5, 2), (5, 1)]);

    let chunk = section_chunks();
    let id = hex(Id::of(&chunk).as_bytes());
    check("section-chunks", &[("section", hex(&chunk)), ("section id", id)]);
}

fn names(section: &[u8]) -> Names {
    Names {
        directories: vec![directory_id(&pack_stored())],
        spans: vec![Span { virtual_first: 5, directory: 0, first: 0, count: 2 }],
        sections: vec![Id::of(section)],
    }
}

fn recipe(blob: &[u8], body: Body) -> Vec<u8> {
    let recipe = Recipe { digest: Digest::of(blob), size: blob.len() as u64, body };
    let chunk = recipe.encode();
    assert_eq!(Recipe::decode(&chunk).unwrap(), recipe);
    chunk
}

#[test]
fn recipes() {
    let (tar_section, tar) = section_tar();
    let chunks_section = section_chunks();
    let blobs = [b"{}".to_vec(), b"helloworld!".to_vec(), tar];
    let recipes = [
        recipe(&blobs[0], Body::Bytes(blobs[0].clone())),
        recipe(&blobs[1], Body::Chunks(names(&chunks_section))),
        recipe(&blobs[2], Body::Tar(names(&tar_section))),
    ];
    for (name, recipe) in ["recipe-bytes", "recipe-chunks", "recipe-tar"].iter().zip(&recipes) {
        check(name, &[("recipe", hex(recipe))]);
    }
    // All of it is a store that the second reader can read.
    let frames = [
        Frame::stored(FrameKind::Sections, &[&tar_section, &chunks_section]),
        Frame::stored(FrameKind::Recipes, &recipes.each_ref().map(Vec::as_slice)),
    ];
    let mut chunks = Chunks::default();
    chunks
        .add_bytes([whole(&pack_stored()), whole(&pack(PackKind::Metadata, &frames))], Way::Whole);
    for (blob, recipe) in blobs.iter().zip(&recipes) {
        let digest = bytes::digest(blob);
        assert_eq!(chunks.recipes(&digest), std::slice::from_ref(recipe));
        assert_eq!(blob::rebuild(&chunks, &digest, recipe).bytes, *blob);
    }
}

#[test]
fn cut_points() {
    let gear = blob::gear();
    let entries = [0_u8, 1, 2, 3, 255];
    let labels = entries.map(|entry| entry.to_string());
    let entries: Vec<(&str, String)> = labels
        .iter()
        .zip(entries)
        .map(|(label, entry)| (label.as_str(), format!("{:016x}", gear[usize::from(entry)])))
        .collect();
    check("gear", &entries);

    let with = store::Chunking {
        min: cutter::MIN,
        average: cutter::AVERAGE,
        max: cutter::MAX,
        whole: cutter::WHOLE,
    };
    let input = Random(1).bytes(1_000_000);
    let mut expected = vec![("the first 16 bytes", hex(&input[..16]))];
    for (label, length) in [("131072", 131_072), ("131073", 131_073), ("1000000", 1_000_000)] {
        let lengths = cutter::lengths(&input[..length]);
        assert_eq!(lengths, blob::cut(&gear, with, &input[..length], length));
        let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
        expected.push((label, lengths.join(", ")));
    }
    let lengths = cutter::lengths(&vec![0; 1_000_000]);
    let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
    expected.push(("1000000 zeros", lengths.join(", ")));
    check("cuts", &expected);
}
