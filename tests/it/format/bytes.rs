//! Numbers, ids and hex of the format, section 1 of docs/FORMAT.md.
//!
//! A reader of test data: whatever the text forbids is a panic. Knows nothing of
//! what the bytes stand for.

/// An id or a digest.
pub(crate) type Hash = [u8; 32];

/// The id of these bytes.
pub(crate) fn id(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// The digest of these bytes.
pub(crate) fn digest(bytes: &[u8]) -> Hash {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The bytes of lower-case hex.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "half a byte: {text}");
    let digit = |c: u8| match c {
        b'0'..=b'9' => c - b'0',
        b'a'..=b'f' => c - b'a' + 10,
        _ => panic!("not hex: {text}"),
    };
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The hash that 64 hex digits name.
pub(crate) fn hash(text: &str) -> Hash {
    unhex(text).try_into().expect("64 digits")
}

/// A number as an index.
pub(crate) fn index(number: impl TryInto<usize, Error: std::fmt::Debug>) -> usize {
    number.try_into().unwrap()
}

/// Reads bytes from front to back.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the front of these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Some of the bytes that are left.
    pub(crate) fn at(&self, offset: usize, count: usize) -> &'a [u8] {
        &self.rest[offset..][..count]
    }

    /// The next bytes.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }

    /// The next bytes up to a NUL, and skips the NUL.
    pub(crate) fn string(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| byte == 0).expect("a NUL");
        let text = self.take(end);
        self.take(1);
        text
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn hash(&mut self) -> Hash {
        self.array()
    }

    pub(crate) fn varint(&mut self) -> u64 {
        let mut value = 0_u128;
        for shift in (0..70).step_by(7) {
            let byte = self.u8();
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                assert!(byte != 0 || shift == 0, "not the shortest form");
                return value.try_into().expect("64 bits");
            }
        }
        panic!("a varint of more than ten bytes")
    }

    pub(crate) fn zigzag(&mut self) -> i64 {
        let value = self.varint();
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
    }

    /// A count of things, that must not be larger than the limit.
    pub(crate) fn count(&mut self, limit: u64) -> u64 {
        let count = self.varint();
        assert!(count <= limit, "{count} of at most {limit}");
        count
    }

    /// The next hashes, and their count before them.
    pub(crate) fn hashes(&mut self, limit: u64) -> Vec<Hash> {
        (0..self.count(limit)).map(|_| self.hash()).collect()
    }
}
