//! Bytes to be matched: loads, common lengths, and tables of positions.
//!
//! All functions are total: bytes past the end read as zero, which the match
//! finders, staying inside, never see.

/// The four bytes at `at`, lowest first.
#[inline]
pub(super) fn load32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The eight bytes at `at`, lowest first.
#[inline]
pub(super) fn load64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// How many bytes at `one` and `other` are equal, up to `cap` or the end.
#[inline]
pub(super) fn common(bytes: &[u8], one: usize, other: usize, cap: usize) -> usize {
    let cap = cap.min(bytes.len() - one.max(other));
    let (one, other) = (&bytes[one..one + cap], &bytes[other..other + cap]);
    let mut length = 0;
    for (one, other) in one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0) {
        let different = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if different != 0 {
            return length + (different.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    while length < cap && one[length] == other[length] {
        length += 1;
    }
    length
}

/// Moves all places in a table half a window back; those before its start
/// become 0.
pub(super) fn forget(places: &mut [u16]) {
    for place in places {
        *place = place.saturating_sub(0x8000);
    }
}

/// A table of `N` positions, all 0.
#[expect(clippy::unnecessary_box_returns, reason = "too large for the stack")]
pub(super) fn table<T: Copy + Default, const N: usize>() -> Box<[T; N]> {
    let slots = vec![T::default(); N].into_boxed_slice();
    slots.try_into().unwrap_or_else(|_| unreachable!("the slice has N slots"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_lengths_stop_at_the_cap_and_at_the_end() {
        let bytes = b"abcdefghijkabcdefghijX--abcdefghijk";
        assert_eq!(common(bytes, 11, 0, 258), 10);
        assert_eq!(common(bytes, 11, 0, 7), 7);
        assert_eq!(common(bytes, 24, 0, 258), 11);
        assert_eq!(common(bytes, 24, 35, 258), 0);
    }
}
