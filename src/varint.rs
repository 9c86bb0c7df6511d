//! Variable-length integers (docs/FORMAT.md section 1) and a bounded cursor
//! over stored bytes.
//!
//! The cursor never panics and never reads past its end, whatever the bytes.

/// Appends `value` as an unsigned LEB128 integer.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends `value` in zigzag form.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Stored bytes that end too early or hold an impossible value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a value.
    #[error("the data ends too early")]
    TooShort,
    /// A varint is longer than 64 bits or not in its shortest form.
    #[error("a number is not well formed")]
    BadNumber,
    /// A count or length is over what the format allows.
    #[error("{what} is over its limit of {limit}")]
    OverLimit {
        /// Which count or length.
        what: &'static str,
        /// The limit that the format sets.
        limit: u64,
    },
    /// Anything else, said in words.
    #[error("{0}")]
    Other(&'static str),
}

/// Reads values from the front of a byte slice.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::TooShort)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::TooShort)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next varint.
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed::BadNumber);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(Malformed::BadNumber) };
            }
        }
        Err(Malformed::BadNumber)
    }

    /// The next zigzag varint.
    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The next varint, which may be at most `limit`.
    pub fn count(&mut self, what: &'static str, limit: u32) -> Result<u32, Malformed> {
        let value = self.varint()?;
        u32::try_from(value)
            .ok()
            .filter(|value| *value <= limit)
            .ok_or(Malformed::OverLimit { what, limit: limit.into() })
    }
}

/// A length in memory as the `u64` of the format.
pub fn len64(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

/// A stored 32-bit length as a length in memory.
pub fn in_memory(length: u32) -> usize {
    // orlop is built for targets with pointers of at least 32 bits only.
    length as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, 1 << 32, u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(Cursor::new(&out).varint(), Ok(value));
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            assert_eq!(Cursor::new(&out).signed(), Ok(value));
        }
    }

    #[test]
    fn bad_numbers_are_refused() {
        assert_eq!(Cursor::new(&[0x80]).varint(), Err(Malformed::TooShort));
        assert_eq!(Cursor::new(&[0x80, 0]).varint(), Err(Malformed::BadNumber));
        assert_eq!(Cursor::new(&[0xff; 11]).varint(), Err(Malformed::BadNumber));
        assert!(Cursor::new(&[200, 1]).count("things", 199).is_err());
    }
}
