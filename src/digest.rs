//! Digests and ids: SHA-256 names bytes as they were given, BLAKE3 names what
//! orlop itself makes.
//!
//! A [`Digest`] comes from the OCI world (`sha256:<64 hex>`) and identifies a
//! blob. An [`Id`] is the BLAKE3 hash of a chunk, pack, directory or record.
//! The two are different types so that one can't be taken for the other.
//! This module owns the hash crates and knows nothing of where bytes live.

use std::fmt;
use std::io;
use std::str::FromStr;

use sha2::Digest as _;

/// A SHA-256 digest of bytes as they were given; prints as `sha256:<64 hex>`
/// (OCI image specification, descriptor.md, "Digests").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A BLAKE3 hash of something orlop made: a chunk, pack, directory or record.
/// Prints as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 32]);

/// A string that is no digest or id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {wanted}")]
pub struct ParseHashError {
    /// What was found, cut to a printable length.
    pub text: String,
    /// What was expected, for people.
    pub wanted: &'static str,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// A digest from its 32 raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits without `sha256:`, as in `blobs/sha256/<hex>`.
    pub fn hex(&self) -> String {
        to_hex(&self.0)
    }

    /// The first 12 hex digits, as people write image IDs.
    pub fn short(&self) -> String {
        to_hex(&self.0[..6])
    }

    /// Parses 64 hex digits without a prefix.
    pub fn from_hex(text: &str) -> Result<Self, ParseHashError> {
        parse_hex(text).map(Self).ok_or_else(|| parse_error(text, "SHA-256 digest"))
    }
}

impl FromStr for Digest {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        text.strip_prefix("sha256:")
            .and_then(parse_hex)
            .map(Self)
            .ok_or_else(|| parse_error(text, "sha256 digest"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Id {
    /// The id of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// An id from its 32 raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes as a little-endian integer: the key by which the
    /// catalog finds a chunk. Not unique; the whole id must be compared.
    pub fn key(&self) -> i64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        i64::from_le_bytes(first)
    }

    /// The first 12 hex digits.
    pub fn short(&self) -> String {
        to_hex(&self.0[..6])
    }
}

impl FromStr for Id {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        parse_hex(text).map(Self).ok_or_else(|| parse_error(text, "64-digit id"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] piece by piece.
#[derive(Debug, Clone, Default)]
pub struct DigestHasher(sha2::Sha256);

impl DigestHasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Computes an [`Id`] piece by piece.
#[derive(Debug, Clone, Default)]
pub struct IdHasher(blake3::Hasher);

impl IdHasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The id of all bytes taken in.
    pub fn finish(&self) -> Id {
        Id(*self.0.finalize().as_bytes())
    }
}

/// A reader or writer that hashes what passes through.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    hasher: DigestHasher,
    bytes: u64,
}

impl<T> Hashing<T> {
    /// Wraps `inner`; nothing has passed yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hasher: DigestHasher::default(), bytes: 0 }
    }

    /// The digest and count of the bytes that passed.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.bytes)
    }

    /// What was wrapped, and the digest and count of the bytes that passed.
    pub fn into_parts(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.bytes)
    }
}

impl<T: io::Read> io::Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

impl<T: io::Write> io::Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Bytes as lower-case hex digits.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// Bytes from lower-case hex digits.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let value = |pair: &[u8; 2]| Some((nibble(pair[0])? << 4) | nibble(pair[1])?);
    if rest.is_empty() { pairs.iter().map(value).collect() } else { None }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    from_hex(text)?.try_into().ok()
}

/// The value of a lower-case hex digit; digests are never written in upper case.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn parse_error(text: &str, wanted: &'static str) -> ParseHashError {
    ParseHashError { text: text.chars().take(80).collect(), wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_prints_and_parses() {
        let digest = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>(), Ok(digest));
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert!("sha256:E3".parse::<Digest>().is_err());
        assert!(text[7..].parse::<Digest>().is_err());
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut digest = DigestHasher::default();
        let mut id = IdHasher::default();
        for piece in [b"one".as_slice(), b"two"] {
            digest.update(piece);
            id.update(piece);
        }
        assert_eq!(digest.finish(), Digest::of(b"onetwo"));
        assert_eq!(id.finish(), Id::of(b"onetwo"));
    }
}
