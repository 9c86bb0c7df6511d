//! Blobs that stand on others, sections 5 and 16 of docs/FORMAT.md.
//!
//! Has no gzip encoder: of a blob of kind *encode* it reads the replay, and can say
//! whether a stream is one that the replay may have made of the content. What the
//! text forbids is a panic.

use std::io::Read;

use crate::format::bytes::{Cursor, index};

/// How a gzip stream is made again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) encoder: String,
    pub(crate) version: u64,
    members: Vec<Member>,
}

/// One member of a gzip stream.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    /// Its header, the first three bytes too.
    header: Vec<u8>,
    length: u64,
    /// Where it isn't the usual one.
    trailer: Option<Vec<u8>>,
}

/// Reads a replay.
pub(crate) fn replay(bytes: &[u8]) -> Replay {
    assert!(bytes.len() <= 512 << 10, "a replay of {} bytes", bytes.len());
    let mut cursor = Cursor::new(bytes);
    let length = cursor.count(64);
    let encoder = String::from_utf8(cursor.take(index(length)).to_vec()).unwrap();
    assert!(encoder.is_ascii());
    let version = cursor.varint();
    let (count, mut members) = (cursor.varint(), Vec::<Member>::new());
    assert_ne!(count, 0);
    for _ in 0..count {
        let start = cursor.varint();
        let (flags, length) = (start & 7, start >> 3);
        let header = if flags & 2 == 0 {
            [&[0x1f, 0x8b, 8], cursor.take(index(length))].concat()
        } else {
            assert_eq!(length, 0);
            members.last().expect("a member before").header.clone()
        };
        let length = cursor.varint();
        let trailer = (flags & 4 != 0).then(|| cursor.take(8).to_vec());
        members.push(Member { header, length, trailer });
    }
    assert!(cursor.is_empty(), "more in the replay");
    Replay { encoder, version, members }
}

impl Replay {
    /// How long the content is.
    pub(crate) fn content_length(&self) -> u64 {
        self.members.iter().map(|member| member.length).sum()
    }

    /// How many members it has.
    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// The stream must be made of this content and these members.
    pub(crate) fn check(&self, stream: &[u8], content: &[u8]) {
        let (mut stream, mut content) = (Cursor::new(stream), Cursor::new(content));
        for member in &self.members {
            assert_eq!(stream.take(member.header.len()), member.header);
            let part = content.take(index(member.length));
            let mut inflater = flate2::Decompress::new(false);
            let mut out = Vec::with_capacity(part.len() + 1);
            let rest = stream.at(0, stream.len());
            let status = inflater.decompress_vec(rest, &mut out, flate2::FlushDecompress::Finish);
            assert_eq!(status.unwrap(), flate2::Status::StreamEnd);
            assert!(out == part, "a member is of other content");
            stream.take(index(inflater.total_in()));
            let mut crc = flate2::Crc::new();
            crc.update(part);
            let usual = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
            assert_eq!(stream.take(8), member.trailer.as_ref().unwrap_or(&usual));
        }
        assert!(stream.is_empty() && content.is_empty());
    }
}

/// Decompresses the first `size` bytes of a blob.
pub(crate) fn decompress(compression: u8, blob: &[u8], size: u64) -> Vec<u8> {
    let reader: Box<dyn Read> = match compression {
        1 => Box::new(flate2::read::MultiGzDecoder::new(blob)),
        2 => Box::new(zstd::stream::read::Decoder::new(blob).unwrap()),
        3 => Box::new(bzip2::read::MultiBzDecoder::new(blob)),
        4 => Box::new(lzma_rust2::XzReader::new(blob, true)),
        _ => panic!("compression {compression}"),
    };
    let mut bytes = Vec::new();
    reader.take(size).read_to_end(&mut bytes).unwrap();
    bytes
}
