//! The match finder of klauspost's level 5, the default of pgzip.

use super::finder::{Chunk, Finder, Match, Tables, put_match};
use super::token::Token;

/// Matches of this length are good enough not to look for one that ends later.
const LONG: usize = 30;

/// A match finder of level 5.
#[derive(Debug)]
pub(super) struct Level5 {
    tables: Tables,
    /// How far behind the start of a match a longer one may start.
    later: usize,
}

impl Level5 {
    /// A finder; versions differ in `later`.
    pub(super) fn new(later: usize) -> Self {
        Self { tables: Tables::new(), later }
    }

    /// Looks for a match at `at`; `next` is the place to go on from without one.
    #[inline]
    fn look(&mut self, chunk: &Chunk<'_>, at: usize, next: usize) -> Option<Match> {
        let [recent, older] = self.tables.long[chunk.hash7(at)];
        let short = self.tables.short[chunk.hash4(at)];
        self.tables.put(chunk, at);
        if let Some(from) = chunk.near(at, recent) {
            let other = chunk.equal(at, older);
            if chunk.same(at, from) {
                self.tables.put(chunk, next);
                let from = match other {
                    Some(other)
                        if chunk.common_capped(at, other) > chunk.common_capped(at, from) =>
                    {
                        other
                    }
                    _ => from,
                };
                return Some(Match { at, from });
            } else if let Some(from) = other {
                self.tables.put(chunk, next);
                return Some(Match { at, from });
            }
        }

        let from = chunk.equal(at, short)?;
        let length = chunk.common_capped(at, from);
        let [recent, older] = self.tables.long[chunk.hash7(next)];
        self.tables.put(chunk, next);
        if chunk.near(next, recent).is_some() {
            for candidate in [recent, older] {
                if let Some(from) = chunk.equal(next, candidate)
                    && chunk.common_capped(next, from) > length
                {
                    return Some(Match { at: next, from });
                }
            }
        }
        Some(Match { at, from })
    }

    /// A match that starts a little later and is longer, if there is one.
    #[inline]
    fn improve(&self, chunk: &Chunk<'_>, found: Match, length: usize) -> Option<(Match, usize)> {
        let end = found.at + length;
        let candidate = self.tables.long[chunk.hash7(end)][0];
        let distance = end - chunk.near(end, candidate)?;
        let at = found.at + self.later;
        let from = at.checked_sub(distance).filter(|_| distance > 0)?;
        let longer = chunk.common(at, from);
        (longer > length).then_some((Match { at, from }, longer))
    }

    /// Remembers places inside a match that ends at `end`.
    #[inline]
    fn remember(&mut self, chunk: &Chunk<'_>, end: usize, length: usize) {
        let first = end - length + 1;
        if first < end - 1 {
            self.tables.put(chunk, first);
            self.tables.put_long(chunk, first + 1);
            self.tables.put_short(chunk, first + 2);
            for at in (first + 4..end - 1).step_by(3) {
                self.tables.put_long(chunk, at);
                self.tables.put_short(chunk, at + 1);
            }
        }
        self.tables.put(chunk, end - 1);
    }
}

impl Finder for Level5 {
    fn find(&mut self, chunk: &Chunk<'_>, tokens: &mut Vec<Token>) {
        let Some(limit) = chunk.limit() else { return };
        let (mut start, mut written) = (chunk.start, chunk.start);
        loop {
            let at = start;
            let next = at + 1 + ((at - written) >> 6);
            if next > limit {
                break;
            }
            let Some(mut found) = self.look(chunk, at, next) else {
                start = next;
                continue;
            };
            let mut length = chunk.common(found.at, found.from);
            if length < LONG
                && found.at + length < limit
                && let Some(better) = self.improve(chunk, found, length)
            {
                (found, length) = better;
            }
            let before = chunk.common_before(found.at, found.from, written);
            let (at, length) = (found.at - before, length + before);
            chunk.literals(written, at, tokens);
            put_match(length, found.at - found.from, tokens);
            written = at + length;
            start = if next >= written { next + 1 } else { written };
            if start >= limit {
                break;
            }
            self.remember(chunk, start, length);
        }
        chunk.finish(written, tokens);
    }

    fn rebase(&mut self, less: u32) {
        self.tables.rebase(less);
    }
}
