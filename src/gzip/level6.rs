//! The match finder of klauspost's level 6, the default of Go from 1.27 on.

use super::finder::{Chunk, Finder, Match, REACH, Tables, put_match};
use super::token::Token;

/// The last places of a chunk, which are never remembered.
const TAIL: usize = 8;

/// A match finder of level 6.
#[derive(Debug)]
pub(super) struct Level6 {
    tables: Tables,
    /// How far behind the start of a match a longer one may start.
    later: usize,
}

impl Level6 {
    /// A finder; versions differ in `later`.
    pub(super) fn new(later: usize) -> Self {
        Self { tables: Tables::new(), later }
    }

    /// Looks for a match at `at`; `next` is the place to go on from without one,
    /// `repeat` the distance of the last match.
    #[inline]
    fn look(&mut self, chunk: &Chunk<'_>, at: usize, next: usize, repeat: usize) -> Option<Match> {
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
        let mut best = Match { at, from };
        let mut length = chunk.common_capped(at, from);
        let [recent, older] = self.tables.long[chunk.hash7(next)];
        self.tables.put(chunk, next);
        let again = at + 1 - repeat;
        if chunk.same(again, at + 1) && chunk.common_capped(at + 1, again) > length {
            return Some(Match { at: at + 1, from: again });
        }
        if chunk.near(next, recent).is_some() {
            for candidate in [recent, older] {
                if let Some(from) = chunk.equal(next, candidate) {
                    let longer = chunk.common_capped(next, from);
                    if longer > length {
                        (best, length) = (Match { at: next, from }, longer);
                    }
                }
            }
        }
        Some(best)
    }

    /// The match, or a longer one that starts a little later.
    #[inline]
    fn improve(&self, chunk: &Chunk<'_>, found: Match, length: usize) -> (Match, usize) {
        let (mut best, mut longest) = (found, length);
        let at = found.at + self.later;
        let candidates = self.tables.long[chunk.hash7(found.at + length)];
        for (turn, candidate) in candidates.into_iter().enumerate() {
            // Of the second one, it is the length so far that counts. Either can
            // be the place to go on from, which is remembered already.
            let end = chunk.position(found.at + longest);
            let distance = i64::from(end) - i64::from(candidate);
            if turn == 0 && distance > i64::from(REACH) {
                break;
            }
            let reachable = (1..=i64::from(REACH)).contains(&distance);
            let from = end.wrapping_sub(candidate) as usize;
            let Some(from) = at.checked_sub(from).filter(|_| reachable) else { continue };
            let longer = chunk.common(at, from);
            if longer > longest {
                (best, longest) = (Match { at, from }, longer);
            }
        }
        (best, longest)
    }
}

impl Finder for Level6 {
    fn find(&mut self, chunk: &Chunk<'_>, tokens: &mut Vec<Token>) {
        let Some(limit) = chunk.limit() else { return };
        let (mut start, mut written, mut repeat) = (chunk.start, chunk.start, 1);
        loop {
            let at = start;
            let next = at + 1 + ((at - written) >> 7);
            if next > limit {
                break;
            }
            let Some(mut found) = self.look(chunk, at, next, repeat) else {
                start = next;
                continue;
            };
            let mut length = chunk.common(found.at, found.from);
            if found.at + length < limit {
                (found, length) = self.improve(chunk, found, length);
            }
            let before = chunk.common_before(found.at, found.from, written);
            let (at, length) = (found.at - before, length + before);
            repeat = found.at - found.from;
            chunk.literals(written, at, tokens);
            put_match(length, repeat, tokens);
            written = at + length;
            start = if next >= written { next + 1 } else { written };
            if start >= limit {
                for place in (next + 1..chunk.text.len() - TAIL).step_by(2) {
                    self.tables.put(chunk, place);
                }
                break;
            }
            self.tables.put_all(chunk, next + 1, start - 1);
        }
        chunk.finish(written, tokens);
    }

    fn rebase(&mut self, less: u32) {
        self.tables.rebase(less);
    }
}
