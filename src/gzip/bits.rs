//! A writer of bits in the order of DEFLATE (RFC 1951 section 3.1.1).
//!
//! Guarantees that what was drained is never touched again. Knows stored
//! blocks, since they end on a byte, but no codes.

/// A number as one of 32 bits, which it fits.
#[inline]
pub(super) fn narrow(number: usize) -> u32 {
    debug_assert!(u32::try_from(number).is_ok());
    (number as u64 & 0xffff_ffff) as u32
}

/// Collects bits from the least significant end of each byte.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    /// Bits that have not become bytes yet, the first one lowest.
    held: u64,
    /// How many; under 32 between calls.
    count: u32,
    bytes: Vec<u8>,
}

impl BitWriter {
    /// Appends the lowest `count` bits of `value`, at most 32; the others are 0.
    #[inline]
    pub(super) fn put(&mut self, value: u32, count: u32) {
        debug_assert!(count <= 32 && u64::from(value) >> count == 0);
        self.held |= u64::from(value) << self.count;
        self.count += count;
        if self.count >= 32 {
            let low = (self.held & 0xffff_ffff) as u32;
            self.bytes.extend_from_slice(&low.to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Pads with zeros to the end of the byte.
    pub(super) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.move_whole_bytes();
    }

    /// How many bits have not become bytes yet.
    pub(super) fn pending(&self) -> u32 {
        self.count
    }

    /// A stored block of at most 65,535 bytes.
    pub(super) fn stored(&mut self, content: &[u8], last: bool) {
        debug_assert!(content.len() <= 0xffff);
        let length = (narrow(content.len()) & 0xffff) as u16;
        self.put(u32::from(last), 3);
        self.align();
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&(!length).to_le_bytes());
        self.bytes.extend_from_slice(content);
    }

    /// Moves all bytes that are complete to the end of `out`.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) {
        self.move_whole_bytes();
        out.append(&mut self.bytes);
    }

    /// Room for `count` pieces of up to 48 bits each, to be written faster.
    pub(super) fn room(&mut self, count: usize) -> Room<'_> {
        self.move_whole_bytes();
        let at = self.bytes.len();
        self.bytes.resize(at + 6 * count + 8, 0);
        Room { held: self.held, count: self.count, at, bits: self }
    }

    fn move_whole_bytes(&mut self) {
        while self.count >= 8 {
            self.bytes.push((self.held & 0xff) as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }
}

/// A place to write a known number of pieces to.
#[derive(Debug)]
pub(super) struct Room<'a> {
    /// Bits that have not become bytes yet, and how many; under 8 between calls.
    held: u64,
    count: u32,
    /// Where the next byte goes.
    at: usize,
    bits: &'a mut BitWriter,
}

impl Room<'_> {
    /// Appends the lowest `count` bits of `value`, at most 48; the others are 0.
    #[inline]
    pub(super) fn put(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 48 && value >> count == 0);
        self.held |= value << self.count;
        self.count += count;
        if let Some(place) = self.bits.bytes.get_mut(self.at..self.at + 8) {
            place.copy_from_slice(&self.held.to_le_bytes());
        }
        let whole = self.count / 8;
        self.at += whole as usize;
        self.held >>= 8 * whole;
        self.count %= 8;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.bits.bytes.truncate(self.at);
        (self.bits.held, self.bits.count) = (self.held, self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_low_end() {
        let mut bits = BitWriter::default();
        bits.put(1, 1);
        bits.put(0b10, 2);
        bits.put(0x1_5555, 17);
        let mut out = Vec::new();
        bits.drain(&mut out);
        assert_eq!(out, [0b1010_1101, 0b1010_1010]);
        bits.put(0xffff_ffff, 32);
        bits.align();
        bits.align();
        bits.drain(&mut out);
        assert_eq!(out[2..], [0xfa, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn stored_blocks_start_on_a_byte() {
        let mut bits = BitWriter::default();
        bits.put(1, 1);
        bits.stored(b"ab", false);
        bits.stored(b"", true);
        let mut out = Vec::new();
        bits.drain(&mut out);
        assert_eq!(out, [1, 2, 0, 0xfd, 0xff, b'a', b'b', 1, 0, 0, 0xff, 0xff]);
    }
}
