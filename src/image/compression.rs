//! Telling compressed bytes from plain ones by their first bytes.
//!
//! Assumes the beginning of a stream is given, best a whole tar block.
//! Guarantees that a valid tar header is never taken for compressed data, even
//! where a file's name begins like a magic number. Decompresses nothing.

pub use crate::codec::Compression;
use crate::layer::header::{BLOCK, Header};

/// The compression of a stream that begins with `head`; `None` where it is
/// plain, too short to tell, or unknown.
pub fn sniff(head: &[u8]) -> Option<Compression> {
    if head.first_chunk::<BLOCK>().is_some_and(|block| Header::parse(block).is_some()) {
        return None;
    }
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Some(Compression::Zstd)
        }
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Compression::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers() {
        assert_eq!(sniff(b"\x1f\x8b\x08\0"), Some(Compression::Gzip));
        assert_eq!(sniff(b"\x28\xb5\x2f\xfd"), Some(Compression::Zstd));
        assert_eq!(sniff(b"\x5a\x2a\x4d\x18\0\0"), Some(Compression::Zstd));
        assert_eq!(sniff(b"BZh9"), Some(Compression::Bzip2));
        assert_eq!(sniff(b"\xfd7zXZ\0"), Some(Compression::Xz));
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"{}"), None);
    }

    #[test]
    fn a_tar_header_is_plain_whatever_its_name() {
        let mut header = tar::Header::new_ustar();
        header.set_path("BZh9").unwrap();
        header.set_size(0);
        header.set_cksum();
        assert_eq!(sniff(header.as_bytes()), None);
        assert_eq!(sniff(&header.as_bytes()[..100]), Some(Compression::Bzip2));
    }
}
